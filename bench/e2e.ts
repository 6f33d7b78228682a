/**
 * The whole way of a small request, beside a bare relay of the same construction (`relay/`).
 *
 * 64-byte tensors through the identity model, so that nearly everything measured is ours: TLS on loopback, a gateway process, two
 * agents with a runner process each, against the relay's gateway and two echoing agents, with the same requests. Closed loops of 1 and of 64 connections.
 */

import type { Relay } from "./bare-relay.ts";
import { besideRelay, type Plan, spentBy, startBoth, type Times } from "./beside-relay.ts";
import type { LoadOrder, LoadRequest, LoadResult } from "./load/results.ts";
import { type Numbers, table } from "./report.ts";
import { median, ratioOf } from "./rounds.ts";
import { type Bench, runBench } from "./run.ts";

const AGENTS = 2;
const ELEMENTS = 16;
const PATH = "/v2/models/identity/infer";
const CONNECTIONS = [1, 64] as const;
type Connections = (typeof CONNECTIONS)[number];
/** One side in one round. */
type Taken = Readonly<Record<Connections, LoadResult & { readonly cpu: Cost }>>;

/** CPU time per request. */
type Cost = Readonly<Record<(typeof ROLES)[number], number>>;
const ROLES = ["gateway_us", "agents_us", "runners_us"] as const;

await runBench("e2e", async (bench) => {
  const both = await startBoth(bench, { agents: AGENTS, elements: ELEMENTS });
  const load = bench.start("load/generator");

  const take = async (server: Relay, times: Times): Promise<Taken> => {
    const { port, caPem } = server;
    const run = async (connections: number): Promise<LoadResult & { cpu: Cost }> => {
      const order: LoadOrder = {
        host: "127.0.0.1",
        port,
        caPem,
        connections: requests(connections, both.cluster.clientKey),
        ...times,
      };
      const before = spentBy(server);
      const result = await load.ask<LoadResult>("load", order);
      const after = spentBy(server);
      const cost = (beforeUs: number, afterUs: number): number => (afterUs - beforeUs) / result.allRequests;
      return {
        ...result,
        cpu: {
          gateway_us: cost(before.gatewayUs, after.gatewayUs),
          agents_us: cost(before.agentsUs, after.agentsUs),
          runners_us: cost(before.runnersUs, after.runnersUs),
        },
      };
    };
    return { 1: await run(1), 64: await run(64) };
  };

  const measured = await besideRelay(bench, both, plan(bench), { take, textOf: roundText });
  return {
    ratios: {
      rate_64: ratioOf(measured, ({ ours, relay: bare }) => ours[64].perSecond / bare[64].perSecond),
      p50_1: ratioOf(measured, ({ ours, relay: bare }) => ours[1].p50Ms / bare[1].p50Ms),
      p99_64: ratioOf(measured, ({ ours, relay: bare }) => ours[64].p99Ms / bare[64].p99Ms),
    },
    counts: {
      requests: measured.reduce((sum, { ours }) => sum + ours[1].requests + ours[64].requests, 0),
      relay_requests: measured.reduce(
        (sum, { relay: bare }) => sum + bare[1].requests + bare[64].requests,
        0,
      ),
    },
    figures: {
      ours: figures(measured.map(({ ours }) => ours)),
      relay: figures(measured.map(({ relay: bare }) => bare)),
    },
  };
});

function plan({ isShort }: Bench): Plan {
  return isShort
    ? { rounds: 5, times: { warmUpMs: 150, measureMs: 900 }, firstWarmUpMs: 2500 }
    : { rounds: 9, times: { warmUpMs: 500, measureMs: 4000 }, firstWarmUpMs: 10_000 };
}

/** Each connection has a tensor of its own, so that an answer given to the wrong one is noticed. */
function requests(count: number, key: string): LoadRequest[] {
  return Array.from({ length: count }, (_, connection) => {
    const data = Array.from({ length: ELEMENTS }, (_unused, index) => connection + index / 8);
    const body = JSON.stringify({
      inputs: [{ name: "input", datatype: "FP32", shape: [1, ELEMENTS], data }],
    });
    const head = [
      `POST ${PATH} HTTP/1.1`,
      "Host: localhost",
      `Authorization: Bearer ${key}`,
      "Content-Type: application/json",
      `Content-Length: ${Buffer.byteLength(body)}`,
    ].join("\r\n");
    return { bytes: Buffer.from(`${head}\r\n\r\n${body}`), expected: `"data":${JSON.stringify(data)}` };
  });
}

function roundText(round: Readonly<Record<"ours" | "relay", Taken>>): string {
  const rows = (["ours", "relay"] as const).flatMap((side) =>
    CONNECTIONS.map((connections) => {
      const { perSecond, p50Ms, p99Ms, maxMs, cpu } = round[side][connections];
      return [
        `${side}, ${connections}`,
        perSecond.toFixed(0),
        ...[p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(3)),
        ...ROLES.map((role) => cpu[role].toFixed(0)),
      ];
    }),
  );
  return table(
    ["connections", "rate/s", "p50 ms", "p99 ms", "max ms", "gateway µs", "agents µs", "runners µs"],
    rows,
  );
}

function figures(taken: readonly Taken[]): Record<string, Numbers | number> {
  const costs = ROLES.map((role) => [role, median(taken.map((side) => side[64].cpu[role]))]);
  const speeds = Object.fromEntries(
    CONNECTIONS.flatMap((connections) => [
      [`rate_${connections}`, median(taken.map((side) => side[connections].perSecond))],
      [`p50_ms_${connections}`, median(taken.map((side) => side[connections].p50Ms))],
      [`p99_ms_${connections}`, median(taken.map((side) => side[connections].p99Ms))],
    ]),
  );
  return { ...speeds, cpu_64: Object.fromEntries(costs) };
}
