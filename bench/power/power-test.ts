/** Cuts the power of a store at many moments, in all the ways in which a disk may have stood then, and looks for acknowledged tasks that are gone. */

import { execFile } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { TaskId } from "@legacygpu/shared/ids";
import { between, type Random, seededRandom } from "../../models/onnx/random.ts";
import type { Child, ChildOptions } from "../child.ts";
import type { ReadOrder, ReadResult } from "../processes/power-reader.ts";
import { type Cut, cutPower } from "./cuts.ts";
import { type LogEvent, readWriteLog } from "./write-log.ts";

export interface PowerTestOptions {
  /** Empty. */
  readonly folder: string;
  readonly start: (options: Pick<ChildOptions, "entry" | "name" | "env">) => Child;
  /** Each is the log of one writer. */
  readonly runs: number;
  /** Of each run. */
  readonly cuts: number;
  readonly seed: number;
  readonly say: (text: string) => void;
}

export interface PowerReport {
  readonly cuts: number;
  /** Acknowledged tasks, summed over the cuts. */
  readonly acknowledged: number;
  /** Sentences, each of which names a task or a store that did not open. */
  readonly lost: readonly string[];
  /** Tasks that were gone when every sync was ignored: were it none, the test would be blind. */
  readonly lostWithoutSyncs: number;
}

const WRITE_MS = [300, 1200] as const;
/** Of each run, with every sync ignored. */
const CONTROLS = 4;

/** @returns undefined: it can be run; otherwise why not. */
export async function whyNoPowerTest(): Promise<string | undefined> {
  if (process.platform !== "linux") return "only Linux has LD_PRELOAD";
  return promisify(execFile)("cc", ["--version"]).then(
    () => undefined,
    () => "there is no C compiler (cc)",
  );
}

export async function runPowerTest(options: PowerTestOptions): Promise<PowerReport> {
  const { folder, runs, cuts, seed, say } = options;
  const library = await compile(folder);
  const reader = new Reader(options);
  const lost: string[] = [];
  let acknowledged = 0;
  let lostWithoutSyncs = 0;
  for (let run = 0; run < runs; run += 1) {
    const random = seededRandom(seed + run);
    const events = await record(options, library, run, between(random, ...WRITE_MS));
    for (const { at, cut } of cutsOf(events, { count: cuts, random, ignoresSyncs: false })) {
      acknowledged += insertedIn(cut).length;
      lost.push(...(await reader.lost(cut)).map((what) => `run ${run}, cut before event ${at}: ${what}`));
    }
    for (const { cut } of cutsOf(events, { count: CONTROLS, random, ignoresSyncs: true }))
      lostWithoutSyncs += (await reader.lost(cut)).length;
    say(`run ${run + 1}: ${events.length} events, the power was cut ${cuts} times`);
  }
  await reader.close();
  return { cuts: runs * cuts, acknowledged, lost, lostWithoutSyncs };
}

async function compile(folder: string): Promise<string> {
  const library = join(folder, "write-log.so");
  const source = fileURLToPath(new URL("write-log.c", import.meta.url));
  await promisify(execFile)("cc", ["-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"]);
  return library;
}

/** Lets a writer write, kills it, and answers with everything that it did. */
async function record(
  { folder, start }: PowerTestOptions,
  library: string,
  run: number,
  writeMs: number,
): Promise<LogEvent[]> {
  const home = join(folder, `writer-${run}`);
  await mkdir(home);
  const store = join(home, "tasks.mdb");
  const log = join(home, "writes");
  const writer = start({
    entry: "processes/power-writer",
    name: "power writer",
    env: { LD_PRELOAD: library, POWER_STORE: store, POWER_LOG: log },
  });
  await writer.ask("write", store);
  await sleep(writeMs);
  writer.kill();
  await writer.exited;
  const events = await readWriteLog(log);
  await rm(home, { recursive: true });
  if (!events.some(({ kind }) => kind === "acknowledged") || !events.some(({ kind }) => kind === "synced"))
    throw new Error("The log of writes is empty: the writes of the store were not seen.");
  return events;
}

interface CutPlan {
  readonly count: number;
  readonly random: Random;
  readonly ignoresSyncs: boolean;
}

/** At any moment, and once at the end. */
function* cutsOf(
  events: readonly LogEvent[],
  { count, random, ignoresSyncs }: CutPlan,
): Iterable<{ at: number; cut: Cut }> {
  for (let i = 0; i < count; i += 1) {
    const at = i === 0 ? events.length : Math.floor(between(random, 0, events.length + 1));
    yield { at, cut: cutPower(events, { at, random, ignoresSyncs }) };
  }
}

const idsAfter = (word: string, { acknowledged }: Cut): TaskId[] =>
  acknowledged
    .filter((line) => line.startsWith(`${word} `))
    .map((line) => line.slice(word.length + 1) as TaskId);

const insertedIn = (cut: Cut): TaskId[] => idsAfter("inserted", cut);

/** In a process of its own: a damaged file may well kill whoever opens it. */
class Reader {
  readonly #options: PowerTestOptions;
  #child: Child | undefined;
  #count = 0;

  constructor(options: PowerTestOptions) {
    this.#options = options;
  }

  async lost(cut: Cut): Promise<string[]> {
    this.#count += 1;
    const home = join(this.#options.folder, `cut-${this.#count}`);
    await mkdir(home);
    const path = join(home, "tasks.mdb");
    if (cut.image !== undefined) await writeFile(path, cut.image);
    const order: ReadOrder = { path, inserted: insertedIn(cut), ended: idsAfter("ended", cut) };
    const lost = await this.#ask(order);
    await rm(home, { recursive: true });
    return lost;
  }

  async close(): Promise<void> {
    await this.#child?.close();
  }

  async #ask(order: ReadOrder): Promise<string[]> {
    this.#child ??= this.#options.start({ entry: "processes/power-reader", name: "power reader" });
    try {
      const { refusal, lost } = await this.#child.ask<ReadResult>("check", order);
      return refusal === undefined ? [...lost] : [`the store does not open: ${refusal}`, ...lost];
    } catch (error) {
      this.#child = undefined;
      return [`the process that opened it died: ${(error as Error).message}`, ...order.inserted];
    }
  }
}
