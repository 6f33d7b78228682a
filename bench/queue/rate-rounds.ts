/** What it costs to accept a task: how many are on the disk in a second, beside the same bytes put there with nothing around them. */

import { join } from "node:path";
import type { Child } from "../child.ts";
import { profiled } from "../profile/window.ts";
import { type Numbers, table } from "../report.ts";
import { alternate, median, type Round, ratioOf, type Spread } from "../rounds.ts";
import type { Bench } from "../run.ts";
import type { LoopOrder, LoopResult } from "./closed-loop.ts";
import type { Plan } from "./plan.ts";

const CALLERS = [1, 64, 1024] as const;
type Rates = Readonly<Record<(typeof CALLERS)[number], LoopResult>>;
type RateRound = Round<"ours" | "raw", Rates>;

export async function measureRates(bench: Bench, { rateRounds, measureMs }: Plan): Promise<RateRound[]> {
  const ours = bench.startProfiled("processes/queue", "rates");
  await ours.ask("open", join(bench.folder, "rates"));
  const raw = bench.start("processes/raw-commits", "raw");
  await raw.ask("open", join(bench.folder, "raw.mdb"));
  const take = async (child: Child, command: string): Promise<Rates> => {
    const loop = (callers: keyof Rates): Promise<LoopResult> =>
      child.ask<LoopResult>(command, { callers, measureMs: measureMs[callers] } satisfies LoopOrder);
    return { 1: await loop(1), 64: await loop(64), 1024: await loop(1024) };
  };
  const sides = { ours: () => take(ours, "submit"), raw: () => take(raw, "put") };
  bench.say("warming up …");
  await sides.ours();
  await sides.raw();
  const measured = await profiled(bench.profileDir, () =>
    alternate(rateRounds, sides, (round, index) => bench.say(`round ${index + 1}\n${ratesText(round)}`)),
  );
  await ours.close();
  await raw.close();
  return measured;
}

export function rateRatios(rounds: readonly RateRound[]): Record<string, Spread> {
  return Object.fromEntries(
    CALLERS.map((callers) => [
      `durable_${callers}`,
      ratioOf(rounds, ({ ours, raw }) => ours[callers].perSecond / raw[callers].perSecond),
    ]),
  );
}

export function rateFigures(rounds: readonly RateRound[]): Record<"ours" | "raw", Numbers> {
  return { ours: figures(rounds.map(({ ours }) => ours)), raw: figures(rounds.map(({ raw }) => raw)) };
}

function figures(taken: readonly Rates[]): Numbers {
  return Object.fromEntries(
    CALLERS.flatMap((callers) => [
      [`rate_${callers}`, median(taken.map((rates) => rates[callers].perSecond))],
      [`p50_ms_${callers}`, median(taken.map((rates) => rates[callers].p50Ms))],
      [`p99_ms_${callers}`, median(taken.map((rates) => rates[callers].p99Ms))],
    ]),
  );
}

function ratesText(round: RateRound): string {
  const rows = (["ours", "raw"] as const).flatMap((side) =>
    CALLERS.map((callers) => {
      const { perSecond, p50Ms, p99Ms } = round[side][callers];
      return [`${side}, ${callers}`, perSecond.toFixed(0), p50Ms.toFixed(2), p99Ms.toFixed(2)];
    }),
  );
  return table(["callers", "rate/s", "p50 ms", "p99 ms"], rows);
}
