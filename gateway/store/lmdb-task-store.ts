/**
 * Tasks on disk: when `insert` or `update` has resolved, the task outlives the process and the power supply.
 *
 * Tasks that have not ended are also held in memory, as the very records that the scheduler works on; the disk has them as they were
 * accepted. A record is written twice in its life: when it is accepted and when it has ended.
 */

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import { isFinal } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";
import { DiskRoom } from "./disk-room.ts";
import { Environment } from "./environment.ts";
import { GroupCommit } from "./group-commit.ts";
import { migrate } from "./migrations.ts";
import { Retention, type RetentionLimits } from "./retention.ts";
import { nextStart } from "./starts.ts";
import { lockStore, type StoreLock } from "./store-lock.ts";
import type { TaskQuery, TaskStore } from "./task-store.ts";
import { TaskTables } from "./task-tables.ts";
import { verify } from "./verification.ts";

/** How many records are looked at before others get their turn. */
const SCAN_CHUNK = 128;
const DEFAULT_RESERVE_BYTES = 64 * 1024 * 1024;

export interface LmdbTaskStoreOptions extends RetentionLimits {
  /** The file; its folder is made. Two more files with longer names lie beside it. */
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
  readonly commits: GroupCommit;
  readonly retention: Retention;
  readonly room: DiskRoom;
  readonly firstToken: number;
}

export class LmdbTaskStore implements TaskStore {
  readonly #parts: Parts;
  /** Everything whose end is not recorded. */
  readonly #live = new Map<TaskId, TaskRecord>();
  /** Ends that are being recorded. */
  readonly #ends = new Map<TaskId, Promise<void>>();
  #state: "open" | "closed" = "open";

  private constructor(parts: Parts, unfinished: readonly TaskRecord[]) {
    this.#parts = parts;
    for (const task of unfinished) this.#live.set(task.id, task);
  }

  /** @throws `store_in_use`, `store_too_new`, `store_corrupt`, `store_full`, `store_failed` */
  static async open(options: LmdbTaskStoreOptions): Promise<LmdbTaskStore> {
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 });
    const lock = await lockStore(options.path);
    let environment: Environment | undefined;
    try {
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
    await migrate(environment, meta);
    const tables = new TaskTables(environment);
    const unfinished = verify(environment, tables);
    const firstToken = await nextStart(environment, meta, clock.now());
    const commits = new GroupCommit((writes) => environment.commit(writes));
    const retention = new Retention(limits, { clock, log, tables, commits });
    const room = new DiskRoom(environment, reserveBytes, clock);
    return new LmdbTaskStore({ environment, lock, tables, commits, retention, room, firstToken }, unfinished);
  }

  /** Above every fencing token of earlier starts on this store, whatever the clock did. */
  get firstToken(): number {
    return this.#parts.firstToken;
  }

  async insert(task: TaskRecord): Promise<void> {
    this.#assertOpen();
    const { room, commits, tables } = this.#parts;
    const writes = tables.insertion(task);
    await room.assert();
    this.#assertOpen();
    await commits.add("insert", writes);
    this.#live.set(task.id, task);
  }

  async update(task: TaskRecord): Promise<void> {
    this.#assertOpen();
    if (!isFinal(task.state) || !this.#live.has(task.id)) return;
    const end = this.#ends.get(task.id) ?? this.#recordEnd(task);
    this.#ends.set(task.id, end);
    await end;
  }

  /** A task whose end is being recorded is shown when that is done: nobody is told of a result that can still be lost. */
  async get(id: TaskId): Promise<TaskRecord | undefined> {
    this.#assertOpen();
    await Promise.allSettled([this.#ends.get(id)]);
    return this.#live.get(id) ?? this.#fromDisk(id);
  }

  async list(query: TaskQuery): Promise<TaskRecord[]> {
    this.#assertOpen();
    await Promise.allSettled(this.#ends.values());
    if (query.state !== undefined && !isFinal(query.state)) return this.#listLive(query);
    const { limit, ownerKeyId } = query;
    const found: TaskRecord[] = [];
    for (let before = query.before; ; ) {
      const ids = before === "" ? [] : this.#parts.tables.ids({ ownerKeyId, before, limit: SCAN_CHUNK });
      for (const id of ids) {
        if (found.length === limit) break;
        const task = this.#match(id, query);
        if (task !== undefined) found.push(task);
      }
      if (ids.length < SCAN_CHUNK || found.length === limit) return found;
      before = ids.at(-1);
      await new Promise(setImmediate);
      this.#assertOpen();
    }
  }

  unfinished(): TaskRecord[] {
    return [...this.#live.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
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

  async #recordEnd(task: TaskRecord): Promise<void> {
    const { commits, tables, retention } = this.#parts;
    try {
      await commits.add("other", tables.ending(task));
      this.#live.delete(task.id);
      retention.taskEnded();
    } finally {
      this.#ends.delete(task.id);
    }
  }

  #listLive({ limit, before, ...query }: TaskQuery): TaskRecord[] {
    const newestFirst = this.unfinished().reverse();
    const isWanted = (task: TaskRecord): boolean =>
      matches(task, query) && (before === undefined || task.id < before);
    return newestFirst.filter(isWanted).slice(0, limit);
  }

  #match(id: TaskId, query: Omit<TaskQuery, "limit">): TaskRecord | undefined {
    const live = this.#live.get(id);
    const task = live ?? this.#parts.tables.record(id, query);
    if (task === undefined || !matches(task, query)) return undefined;
    return live ?? this.#parts.tables.addOutput(task);
  }

  #fromDisk(id: TaskId): TaskRecord | undefined {
    const task = this.#parts.tables.record(id);
    return task === undefined ? undefined : this.#parts.tables.addOutput(task);
  }

  #assertOpen(): void {
    if (this.#state === "closed") throw fail("gateway_draining", "The store of tasks is closed.");
  }
}

function matches(task: TaskRecord, { ownerKeyId, state, model }: Omit<TaskQuery, "limit">): boolean {
  if (ownerKeyId !== undefined && task.ownerKeyId !== ownerKeyId) return false;
  if (state !== undefined && task.state !== state) return false;
  return model === undefined || task.model.name === model;
}
