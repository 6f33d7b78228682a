/** `legacygpu task submit --batch`: sends many files in as few requests as is sensible, then waits for them. */

import { sleep } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { BatchJson, CreateBatch, LegacyGpuClient } from "../index.ts";
import { retryAfterMs } from "../retry.ts";
import { batchGoesOn, followBatch } from "./batch-follow.ts";
import { type BatchItem, batchRequests, checkInputFiles } from "./batch-input.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { expandFiles } from "./file-patterns.ts";
import { withProgress } from "./interrupt.ts";
import { checkOutput } from "./output-file.ts";
import type { Progress } from "./progress.ts";
import { type TaskFlags, taskOptions } from "./task-flags.ts";

export interface BatchFlags extends TaskFlags {
  /** Files and patterns. */
  readonly batch: readonly string[];
  /** False: only send. */
  readonly wait?: boolean;
  /** A file for the results. */
  readonly output?: string;
}

export async function submitBatch(context: Context, flags: BatchFlags): Promise<number> {
  const files = await expandFiles(flags.batch);
  await checkInputFiles(files);
  if (flags.output !== undefined) await checkOutput(flags.output);
  const startedAtMs = context.io.clock.monotonic();
  return context.withGateway(async ({ client }) => {
    const batch = await new Sending(context, client, files).send(taskOptions(flags));
    if (flags.wait !== false)
      return followBatch(context, client, batch.id, { output: flags.output, startedAtMs });
    context.print(batch, () => `${batch.id}\n`);
    context.remark(`Follow it with: legacygpu batch get ${batch.id} --wait`);
    return EXIT.ok;
  });
}

/** How long until items are sent again that the queue had no room for. */
const QUEUE_PAUSE_MS = 5000;

class Sending {
  readonly #context: Context;
  readonly #client: LegacyGpuClient;
  readonly #files: readonly string[];
  #batch: BatchJson | undefined;

  constructor(context: Context, client: LegacyGpuClient, files: readonly string[]) {
    this.#context = context;
    this.#client = client;
    this.#files = files;
  }

  /** @returns the batch with all of the files. */
  async send(options: Omit<CreateBatch, "items">): Promise<BatchJson> {
    try {
      return await withProgress(
        this.#context,
        () => this.#farewell(),
        (progress) => this.#sendAll(options, progress),
      );
    } catch (error) {
      const farewell = this.#context.signals.first.aborted ? undefined : this.#farewell();
      if (farewell !== undefined) this.#context.remark(farewell);
      throw error;
    }
  }

  async #sendAll(options: Omit<CreateBatch, "items">, progress: Progress): Promise<BatchJson> {
    const { first: signal } = this.#context.signals;
    progress.update(`Sending ${this.#filesText()}`);
    for await (const items of batchRequests(this.#files)) {
      this.#batch =
        this.#batch === undefined
          ? await this.#client.createBatch({ ...options, items }, signal)
          : await this.#add(this.#batch.id, items, progress);
      const { id, counts } = this.#batch;
      progress.update(`${id}: sent ${counts.total} of ${this.#filesText()}`);
    }
    if (this.#batch === undefined) throw fail("input_invalid", "There is no file to send.");
    return this.#batch;
  }

  /** What has no room in the queue now has room later: the tasks that were sent before make it. */
  async #add(id: string, items: BatchItem[], progress: Progress): Promise<BatchJson> {
    const { io, signals } = this.#context;
    for (;;) {
      try {
        return await this.#client.addToBatch(id, items, signals.first);
      } catch (error) {
        if (!isFull(error)) throw error;
        progress.update(`${id}: ${error.message} · waiting`);
        await sleep(io.clock, Math.max(retryAfterMs(error), QUEUE_PAUSE_MS), signals.first);
        signals.first.throwIfAborted();
      }
    }
  }

  #filesText(): string {
    return `${this.#files.length} ${this.#files.length === 1 ? "file" : "files"}`;
  }

  /** What was sent is under way, also when the rest was not sent. */
  #farewell(): string | undefined {
    if (this.#batch === undefined) return undefined;
    const { id, counts } = this.#batch;
    return `${counts.total} of ${this.#filesText()} were sent. ${batchGoesOn(id)}`;
  }
}

function isFull(error: unknown): error is LegacyGpuError {
  return error instanceof LegacyGpuError && (error.code === "queue_full" || error.code === "key_queue_full");
}
