/** Batches: many inputs for one model under one id. */

import {
  type AddBatchItems,
  type BatchJson,
  type BatchResult,
  batchJsonSchema,
  batchResultSchema,
  type CreateBatch,
} from "@legacygpu/shared/api/batches";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { linesOf } from "./lines.ts";
import { newIdempotencyKey } from "./new-ids.ts";
import { Patience, type WaitTools } from "./patience.ts";
import { type Call, IDEMPOTENCY_KEY, type Transport } from "./transport.ts";
import { type WaitOptions, waitUntilEnded } from "./wait.ts";

const POLL_MS = 1000;
/** Between two pieces of the results. */
const SILENCE_MS = 60_000;

export interface BatchResultsOptions {
  readonly signal?: AbortSignal;
  /** Called for each failure that is bridged by asking again. */
  readonly onTrouble?: (error: LegacyGpuError) => void;
}

export class Batches {
  readonly #transport: Transport;
  readonly #tools: WaitTools;

  constructor(transport: Transport, tools: WaitTools) {
    this.#transport = transport;
    this.#tools = tools;
  }

  create(batch: CreateBatch, signal?: AbortSignal): Promise<BatchJson> {
    return this.#post("/batches", batch, signal);
  }

  add(id: string, items: AddBatchItems["items"], signal?: AbortSignal): Promise<BatchJson> {
    return this.#post(`${pathOf(id)}/items`, { items }, signal);
  }

  get(id: string, signal?: AbortSignal): Promise<BatchJson> {
    return this.#transport.request({ method: "GET", path: pathOf(id) }, batchJsonSchema, signal);
  }

  cancel(id: string, signal?: AbortSignal): Promise<BatchJson> {
    const call = { method: "POST", path: `${pathOf(id)}/cancel`, isIdempotent: true } as const;
    return this.#transport.request(call, batchJsonSchema, signal);
  }

  /** What breaks off is asked for again; lines that came already are not told of twice. */
  async *results(id: string, { signal, onTrouble }: BatchResultsOptions): AsyncGenerator<BatchResult, void> {
    const headers = { accept: "application/x-ndjson" };
    const call: Call = { method: "GET", path: `${pathOf(id)}/results`, headers, timeoutMs: SILENCE_MS };
    const patience = new Patience(this.#tools, onTrouble);
    let lastIndex = -1;
    for (;;) {
      try {
        for await (const line of linesOf(this.#transport.stream(call, signal))) {
          const result = this.#transport.parse(call, line, batchResultSchema);
          if (result.index <= lastIndex) continue;
          patience.refresh();
          lastIndex = result.index;
          yield result;
        }
        return;
      } catch (error) {
        await patience.waitOut(error, signal);
      }
    }
  }

  wait(id: string, options: WaitOptions<BatchJson>): Promise<BatchJson> {
    const call = { method: "GET", path: pathOf(id), maxTries: 1 } as const;
    const awaited = {
      name: `Batch ${id}`,
      details: { batch: id },
      minPollMs: POLL_MS,
      poll: (signal: AbortSignal) => this.#transport.request(call, batchJsonSchema, signal),
      hasEnded: ({ status }: BatchJson) => status === "COMPLETED",
      hasChanged,
      describe: (batch: BatchJson) =>
        `${batch.status}: ${endedIn(batch)} of ${batch.counts.total} have ended`,
    };
    return waitUntilEnded(awaited, options, this.#tools);
  }

  /** With a key of its own, so that no item is accepted twice when the answer is lost. */
  #post(path: string, json: unknown, signal: AbortSignal | undefined): Promise<BatchJson> {
    const headers = { [IDEMPOTENCY_KEY]: newIdempotencyKey() };
    return this.#transport.request({ method: "POST", path, headers, json }, batchJsonSchema, signal);
  }
}

function pathOf(id: string): string {
  return `/batches/${encodeURIComponent(id)}`;
}

/** How many tasks of a batch have ended, in whatever state. */
export function endedIn({ counts }: BatchJson): number {
  return counts.completed + counts.failed + counts.cancelled + counts.timed_out;
}

function hasChanged({ status, counts }: BatchJson, now: BatchJson): boolean {
  return (
    status !== now.status ||
    counts.total !== now.counts.total ||
    counts.running !== now.counts.running ||
    counts.completed !== now.counts.completed ||
    counts.failed !== now.counts.failed ||
    counts.cancelled !== now.counts.cancelled ||
    counts.timed_out !== now.counts.timed_out
  );
}
