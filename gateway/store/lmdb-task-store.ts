/**
 * Tasks on disk: what a promise of this store has answered outlives the process and, unless it is relaxed, the power supply.
 *
 * Nothing of a task is kept in memory, only what is on its way to the disk.
 */

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { TaskRecord } from "../tasks/record.ts";
import { assertSound } from "./audit.ts";
import { DiskRoom } from "./disk-room.ts";
import { DocumentTables } from "./document-tables.ts";
import { Environment } from "./environment.ts";
import { GroupCommit } from "./group-commit.ts";
import { LmdbDocuments } from "./lmdb-documents.ts";
import { migrate } from "./migrations.ts";
import { pendingTasks } from "./pending-tasks.ts";
import { RelaxedInserts } from "./relaxed-inserts.ts";
import { Retention, type RetentionLimits } from "./retention.ts";
import { nextStart } from "./starts.ts";
import { lockStore, type StoreLock } from "./store-lock.ts";
import type { Write } from "./table.ts";
import { TaskChanges } from "./task-changes.ts";
import { TaskSearch } from "./task-search.ts";
import type { Document, Live, PendingTask, TaskQuery, TaskStore } from "./task-store.ts";
import { TaskTables } from "./task-tables.ts";

const DEFAULT_RESERVE_BYTES = 64 * 1024 * 1024;
/** Tasks whose data is removed in one commit. */
const REMOVAL_BATCH = 256;

export interface LmdbTaskStoreOptions extends RetentionLimits {
  /** The file; its folder is made. Three more files with longer names lie beside it. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Nothing is accepted when less than this is free, so that accepted tasks can still end. Default 64 MiB. */
  readonly reserveBytes?: number;
}

interface Parts {
  readonly environment: Environment;
  readonly lock: StoreLock;
  readonly tables: TaskTables;
  readonly documents: DocumentTables;
  readonly commits: GroupCommit;
  readonly relaxed: RelaxedInserts;
  readonly changes: TaskChanges;
  readonly retention: Retention;
  readonly room: DiskRoom;
  readonly firstToken: number;
}

export class LmdbTaskStore implements TaskStore {
  readonly documents: LmdbDocuments;
  readonly #parts: Parts;
  readonly #search: TaskSearch;
  #state: "open" | "closed" = "open";

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.#search = new TaskSearch(parts.tables);
    this.documents = new LmdbDocuments(parts.documents, parts.commits, () => this.#assertOpen());
  }

  /** @throws `store_in_use`, `store_too_new`, `store_corrupt`, `store_full`, `store_failed` */
  static async open(options: LmdbTaskStoreOptions): Promise<LmdbTaskStore> {
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 });
    const lock = await lockStore(options.path);
    let environment: Environment | undefined;
    try {
      assertSound(options.path);
      environment = await Environment.open(options.path);
      return await LmdbTaskStore.#openLocked(options, lock, environment);
    } catch (error) {
      await environment?.close();
      await lock.release();
      throw error;
    }
  }

  static async #openLocked(
    { clock, log, reserveBytes = DEFAULT_RESERVE_BYTES, ...limits }: LmdbTaskStoreOptions,
    lock: StoreLock,
    environment: Environment,
  ): Promise<LmdbTaskStore> {
    const meta = environment.table("meta");
    await migrate(environment, meta, log);
    const tables = new TaskTables(environment);
    const documents = new DocumentTables(environment);
    const firstToken = await nextStart(environment, meta, clock.now());
    const commits = new GroupCommit((writes) => environment.commit(writes));
    const relaxed = new RelaxedInserts(commits, log);
    const changes = new TaskChanges();
    const retention = new Retention(limits, { clock, log, tables, documents, commits, changes });
    const room = new DiskRoom(environment, reserveBytes, clock);
    return new LmdbTaskStore({
      environment,
      lock,
      tables,
      documents,
      commits,
      relaxed,
      changes,
      retention,
      room,
      firstToken,
    });
  }

  /** Above every fencing token of earlier starts on this store, whatever the clock did. */
  get firstToken(): number {
    return this.#parts.firstToken;
  }

  async insert(tasks: readonly TaskRecord[], documents: readonly Document[] = []): Promise<void> {
    this.#assertOpen();
    const { room, commits, relaxed, tables } = this.#parts;
    const writes: Write[] = [];
    for (const task of tasks) tables.insertion(writes, task);
    this.#addDocuments(writes, documents);
    await room.assert();
    this.#assertOpen();
    if (tasks[0]?.durability === "relaxed") await relaxed.add(writes);
    else await commits.add("insert", writes);
  }

  async saveAttempts(task: TaskRecord, documents: readonly Document[] = []): Promise<void> {
    this.#assertOpen();
    const { commits, changes, tables } = this.#parts;
    if (changes.isChanging(task.id) || !tables.unfinished.has(task.id)) return;
    const writes: Write[] = [];
    tables.savedAttempts(writes, task);
    this.#addDocuments(writes, documents);
    await commits.add("other", writes);
  }

  finish(task: TaskRecord, documents: readonly Document[] = []): Promise<void> {
    const { commits, tables } = this.#parts;
    return this.#change([task.id], async () => {
      if (!tables.unfinished.has(task.id)) return;
      const writes: Write[] = [];
      tables.ending(writes, task);
      this.#addDocuments(writes, documents);
      await commits.add("other", writes);
      tables.letGo(task);
    });
  }

  reopen(task: TaskRecord): Promise<void> {
    const { commits, tables } = this.#parts;
    return this.#change([task.id], async () => {
      const writes: Write[] = [];
      tables.reopening(writes, task);
      await commits.add("other", writes);
    });
  }

  async removeData(ids: readonly TaskId[], nowMs: number): Promise<void> {
    const { commits, tables } = this.#parts;
    for (let i = 0; i < ids.length; i += REMOVAL_BATCH) {
      const some = ids.slice(i, i + REMOVAL_BATCH);
      await this.#change(some, async () => {
        const writes: Write[] = [];
        for (const id of some) tables.dataRemoval(writes, id, nowMs);
        if (writes.length > 0) await commits.add("other", writes);
      });
    }
  }

  load(id: TaskId): TaskRecord | undefined {
    const task = this.loadRecord(id);
    return task === undefined ? undefined : this.#parts.tables.addInput(task);
  }

  loadRecord(id: TaskId): TaskRecord | undefined {
    this.#assertOpen();
    const { changes, tables } = this.#parts;
    return changes.isChanging(id) ? undefined : tables.unfinishedRecord(id);
  }

  hasInput(id: TaskId): boolean {
    this.#assertOpen();
    return this.#parts.tables.kept.has(id);
  }

  /** A task whose end is being recorded is shown when that is done: nobody is told of a result that can still be lost. */
  async get(id: TaskId): Promise<TaskRecord | undefined> {
    this.#assertOpen();
    const { changes, tables } = this.#parts;
    if (changes.isChanging(id)) await changes.settled(id);
    this.#assertOpen();
    const unfinished = tables.unfinishedRecord(id);
    if (unfinished !== undefined) return unfinished;
    const finished = tables.finishedRecord(id);
    return finished === undefined ? undefined : tables.addOutput(finished);
  }

  async list(query: TaskQuery, live: Live): Promise<TaskRecord[]> {
    this.#assertOpen();
    await this.#parts.changes.allSettled();
    this.#assertOpen();
    return this.#search.find(query, live, () => this.#assertOpen());
  }

  unfinished(): Iterable<PendingTask> {
    this.#assertOpen();
    return pendingTasks(this.#parts.tables);
  }

  /** Forgets now what is due; otherwise this happens every second. */
  async sweep(): Promise<void> {
    await this.#parts.retention.sweep();
  }

  /** Finishes what was asked before. Idempotent. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    const { retention, commits, environment, lock } = this.#parts;
    await retention.close();
    await commits.idle();
    await environment.close();
    await lock.release();
  }

  async #change(ids: readonly TaskId[], change: () => Promise<void>): Promise<void> {
    this.#assertOpen();
    await this.#parts.changes.run(ids, async () => {
      this.#assertOpen();
      await change();
    });
  }

  #addDocuments(writes: Write[], documents: readonly Document[]): void {
    for (const document of documents) this.#parts.documents.insertion(writes, document);
  }

  #assertOpen(): void {
    if (this.#state === "closed") throw fail("gateway_draining", "The store of tasks is closed.");
  }
}
