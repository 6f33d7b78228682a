/** Feeds one target with all its inputs, in orders of some thousands, and notices a crash, a hang and memory that grows. */

import type { Child } from "../child.ts";
import type { Bench } from "../run.ts";
import type { FuzzOrder, FuzzResult } from "./parser-process.ts";
import { knock, misbehave } from "./strangers.ts";
import type { GatewayUnderFire } from "./under-fire.ts";

export interface Hunt {
  readonly name: string;
  inputs: number;
  refused: number;
  crashes: number;
  hangs: number;
  /** Of one input. */
  slowestMs: number;
  /** Memory in use between the end of the first third, when every path has been taken, and the end. */
  growthBytes: number;
  /** A sentence for each crash and hang, with the seed that repeats it. */
  readonly findings: string[];
}

const HANG_MS = 60_000;
const KNOCKS = 1000;
const HUNG = Symbol("did not come to an end");

export interface ParserTarget {
  readonly target: string;
  readonly inputs: number;
  readonly batch: number;
  readonly sound: Uint8Array | undefined;
}

export async function huntParser(
  bench: Bench,
  { target, inputs, batch, sound }: ParserTarget,
): Promise<Hunt> {
  const hunt = newHunt(target);
  const memory = new MemoryTrend();
  const start = (): Child => bench.startWith({ entry: "fuzz/parser-process", name: target, form: "source" });
  let child = start();
  for (let done = 0; done < inputs; done += batch) {
    const order: FuzzOrder = {
      target,
      seed: bench.seed + done,
      inputs: Math.min(batch, inputs - done),
      sound,
    };
    try {
      const result = await within(HANG_MS, child.ask<FuzzResult>("feed", order));
      if (result === HUNG) throw HUNG;
      add(hunt, result, order.seed);
      memory.sample((done + batch) / inputs, result.memoryBytes);
    } catch (error) {
      blame(hunt, error, order.seed);
      child.kill();
      child = start();
    }
  }
  await child.close();
  hunt.growthBytes = memory.growthBytes;
  return hunt;
}

const WAYS = { requests: knock, links: misbehave } as const;

/** Ends with the first crash or hang: after it there is nothing to knock at. */
export async function huntGateway(
  bench: Bench,
  gateway: GatewayUnderFire,
  way: keyof typeof WAYS,
  inputs: number,
): Promise<Hunt> {
  const hunt = newHunt(way);
  const memory = new MemoryTrend();
  for (let done = 0; done < inputs; done += KNOCKS) {
    const seed = bench.seed + done;
    const count = Math.min(KNOCKS, inputs - done);
    try {
      const passed = await within(HANG_MS, WAYS[way]({ ...gateway.order, seed, inputs: count }));
      const wellness = await within(HANG_MS, gateway.assertWell());
      if (passed === HUNG || wellness === HUNG) throw HUNG;
      hunt.inputs += count;
      hunt.refused += count - passed;
      memory.sample((done + count) / inputs, await gateway.memoryBytes());
    } catch (error) {
      blame(hunt, error, seed);
      break;
    }
  }
  hunt.growthBytes = memory.growthBytes;
  return hunt;
}

const newHunt = (name: string): Hunt => ({
  name,
  inputs: 0,
  refused: 0,
  crashes: 0,
  hangs: 0,
  slowestMs: 0,
  growthBytes: 0,
  findings: [],
});

function add(hunt: Hunt, { inputs, refused, faults, slowestMs }: FuzzResult, seed: number): void {
  hunt.inputs += inputs;
  hunt.refused += refused;
  hunt.crashes += faults.length;
  hunt.slowestMs = Math.max(hunt.slowestMs, slowestMs);
  for (const fault of faults) hunt.findings.push(`${hunt.name} (seed ${seed}): ${fault}`);
}

function blame(hunt: Hunt, error: unknown, seed: number): void {
  const isHang = error === HUNG;
  hunt[isHang ? "hangs" : "crashes"] += 1;
  const what = isHang ? `not done within ${HANG_MS / 1000} s` : (error as Error).message;
  hunt.findings.push(`${hunt.name} (seed ${seed}): ${what}`);
}

class MemoryTrend {
  #settledBytes: number | undefined;
  #lastBytes = 0;

  sample(share: number, bytes: number): void {
    if (share >= 1 / 3) this.#settledBytes ??= bytes;
    this.#lastBytes = bytes;
  }

  get growthBytes(): number {
    return this.#lastBytes - (this.#settledBytes ?? this.#lastBytes);
  }
}

async function within<Value>(limitMs: number, work: Promise<Value>): Promise<Value | typeof HUNG> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof HUNG>((resolve) => {
    timer = setTimeout(() => resolve(HUNG), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
