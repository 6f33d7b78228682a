/**
 * The work of the runner process: commands first in, first out, answers in the same order. Tasks that run as one with the oldest go before
 * others, and a `batch` report says so first.
 *
 * Computing blocks the event loop. So pictures of waiting tasks are decoded from the moment they arrive, and answers leave before
 * the next computation begins, except when that is known to be quick: then several answers share a write.
 */

import { asLegacyGpuError, fail, toWireError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Executor } from "../executors/port.ts";
import { type BatchLimits, gather } from "./batch-gathering.ts";
import { type BatchOutcome, runAsOne } from "./batch-run.ts";
import type { BatchPart } from "./batch-tensors.ts";
import { loadModel } from "./model-loader.ts";
import { type Entry, type Load, RunItem } from "./run-item.ts";
import type { ServedModel } from "./served-model.ts";
import type { RunnerCommand, RunnerReport } from "./wire.ts";

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
  /** Of models that could not be run with as many rows as their manifest says. */
  readonly #maxRows = new Map<string, number>();
  /** What has left the entries together. */
  #batch: readonly RunItem[] = [];
  #state: "idle" | "working" = "idle";
  #heldSince: number | undefined;
  #lastStatsAt = 0;

  constructor(executor: Executor, answers: Answers) {
    this.#executor = executor;
    this.#answers = answers;
  }

  accept(command: RunnerCommand): void {
    if (command.type === "skip") {
      for (const entry of [...this.#batch, ...this.#entries])
        if (entry.type === "run" && entry.command.seq === command.seq) entry.isSkipped = true;
      return;
    }
    if (command.type === "load") this.#noteLoad(command);
    this.#entries.push(
      command.type === "run" ? new RunItem(command, this.#manifests.get(command.modelKey) ?? {}) : command,
    );
    if (this.#state === "idle") void this.#work();
  }

  /** Pictures that come after it are decoded before it is loaded. */
  #noteLoad({ modelKey, manifest, maxRows }: Load): void {
    this.#manifests.set(modelKey, manifest);
    if (maxRows === undefined) this.#maxRows.delete(modelKey);
    else this.#maxRows.set(modelKey, maxRows);
  }

  async #work(): Promise<void> {
    this.#state = "working";
    for (let entry = this.#entries.shift(); entry !== undefined; entry = this.#entries.shift()) {
      if (entry.type === "load") await this.#load(entry);
      else if (entry.type === "unload") await this.#unload(entry.modelKey);
      else await this.#serve(entry);
    }
    this.#state = "idle";
    this.#reportStats();
    this.#release();
  }

  async #load(command: Load): Promise<void> {
    const { seq, modelKey } = command;
    await this.#letAnswersOut();
    const startedAt = performance.now();
    try {
      await this.#unload(modelKey, { keepManifest: true });
      const onTrying = (provider: string): Promise<void> => this.#tellTrying(provider);
      const { model, passedOver, tests, warmUpMs } = await loadModel(this.#executor, command, { onTrying });
      this.#models.set(modelKey, { model, lastRunMs: Number.POSITIVE_INFINITY });
      const loadMs = performance.now() - startedAt;
      const { provider } = model;
      this.#answer({ type: "loaded", seq, provider, passedOver, tests, loadMs, warmUpMs });
    } catch (error) {
      this.#answer(failure(seq, asLoadFailure(error)));
    }
  }

  async #tellTrying(provider: string): Promise<void> {
    this.#answers.hold({ type: "trying", provider });
    this.#answers.flush();
    await this.#answers.drained();
  }

  async #unload(modelKey: string, { keepManifest = false } = {}): Promise<void> {
    const shelf = this.#models.get(modelKey);
    this.#models.delete(modelKey);
    if (!keepManifest) this.#manifests.delete(modelKey);
    await shelf?.model.release();
  }

  async #serve(item: RunItem): Promise<void> {
    const { modelKey, seq } = item.command;
    const shelf = this.#models.get(modelKey);
    if (shelf === undefined) {
      this.#answer(failure(seq, fail("model_load_failed", "The model is not loaded in the runner.")));
      return;
    }
    const limits = item.isSkipped ? undefined : this.#limitsOf(modelKey, shelf);
    if (limits === undefined) {
      await this.#runAlone(item, shelf);
      return;
    }
    this.#batch = [item];
    await this.#letAnswersOut();
    this.#batch = await gather(item, this.#entries, shelf.model, limits);
    if (this.#batch.length === 1) await this.#runAlone(item, shelf);
    else await this.#runTogether(this.#batch, shelf);
    this.#batch = [];
  }

  /** Undefined: its tasks are not joined. */
  #limitsOf(modelKey: string, { model }: Shelf): BatchLimits | undefined {
    const { batching } = model;
    if (batching === undefined) return undefined;
    const maxRows = Math.min(batching.max_size, this.#maxRows.get(modelKey) ?? batching.max_size);
    return maxRows < 2 ? undefined : { maxRows, maxDelayMs: batching.max_delay_ms };
  }

  async #runAlone(item: RunItem, shelf: Shelf): Promise<void> {
    const { seq } = item.command;
    const isQuick = shelf.lastRunMs <= QUICK_MS && item.preparing === undefined;
    if (!isQuick || this.#holdsTooLong()) await this.#letAnswersOut();
    try {
      this.#answer(item.isSkipped ? failure(seq, fail("task_cancelled")) : await this.#compute(item, shelf));
    } catch (error) {
      this.#answer(failure(seq, error));
    }
  }

  /** What was prepared while others computed costs nothing now; the task was queued anyway. */
  async #compute(item: RunItem, shelf: Shelf): Promise<RunnerReport> {
    const { seq, outputs } = item.command;
    const begunAt = performance.now();
    if (item.preparing !== undefined) await item.preparing;
    const { input } = item;
    const preparedAt = performance.now();
    const tensors = await shelf.model.run(input, outputs);
    const computedAt = performance.now();
    const output = shelf.model.finish(tensors, outputs);
    shelf.lastRunMs = computedAt - preparedAt;
    const timings = {
      preprocessMs: preparedAt - begunAt,
      executeMs: shelf.lastRunMs,
      postprocessMs: performance.now() - computedAt,
    };
    return { type: "done", seq, output, timings, provider: shelf.model.provider };
  }

  /** When the run fails it is not known who is to blame: then each is run alone. */
  async #runTogether(batch: readonly RunItem[], shelf: Shelf): Promise<void> {
    const parts = batch.map((item) => item.partFor(shelf.model) as BatchPart);
    await this.#tellBatch(batch, parts);
    const outcome = await runAsOne(shelf.model, parts, batch[0]?.command.outputs);
    if (outcome.kind === "done") {
      for (const [index, item] of batch.entries()) this.#answer(answerOf(item, index, outcome, shelf.model));
      shelf.lastRunMs = outcome.timings.executeMs;
      return;
    }
    this.#learn(batch, parts, outcome);
    await this.#tellBatch(batch.slice(0, 1), parts);
    for (const item of batch) await this.#runAlone(item, shelf);
  }

  /** Before it begins: should this process die, the agent knows who was part of it. */
  async #tellBatch(batch: readonly RunItem[], parts: readonly BatchPart[]): Promise<void> {
    const seqs = batch.map(({ command }) => command.seq);
    const rows = parts.slice(0, batch.length).reduce((sum, part) => sum + part.rows, 0);
    this.#answer({ type: "batch", seqs, rows });
    await this.#letAnswersOut();
  }

  #learn(
    batch: readonly RunItem[],
    parts: readonly BatchPart[],
    outcome: Exclude<BatchOutcome, { kind: "done" }>,
  ): void {
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    const modelKey = batch[0]?.command.modelKey ?? "";
    if (outcome.kind === "not_rows") this.#limit(modelKey, 1, outcome.reason);
    else if (outcome.error.code === "out_of_memory")
      this.#limit(modelKey, Math.max(1, Math.floor(rows / 2)), outcome.error.message);
  }

  #limit(modelKey: string, maxRows: number, reason: string): void {
    this.#maxRows.set(modelKey, maxRows);
    this.#answer({ type: "batch_limit", modelKey, maxRows, reason });
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

function answerOf(
  { command }: RunItem,
  index: number,
  { outputs, timings }: Extract<BatchOutcome, { kind: "done" }>,
  model: ServedModel,
): RunnerReport {
  const begunAt = performance.now();
  try {
    const output = model.finish(outputs[index] ?? [], command.outputs);
    const { preprocessMs, executeMs } = timings;
    const postprocessMs = performance.now() - begunAt;
    const batchSize = outputs.length;
    return {
      type: "done",
      seq: command.seq,
      output,
      timings: { preprocessMs, executeMs, postprocessMs, batchSize },
      provider: model.provider,
    };
  } catch (error) {
    return failure(command.seq, error);
  }
}

function failure(seq: number, error: unknown): RunnerReport {
  return { type: "failed", seq, error: toWireError(error) };
}

function asLoadFailure(error: unknown): unknown {
  const known = asLegacyGpuError(error);
  const isTelling = known.code === "model_load_failed" || known.code === "out_of_memory";
  return isTelling ? known : fail("model_load_failed", known.message, {}, error);
}
