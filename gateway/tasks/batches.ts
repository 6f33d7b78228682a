/**
 * Batches: many inputs that were sent together and are looked at together. Each input is a task like any other.
 *
 * A batch is a document, and for each of its tasks there is one with the task's id. How many have ended is counted in memory while
 * anybody looks, from what is stored at first and then from every end that is announced.
 */

import type { TaskOptions } from "@legacygpu/shared/api/tasks";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { SortableIds } from "@legacygpu/shared/ids";
import { isFinal, TASK_STATES, type TaskState } from "@legacygpu/shared/task";
import { z } from "zod";
import { isAdmin, type Principal } from "../auth/principal.ts";
import type { Document, DocumentStore } from "../store/task-store.ts";
import type { TaskRecord } from "./record.ts";
import type { Submission } from "./submission.ts";
import type { TaskService } from "./task-service.ts";

const BATCHES = "batches";
const ITEMS = "batch-items";
const KEPT_MS = 30 * 24 * 3_600_000;
const PAGE = 256;
const INDEX_DIGITS = 9;
/** Counts of batches that nobody looked at for long are made anew when somebody does. */
const MAX_COUNTED = 256;

const batchSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  model: z.string(),
  version: z.string(),
  createdAtMs: z.number(),
  total: z.int(),
  /** As it was asked for, so that more can be added; checked by whoever wrote it. */
  options: z.record(z.string(), z.unknown()),
});
export type Batch = z.infer<typeof batchSchema>;
const itemSchema = z.object({ taskId: z.string(), reference: z.string().optional() });

export interface BatchItem {
  readonly index: number;
  readonly taskId: string;
  readonly reference: string | undefined;
}

export interface NewItem {
  readonly submission: Submission;
  readonly reference: string | undefined;
}

export type Counts = Record<TaskState, number>;

export class Batches {
  readonly #tasks: TaskService;
  readonly #documents: DocumentStore;
  readonly #clock: Clock;
  readonly #ids = new SortableIds();
  /** Final states by task, of the batches that somebody looks at. */
  readonly #ended = new Map<string, Map<string, TaskState>>();
  readonly #adding = new Set<string>();

  constructor(tasks: TaskService, documents: DocumentStore, clock: Clock) {
    this.#tasks = tasks;
    this.#documents = documents;
    this.#clock = clock;
    tasks.watch.watchAll((task) => this.#noteEnd(task));
  }

  /** All of its tasks are stored with it, or nothing is. @throws as `TaskService.submit` */
  async create(
    principal: Principal,
    options: TaskOptions,
    items: readonly NewItem[],
    more: (id: string) => readonly Document[] = () => [],
  ): Promise<Batch> {
    const createdAtMs = this.#clock.now();
    const [first] = items;
    const batch: Batch = {
      id: `batch_${this.#ids.next(createdAtMs)}`,
      tenant: principal.tenant,
      model: first?.submission.model.ref.name ?? options.model,
      version: first?.submission.model.ref.version ?? "",
      createdAtMs,
      total: 0,
      options,
    };
    return this.#append(principal, batch, items, more(batch.id));
  }

  /** @throws `batch_not_found`, `idempotency_in_progress` while others are being added, as {@link create} */
  async add(
    principal: Principal,
    batch: Batch,
    items: readonly NewItem[],
    more: readonly Document[] = [],
  ): Promise<Batch> {
    if (this.#adding.has(batch.id))
      throw fail("idempotency_in_progress", `Other items are being added to ${batch.id} at this moment.`);
    this.#adding.add(batch.id);
    try {
      return await this.#append(principal, this.get(principal, batch.id), items, more);
    } finally {
      this.#adding.delete(batch.id);
    }
  }

  /** @throws `batch_not_found` */
  get(principal: Principal, id: string): Batch {
    const found = this.#documents.get(BATCHES, id);
    const batch = found === undefined ? undefined : batchSchema.parse(found);
    if (batch !== undefined && (batch.tenant === principal.tenant || isAdmin(principal))) return batch;
    throw fail("batch_not_found", `There is no batch ${id}.`);
  }

  /** The names that its items have been given. */
  references(batch: Batch): Set<string> {
    const references = new Set<string>();
    for (const { reference } of this.items(batch)) if (reference !== undefined) references.add(reference);
    return references;
  }

  /** In order. */
  *items({ id }: Batch): Generator<BatchItem> {
    for (let after = `${id}/`; ; ) {
      const page = this.#documents.list(ITEMS, { after, before: `${id}0`, limit: PAGE });
      for (const { id: key, value } of page) {
        const { taskId, reference } = itemSchema.parse(value);
        yield { index: Number(key.slice(id.length + 1)), taskId, reference };
      }
      const last = page.at(-1);
      if (page.length < PAGE || last === undefined) return;
      after = last.id;
    }
  }

  async counts(batch: Batch): Promise<Counts> {
    const ended = this.#ended.get(batch.id) ?? (await this.#count(batch));
    const counts = Object.fromEntries(TASK_STATES.map((state) => [state, 0])) as Counts;
    for (const state of ended.values()) counts[state] += 1;
    const open = batch.total - ended.size;
    counts.RUNNING = Math.min(open, this.#tasks.runningOf(batch.id));
    counts.PENDING = open - counts.RUNNING;
    return counts;
  }

  /** @returns how many were still to be cancelled */
  async cancel(principal: Principal, batch: Batch): Promise<number> {
    let count = 0;
    for (const { taskId } of this.items(batch)) {
      if (this.#ended.get(batch.id)?.has(taskId)) continue;
      const task = await this.#tasks.cancel(principal, taskId);
      if (task.state === "CANCELLED") count += 1;
    }
    return count;
  }

  async #append(
    principal: Principal,
    before: Batch,
    items: readonly NewItem[],
    more: readonly Document[],
  ): Promise<Batch> {
    const batch = { ...before, total: before.total + items.length };
    const submissions = items.map(({ submission, reference }, i) => ({
      ...submission,
      batch: { id: batch.id, index: before.total + i, reference },
    }));
    await this.#tasks.submit(principal, submissions, (tasks) => [
      this.#document(BATCHES, batch.id, batch),
      ...tasks.map((task, i) =>
        this.#document(ITEMS, `${batch.id}/${String(before.total + i).padStart(INDEX_DIGITS, "0")}`, {
          taskId: task.id,
          ...(task.batch?.reference === undefined ? {} : { reference: task.batch.reference }),
        }),
      ),
      ...more,
    ]);
    return batch;
  }

  #document(collection: string, id: string, value: unknown): Document {
    return { collection, id, value, expiresAtMs: this.#clock.now() + KEPT_MS };
  }

  async #count(batch: Batch): Promise<Map<string, TaskState>> {
    const ended = new Map<string, TaskState>();
    this.#ended.set(batch.id, ended);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > MAX_COUNTED && oldest !== undefined) this.#ended.delete(oldest);
    for (const { taskId } of this.items(batch)) {
      const task = await this.#tasks.find(taskId);
      if (task !== undefined && isFinal(task.state)) ended.set(taskId, task.state);
    }
    return ended;
  }

  #noteEnd({ id, batch, state }: TaskRecord): void {
    if (batch === undefined) return;
    const ended = this.#ended.get(batch.id);
    if (isFinal(state)) ended?.set(id, state);
    else ended?.delete(id);
  }
}
