/**
 * What micro-batching gains, and that it costs a lone caller nothing.
 *
 * One gateway, one agent with one slot, and the same convnet under two names: with and without `batching` in its manifest. Closed loops of 16 callers,
 * where batches form from what queues while the runner is busy, and of 1 caller. Beside it what the engine alone gains from 16 rows in one run:
 * it is at most that, and less, because 16 callers seldom all wait at the same moment.
 */

import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { elementCount } from "@legacygpu/shared/tensor";
import { buildWideConvnet } from "../models/onnx/synthetic.ts";
import type { Child } from "./child.ts";
import { startCluster } from "./cluster.ts";
import type { LoadOrder, LoadRequest, LoadResult } from "./load/results.ts";
import type { Completions } from "./processes/completion-rate.ts";
import type { EngineOrder, RowsOrder } from "./processes/engine-batches.ts";
import { profiled } from "./profile/window.ts";
import type { Numbers } from "./report.ts";
import { alternate, median, type Round, ratioOf } from "./rounds.ts";
import { type Bench, runBench } from "./run.ts";

const CALLERS = 16;
const ROW_SHAPE = [3, 8, 8] as const;
const SIDES = ["batched", "single"] as const;

const ENGINE_ROUNDS = 7;
type Side = (typeof SIDES)[number];

await runBench("batching", async (bench) => {
  const cluster = await startCluster(bench, { agents: 1 });
  const modelFile = join(bench.folder, "wide-convnet.onnx");
  await writeFile(modelFile, buildWideConvnet());
  await cluster.push("single", modelFile);
  await cluster.push("batched", modelFile, { batching: { max_size: CALLERS, max_delay_ms: 0 } });
  const load = bench.start("load/generator");
  // As the agent divides the cores among its slots.
  const engines = await openEngines(bench, modelFile, [cpus().length, 1]);
  const { warmUpMs, many, one } = plan(bench);

  const call = (model: Side, callers: number, times: Times): Promise<LoadResult> => {
    const connections = requests(model, callers, cluster.clientKey);
    const order: LoadOrder = {
      host: "127.0.0.1",
      port: cluster.port,
      caPem: cluster.caPem,
      connections,
      ...times,
    };
    return load.ask<LoadResult>("load", order);
  };
  const sides = (callers: number, times: Times) => ({
    batched: () => call("batched", callers, times),
    single: () => call("single", callers, times),
  });

  bench.say("warming up …");
  for (const model of SIDES)
    for (const callers of [CALLERS, 1]) await call(model, callers, { warmUpMs: 0, measureMs: warmUpMs });
  const rounds = await profiled(bench.profileDir, async () => {
    const ofMany = await alternate(many.rounds, sides(CALLERS, many), (round, index) =>
      bench.say(`${CALLERS} callers, round ${index + 1}: ${roundText(round)}`),
    );
    const ofOne = await alternate(one.rounds, sides(1, one), (round, index) =>
      bench.say(`1 caller, round ${index + 1}: ${roundText(round)}`),
    );
    return { ofMany, ofOne };
  });
  const gains: number[][] = [];
  for (let round = 0; round < ENGINE_ROUNDS; round += 1)
    gains.push(await gainsOf(engines, many.measureMs / 3));
  const { ofMany, ofOne } = rounds;
  return {
    ratios: {
      gain_16: ratioOf(ofMany, ({ batched, single }) => batched.perSecond / single.perSecond),
      engine_gain_16: ratioOf(gains, ([gain = Number.NaN]) => gain),
      p50_1: ratioOf(ofOne, ({ batched, single }) => batched.p50Ms / single.p50Ms),
    },
    counts: { requests: [...ofMany, ...ofOne].reduce((sum, round) => sum + requestsOf(round), 0) },
    figures: {
      batched: figures("batched", ofMany, ofOne),
      single: figures("single", ofMany, ofOne),
      engine_gain_16_one_thread: median(gains.map(([, gain = Number.NaN]) => gain)),
    },
  };
});

interface Times {
  readonly warmUpMs: number;
  readonly measureMs: number;
}
/** Many short rounds: the machine is seldom undisturbed for long. */
interface Plan {
  readonly warmUpMs: number;
  readonly many: Times & { readonly rounds: number };
  /** The difference that is looked for is small. */
  readonly one: Times & { readonly rounds: number };
}
type Taken = Round<Side, LoadResult>;

function plan({ isShort }: Bench): Plan {
  return isShort
    ? {
        warmUpMs: 800,
        many: { rounds: 11, warmUpMs: 100, measureMs: 500 },
        one: { rounds: 11, warmUpMs: 50, measureMs: 500 },
      }
    : {
        warmUpMs: 4000,
        many: { rounds: 21, warmUpMs: 250, measureMs: 2000 },
        one: { rounds: 31, warmUpMs: 100, measureMs: 1000 },
      };
}

async function openEngines(
  bench: Bench,
  modelFile: string,
  threadCounts: readonly number[],
): Promise<Child[]> {
  const engines: Child[] = [];
  for (const threads of threadCounts) {
    const engine = bench.start("processes/engine-batches", `engine, ${threads} threads`);
    await engine.ask("open", {
      modelFile,
      input: "input",
      rowShape: ROW_SHAPE,
      threads,
    } satisfies EngineOrder);
    engines.push(engine);
  }
  return engines;
}

async function gainsOf(engines: readonly Child[], measureMs: number): Promise<number[]> {
  const gains: number[] = [];
  for (const engine of engines) {
    const rowsPerSecond = async (rows: number): Promise<number> =>
      rows * (await engine.ask<Completions>("run", { rows, measureMs } satisfies RowsOrder)).perSecond;
    gains.push((await rowsPerSecond(CALLERS)) / (await rowsPerSecond(1)));
  }
  return gains;
}

/** Each caller has a picture of its own. */
function requests(model: string, count: number, key: string): LoadRequest[] {
  return Array.from({ length: count }, (_, caller) => {
    const size = elementCount(ROW_SHAPE);
    const data = Array.from({ length: size }, (_unused, index) => ((caller * 31 + index * 7) % 64) / 64);
    const body = JSON.stringify({
      inputs: [{ name: "input", datatype: "FP32", shape: [1, ...ROW_SHAPE], data }],
    });
    const head = [
      `POST /v2/models/${model}/infer HTTP/1.1`,
      "Host: localhost",
      `Authorization: Bearer ${key}`,
      "Content-Type: application/json",
      `Content-Length: ${Buffer.byteLength(body)}`,
    ].join("\r\n");
    return { bytes: Buffer.from(`${head}\r\n\r\n${body}`), expected: '"shape":[1,10]' };
  });
}

function requestsOf({ batched, single }: Taken): number {
  return batched.requests + single.requests;
}

function roundText(round: Taken): string {
  return SIDES.map((side) => {
    const { perSecond, p50Ms, p99Ms } = round[side];
    return `${side} ${perSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
  }).join(" · ");
}

function figures(side: Side, ofMany: readonly Taken[], ofOne: readonly Taken[]): Numbers {
  return {
    rate_16: median(ofMany.map((round) => round[side].perSecond)),
    p50_ms_16: median(ofMany.map((round) => round[side].p50Ms)),
    p99_ms_16: median(ofMany.map((round) => round[side].p99Ms)),
    rate_1: median(ofOne.map((round) => round[side].perSecond)),
    p50_ms_1: median(ofOne.map((round) => round[side].p50Ms)),
  };
}
