/**
 * The whole way of a large tensor in the protocol's binary form, beside a bare relay of the same construction (`relay/`).
 *
 * 602,112 bytes, a picture of 224 × 224 in FP32, through the identity model: what is measured is how often the bytes are copied, encrypted and
 * waited for on their way through a gateway process, an agent process and its runner. Closed loops of 1 and of 4 connections.
 */

import type { Relay } from "./bare-relay.ts";
import { besideRelay, type Plan, type Spent, spentBy, startBoth, type Times } from "./beside-relay.ts";
import type { BulkOrder, BulkRequest, BulkResult } from "./load/results.ts";
import { type Numbers, table } from "./report.ts";
import { median, ratioOf } from "./rounds.ts";
import { type Bench, runBench } from "./run.ts";

const ELEMENTS = 3 * 224 * 224;
const TENSOR_BYTES = ELEMENTS * 4;
const BYTES_PER_MB = 1e6;
const CONNECTIONS = [1, 4] as const;
type Connections = (typeof CONNECTIONS)[number];

/** CPU time per request. */
interface Cost {
  readonly gatewayMs: number;
  readonly agentMs: number;
  readonly runnerMs: number;
}
/** One side in one round. */
type Taken = Readonly<Record<Connections, BulkResult & Cost & { readonly mbPerSecond: number }>>;

await runBench("tensors", async (bench) => {
  const both = await startBoth(bench, { agents: 1, slots: 2, elements: ELEMENTS });
  const load = bench.start("load/bulk-generator");

  const run = async (server: Relay, connections: Connections, times: Times): Promise<Taken[Connections]> => {
    const { port, caPem } = server;
    const order: BulkOrder = {
      host: "127.0.0.1",
      port,
      caPem,
      connections: requests(connections, both.cluster.clientKey),
      ...times,
    };
    const before = spentBy(server);
    const result = await load.ask<BulkResult>("load", order);
    const after = spentBy(server);
    // The warm-up has cost as much, in proportion to its time.
    const count = (result.requests * (times.warmUpMs + times.measureMs)) / times.measureMs;
    const cost = (role: keyof Spent): number => (after[role] - before[role]) / 1000 / count;
    return {
      ...result,
      mbPerSecond: (result.perSecond * TENSOR_BYTES) / BYTES_PER_MB,
      gatewayMs: cost("gatewayUs"),
      agentMs: cost("agentsUs"),
      runnerMs: cost("runnersUs"),
    };
  };
  const take = async (server: Relay, times: Times): Promise<Taken> => ({
    1: await run(server, 1, times),
    4: await run(server, 4, times),
  });

  const measured = await besideRelay(bench, both, plan(bench), { take, textOf: roundText });
  return {
    ratios: {
      rate: ratioOf(measured, ({ ours, relay: bare }) => ours[4].perSecond / bare[4].perSecond),
      rate_1: ratioOf(measured, ({ ours, relay: bare }) => ours[1].perSecond / bare[1].perSecond),
    },
    counts: {
      requests: measured.reduce((sum, { ours }) => sum + ours[1].requests + ours[4].requests, 0),
      relay_requests: measured.reduce((sum, { relay: bare }) => sum + bare[1].requests + bare[4].requests, 0),
      tensor_bytes: TENSOR_BYTES,
    },
    figures: {
      ours: figures(measured.map(({ ours }) => ours)),
      relay: figures(measured.map(({ relay: bare }) => bare)),
    },
  };
});

function plan({ isShort }: Bench): Plan {
  return isShort
    ? { rounds: 5, times: { warmUpMs: 200, measureMs: 1000 }, firstWarmUpMs: 2000 }
    : { rounds: 9, times: { warmUpMs: 500, measureMs: 4000 }, firstWarmUpMs: 6000 };
}

/** Each connection has a tensor of its own, so that an answer given to the wrong one is noticed. */
function requests(count: number, key: string): BulkRequest[] {
  return Array.from({ length: count }, (_, connection) => {
    const tensor = Float32Array.from(
      { length: ELEMENTS },
      (_unused, index) => connection + (index % 251) / 256,
    );
    const elements = Buffer.from(tensor.buffer);
    const json = Buffer.from(
      JSON.stringify({
        inputs: [
          {
            name: "input",
            datatype: "FP32",
            shape: [1, ELEMENTS],
            parameters: { binary_data_size: TENSOR_BYTES },
          },
        ],
        parameters: { binary_data_output: true },
      }),
    );
    const head = [
      "POST /v2/models/identity/infer HTTP/1.1",
      "Host: localhost",
      `Authorization: Bearer ${key}`,
      "Content-Type: application/octet-stream",
      `Inference-Header-Content-Length: ${json.length}`,
      `Content-Length: ${json.length + TENSOR_BYTES}`,
    ].join("\r\n");
    return { bytes: Buffer.concat([Buffer.from(`${head}\r\n\r\n`), json, elements]), expected: elements };
  });
}

function roundText(round: Readonly<Record<"ours" | "relay", Taken>>): string {
  const rows = (["ours", "relay"] as const).flatMap((side) =>
    CONNECTIONS.map((connections) => {
      const { mbPerSecond, p50Ms, p99Ms, gatewayMs, agentMs, runnerMs } = round[side][connections];
      const numbers = [mbPerSecond, p50Ms, p99Ms, gatewayMs, agentMs, runnerMs];
      return [`${side}, ${connections}`, ...numbers.map((number) => number.toFixed(2))];
    }),
  );
  return table(["connections", "MB/s", "p50 ms", "p99 ms", "gateway ms", "agent ms", "runner ms"], rows);
}

function figures(taken: readonly Taken[]): Numbers {
  return Object.fromEntries(
    CONNECTIONS.flatMap((connections) => {
      const of = (number: (side: Taken[Connections]) => number): number =>
        median(taken.map((side) => number(side[connections])));
      return [
        [`mb_per_second_${connections}`, of(({ mbPerSecond }) => mbPerSecond)],
        [`p50_ms_${connections}`, of(({ p50Ms }) => p50Ms)],
        [`p99_ms_${connections}`, of(({ p99Ms }) => p99Ms)],
        [`gateway_cpu_ms_${connections}`, of(({ gatewayMs }) => gatewayMs)],
        [`agent_cpu_ms_${connections}`, of(({ agentMs }) => agentMs)],
        [`runner_cpu_ms_${connections}`, of(({ runnerMs }) => runnerMs)],
      ];
    }),
  );
}
