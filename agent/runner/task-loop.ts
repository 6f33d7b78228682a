/**
 * The work of the runner process: commands strictly first in, first out, answers in the same order.
 *
 * Computing blocks the event loop. So pictures of waiting tasks are decoded from the moment they arrive, and answers leave before
 * the next computation begins, except when that is known to be quick: then several answers share a write.
 */

import { asLegacyGpuError, fail, toWireError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Executor } from "../executors/port.ts";
import { type PreparedInput, prepareInput, ServedModel } from "./served-model.ts";
import type { RunnerCommand, RunnerReport } from "./wire.ts";

type Load = Extract<RunnerCommand, { type: "load" }>;
type Run = Extract<RunnerCommand, { type: "run" }>;
type Entry =
  | Load
  | Extract<RunnerCommand, { type: "unload" }>
  | { readonly type: "run"; readonly command: Run; readonly prepared: Prepared; isSkipped: boolean };
/** Tensors need no preparation, and a promise per task would cost as much as a small model. */
type Prepared = PreparedInput | Promise<PreparedInput>;

/** A model quicker than this may keep an earlier answer waiting. */
const QUICK_MS = 0.2;
/** An answer waits no longer than this for others to share its write. */
const MAX_HOLD_MS = 0.5;
const STATS_INTERVAL_MS = 5000;

export interface Answers {
  hold(report: RunnerReport): void;
  flush(): void;
  drained(): Promise<void>;
}

interface Shelf {
  readonly model: ServedModel;
  lastRunMs: number;
}

export class TaskLoop {
  readonly #executor: Executor;
  readonly #answers: Answers;
  readonly #entries: Entry[] = [];
  readonly #manifests = new Map<string, Manifest>();
  readonly #models = new Map<string, Shelf>();
  #state: "idle" | "working" = "idle";
  #heldSince: number | undefined;
  #lastStatsAt = 0;

  constructor(executor: Executor, answers: Answers) {
    this.#executor = executor;
    this.#answers = answers;
  }

  accept(command: RunnerCommand): void {
    if (command.type === "skip") {
      for (const entry of this.#entries)
        if (entry.type === "run" && entry.command.seq === command.seq) entry.isSkipped = true;
      return;
    }
    if (command.type === "load") this.#manifests.set(command.modelKey, command.manifest);
    this.#entries.push(
      command.type === "run"
        ? { type: "run", command, prepared: this.#prepare(command), isSkipped: false }
        : command,
    );
    if (this.#state === "idle") void this.#work();
  }

  #prepare({ input, modelKey }: Run): Prepared {
    if (input.kind === "tensors") return input;
    const promise = prepareInput(input, this.#manifests.get(modelKey) ?? {});
    // Reported when its turn comes.
    promise.catch(() => {});
    return promise;
  }

  async #work(): Promise<void> {
    this.#state = "working";
    for (let entry = this.#entries.shift(); entry !== undefined; entry = this.#entries.shift()) {
      if (entry.type === "load") await this.#load(entry);
      else if (entry.type === "unload") await this.#unload(entry.modelKey);
      else if (entry.isSkipped) this.#answer(failure(entry.command.seq, fail("task_cancelled")));
      else await this.#run(entry.command, entry.prepared);
    }
    this.#state = "idle";
    this.#reportStats();
    this.#release();
  }

  async #load({ seq, modelKey, path, manifest, providers, threads }: Load): Promise<void> {
    await this.#letAnswersOut();
    const startedAt = performance.now();
    try {
      await this.#unload(modelKey, { keepManifest: true });
      const served = new ServedModel(await this.#executor.load(path, { providers, threads }), manifest);
      try {
        await served.checkGolden();
      } catch (error) {
        await served.release();
        throw error;
      }
      this.#models.set(modelKey, { model: served, lastRunMs: Number.POSITIVE_INFINITY });
      const { provider, passedOver } = served;
      this.#answer({ type: "loaded", seq, provider, passedOver, loadMs: performance.now() - startedAt });
    } catch (error) {
      this.#answer(failure(seq, asLoadFailure(error)));
    }
  }

  async #unload(modelKey: string, { keepManifest = false } = {}): Promise<void> {
    const shelf = this.#models.get(modelKey);
    this.#models.delete(modelKey);
    if (!keepManifest) this.#manifests.delete(modelKey);
    await shelf?.model.release();
  }

  async #run(command: Run, prepared: Prepared): Promise<void> {
    const shelf = this.#models.get(command.modelKey);
    if (shelf === undefined) {
      this.#answer(failure(command.seq, fail("model_load_failed", "The model is not loaded in the runner.")));
      return;
    }
    const isQuick = shelf.lastRunMs <= QUICK_MS && !(prepared instanceof Promise);
    if (!isQuick || this.#holdsTooLong()) await this.#letAnswersOut();
    try {
      this.#answer(await this.#compute(command, shelf, prepared));
    } catch (error) {
      this.#answer(failure(command.seq, error));
    }
  }

  /** What was prepared while others computed costs nothing now; the task was queued anyway. */
  async #compute(command: Run, shelf: Shelf, prepared: Prepared): Promise<RunnerReport> {
    const begunAt = performance.now();
    const input = prepared instanceof Promise ? await prepared : prepared;
    const preparedAt = performance.now();
    const tensors = await shelf.model.run(input, command.outputs);
    const computedAt = performance.now();
    const output = shelf.model.finish(tensors, command.outputs);
    shelf.lastRunMs = computedAt - preparedAt;
    const timings = {
      preprocessMs: preparedAt - begunAt,
      executeMs: shelf.lastRunMs,
      postprocessMs: performance.now() - computedAt,
    };
    return { type: "done", seq: command.seq, output, timings, provider: shelf.model.provider };
  }

  #answer(report: RunnerReport): void {
    this.#answers.hold(report);
    this.#heldSince ??= performance.now();
  }

  #holdsTooLong(): boolean {
    return this.#heldSince !== undefined && performance.now() - this.#heldSince > MAX_HOLD_MS;
  }

  #release(): void {
    this.#heldSince = undefined;
    this.#answers.flush();
  }

  async #letAnswersOut(): Promise<void> {
    if (this.#heldSince === undefined) return;
    this.#release();
    await this.#answers.drained();
  }

  #reportStats(): void {
    const now = performance.now();
    if (now - this.#lastStatsAt < STATS_INTERVAL_MS) return;
    this.#lastStatsAt = now;
    this.#answers.hold({ type: "stats", rssBytes: process.memoryUsage.rss() });
  }
}

function failure(seq: number, error: unknown): RunnerReport {
  return { type: "failed", seq, error: toWireError(error) };
}

function asLoadFailure(error: unknown): unknown {
  const known = asLegacyGpuError(error);
  return known.code === "model_load_failed" ? known : fail("model_load_failed", known.message, {}, error);
}
