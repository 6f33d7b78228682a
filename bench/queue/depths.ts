/** What it costs when many tasks wait: time and memory. */

import { join } from "node:path";
import type { Child } from "../child.ts";
import type { GatewayAddress, GatewayOrder } from "../processes/gateway.ts";
import { profiled } from "../profile/window.ts";
import { type Numbers, type Ratios, table } from "../report.ts";
import { alternate, median, type Round, ratioOf, type Spread } from "../rounds.ts";
import type { Bench } from "../run.ts";
import { type Cost, type CostOrder, OPERATIONS, type Operation } from "./costs.ts";
import type { Memory } from "./memory.ts";
import type { Plan } from "./plan.ts";

const DEPTHS = ["none", "ten_thousand", "million"] as const;
type Depth = (typeof DEPTHS)[number];
type Costs = Readonly<Record<Operation, Cost>>;
type CostRound = Round<Depth, Costs>;

/** Some thousand records stay in memory anyway; what more tasks take is counted from here. */
const FIRST_FILL = 10_000;
const MEBIBYTE = 1024 ** 2;

export interface Depths {
  readonly children: Readonly<Record<Depth, Child>>;
  /** Of the gateway in whose store the million are. */
  readonly home: { readonly folder: string; readonly adminKey: string };
  readonly memory: Readonly<Record<"used" | "anonymous", MemoryPerTask>>;
}

interface MemoryPerTask {
  readonly perTask: number;
  readonly perFurtherTask: number;
}

export async function fillQueues(bench: Bench, { pending }: Plan): Promise<Depths> {
  const home = await prepareHome(bench);
  const open = async (depth: Depth, folder: string): Promise<Child> => {
    const child = bench.startProfiled("processes/queue", depth);
    await child.ask("open", folder);
    return child;
  };
  const children = {
    none: await open("none", join(bench.folder, "none")),
    ten_thousand: await open("ten_thousand", join(bench.folder, "ten-thousand")),
    million: await open("million", home.folder),
  };
  await children.ten_thousand.ask("fill", 10_000);
  bench.say(`filling a queue with ${pending.toLocaleString("en")} tasks …`);
  const empty = await children.million.ask<Memory>("memory");
  await children.million.ask("fill", FIRST_FILL);
  const some = await children.million.ask<Memory>("memory");
  await children.million.ask("fill", pending);
  const full = await children.million.ask<Memory>("memory");
  const perTask = (bytes: keyof Memory): MemoryPerTask => ({
    perTask: (full[bytes] - empty[bytes]) / pending,
    perFurtherTask: (full[bytes] - some[bytes]) / (pending - FIRST_FILL),
  });
  bench.say(`the process with the long queue uses ${(full.usedBytes / MEBIBYTE).toFixed(0)} MiB`);
  return { children, home, memory: { used: perTask("usedBytes"), anonymous: perTask("anonymousBytes") } };
}

/** With certificates and keys, so that what is measured later is a start like any other. */
async function prepareHome(bench: Bench): Promise<Depths["home"]> {
  const folder = join(bench.folder, "gateway");
  const gateway = bench.start("processes/gateway", "gateway");
  const { adminKey } = await gateway.ask<GatewayAddress>("start", { folder } satisfies GatewayOrder);
  await gateway.close();
  return { folder, adminKey };
}

export async function measureCosts(
  bench: Bench,
  { costRounds, operations }: Plan,
  children: Depths["children"],
): Promise<CostRound[]> {
  const cost = (depth: Depth, operation: Operation): Promise<Cost> =>
    children[depth].ask<Cost>("cost", { operation, count: operations } satisfies CostOrder);
  const take = async (depth: Depth): Promise<Costs> => ({
    cycle: await cost(depth, "cycle"),
    requeue: await cost(depth, "requeue"),
    cancel: await cost(depth, "cancel"),
  });
  const sides = {
    none: () => take("none"),
    ten_thousand: () => take("ten_thousand"),
    million: () => take("million"),
  };
  bench.say("warming up …");
  for (const depth of [...DEPTHS, ...DEPTHS]) await take(depth);
  const measured = await profiled(bench.profileDir, () =>
    alternate(costRounds, sides, (round, index) => bench.say(`round ${index + 1}\n${costsText(round)}`)),
  );
  for (const depth of ["none", "ten_thousand"] as const) await children[depth].close();
  return measured;
}

export function costRatios(rounds: readonly CostRound[]): Ratios {
  const against = (depth: Depth, what: keyof Cost): Record<Operation, Spread> => {
    const of = (operation: Operation): Spread =>
      ratioOf(rounds, (round) => round[depth][operation][what] / round.none[operation][what]);
    return { cycle: of("cycle"), requeue: of("requeue"), cancel: of("cancel") };
  };
  const cpu = { ten_thousand: against("ten_thousand", "cpuUs"), million: against("million", "cpuUs") };
  const time = {
    ten_thousand: against("ten_thousand", "elapsedUs"),
    million: against("million", "elapsedUs"),
  };
  return { ten_thousand_cost: worst(cpu.ten_thousand), million_cost: worst(cpu.million), cpu, time };
}

function worst(ratios: Readonly<Record<Operation, Spread>>): Spread {
  const [first] = OPERATIONS.map((operation) => ratios[operation]).sort((a, b) => b[1] - a[1]);
  return first ?? ratios.cycle;
}

export function costFigures(rounds: readonly CostRound[], what: keyof Cost): Numbers {
  const of = (depth: Depth, operation: Operation): number =>
    median(rounds.map((round) => round[depth][operation][what]));
  return Object.fromEntries(
    DEPTHS.map((depth) => [
      depth,
      Object.fromEntries(OPERATIONS.map((operation) => [operation, of(depth, operation)])),
    ]),
  );
}

function costsText(round: CostRound): string {
  const rows = DEPTHS.map((depth) => [
    depth,
    ...OPERATIONS.flatMap((operation) => {
      const { elapsedUs, cpuUs } = round[depth][operation];
      return [elapsedUs.toFixed(0), cpuUs.toFixed(0)];
    }),
  ]);
  return table(["waiting", ...OPERATIONS.flatMap((operation) => [`${operation} µs`, "of CPU"])], rows);
}
