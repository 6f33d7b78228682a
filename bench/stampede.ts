/**
 * What happens when the gateway of a large fleet is killed: whether all agents come back by themselves, how soon, and whether they come spread or
 * all at once. The agents have the real link and nothing behind it.
 */

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Child } from "./child.ts";
import { fixedPort } from "./durability/fixed-port.ts";
import type { GatewayAddress, GatewayOrder } from "./processes/gateway.ts";
import type { Arrivals, IdleAgentsOrder } from "./processes/idle-agents.ts";
import { type Bench, runBench } from "./run.ts";

const PROCESSES = 2;
const AGENTS = { short: 500, long: 2000 };
const KILLS = { short: 1, long: 3 };
/** All are to be back by then. */
const LIMIT_MS = 60_000;
const FIRST_CONNECT_LIMIT_MS = 120_000;
/** How long a supervisor takes to start it again. */
const DOWN_MS = 1000;
const POLL_MS = 250;

await runBench("stampede", async (bench) => {
  const form = bench.isShort ? "short" : "long";
  const wanted = AGENTS[form];
  const order: GatewayOrder = {
    folder: join(bench.folder, "gateway"),
    port: await fixedPort(Math.random),
    hasAddressLimits: true,
  };
  let gateway = bench.start("processes/gateway", "gateway");
  const { url, caPem } = await gateway.ask<GatewayAddress>("start", order);
  const key = await gateway.ask<string>("issueKey", { kind: "worker", name: "bench", scopes: ["worker"] });
  const fleet = startFleet(bench, { url, caPem, key, count: wanted / PROCESSES });
  await allOnline(fleet, wanted, FIRST_CONNECT_LIMIT_MS);
  bench.say(`${wanted} agents are connected`);

  const backMs: number[] = [];
  const peaks: number[] = [];
  let missing = 0;
  for (let kill = 0; kill < KILLS[form]; kill += 1) {
    for (const part of fleet) await part.ask("forget");
    gateway.kill();
    await gateway.exited;
    await sleep(DOWN_MS);
    gateway = bench.start("processes/gateway", "gateway");
    await gateway.ask("start", order);
    const upAtMs = Date.now();
    missing += wanted - (await allOnline(fleet, wanted, LIMIT_MS));
    const times = (await arrivalsOf(fleet)).atMs.map((atMs) => atMs - upAtMs);
    backMs.push(...times);
    peaks.push(peakToMean(times));
    bench.say(`the last was back after ${Math.max(...times)} ms`);
  }
  backMs.sort((a, b) => a - b);
  const share = (part: number): number => backMs[Math.floor(part * (backMs.length - 1))] ?? Number.NaN;
  peaks.sort((a, b) => a - b);
  return {
    ratios: { peak_to_mean: [peaks[0] ?? 0, peaks[peaks.length >> 1] ?? 0, peaks.at(-1) ?? 0] },
    counts: { agents: wanted, kills: KILLS[form], missing },
    figures: { back_ms_p50: share(0.5), back_ms_p99: share(0.99), back_ms_last: share(1) },
    broken: missing === 0 ? [] : [`${missing} agents were not back within ${LIMIT_MS / 1000} s`],
  };
});

function startFleet(bench: Bench, order: Omit<IdleAgentsOrder, "prefix">): Child[] {
  return Array.from({ length: PROCESSES }, (_, number) => {
    const part = bench.start("processes/idle-agents", `agents-${number}`);
    void part.ask("start", { ...order, prefix: `box-${number}` } satisfies IdleAgentsOrder);
    return part;
  });
}

async function arrivalsOf(fleet: readonly Child[]): Promise<Arrivals> {
  const parts = await Promise.all(fleet.map((part) => part.ask<Arrivals>("count")));
  return {
    online: parts.reduce((sum, { online }) => sum + online, 0),
    atMs: parts.flatMap(({ atMs }) => atMs),
  };
}

/** @returns how many are online when all are, or when the time is over. */
async function allOnline(fleet: readonly Child[], wanted: number, limitMs: number): Promise<number> {
  const giveUpAt = performance.now() + limitMs;
  for (;;) {
    const { online } = await arrivalsOf(fleet);
    if (online === wanted || performance.now() > giveUpAt) return online;
    await sleep(POLL_MS);
  }
}

/** Arrivals in the fullest second against the mean from the first to the last. */
function peakToMean(timesMs: readonly number[]): number {
  const seconds = new Map<number, number>();
  for (const timeMs of timesMs)
    seconds.set(Math.floor(timeMs / 1000), (seconds.get(Math.floor(timeMs / 1000)) ?? 0) + 1);
  const lastedSeconds = (Math.max(...timesMs) - Math.min(...timesMs)) / 1000;
  return Math.max(...seconds.values()) / (timesMs.length / Math.max(1, lastedSeconds));
}
