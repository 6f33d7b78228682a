/**
 * Finds tasks, newest first, in chunks between which others get their turn.
 *
 * Each chunk is read from all tables in one turn of the event loop, and so from one state of the store: a task that ends between two chunks is
 * neither missed nor found twice.
 */

import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal } from "@legacygpu/shared/task";
import type { TaskRecord } from "../tasks/record.ts";
import { AFTER_SEPARATOR, idOfOwnerKey, ownerKey } from "./index-keys.ts";
import type { KeyRange, TableEntry } from "./table.ts";
import { openRecord } from "./task-codec.ts";
import { matches } from "./task-query.ts";
import type { Live, TaskQuery } from "./task-store.ts";
import type { TaskTables } from "./task-tables.ts";

/** How many records are looked at before others get their turn. */
const CHUNK = 128;

type Part = "unfinished" | "tasks";

interface Candidate {
  readonly id: TaskId;
  /** Where its record is; absent: to be looked up. */
  readonly found?: { readonly part: Part; readonly value: Uint8Array };
}

interface Chunk {
  readonly candidates: readonly Candidate[];
  readonly isLast: boolean;
}

export class TaskSearch {
  readonly #tables: TaskTables;

  constructor(tables: TaskTables) {
    this.#tables = tables;
  }

  /** @param assertOpen called after every turn of others. @throws `store_corrupt` */
  async find(query: TaskQuery, live: Live, assertOpen: () => void): Promise<TaskRecord[]> {
    const tasks: TaskRecord[] = [];
    for (let before = query.before; ; ) {
      const { candidates, isLast } = this.#chunk(query, before);
      for (const candidate of candidates) {
        const task = live(candidate.id) ?? this.#stored(candidate, query);
        if (task === undefined || !matches(task, query)) continue;
        tasks.push(task);
        if (tasks.length === query.limit) return tasks;
      }
      if (isLast) return tasks;
      before = candidates.at(-1)?.id;
      await new Promise(setImmediate);
      assertOpen();
    }
  }

  #chunk({ tenant, isDeadLetter, state }: TaskQuery, before: string | undefined): Chunk {
    const range: KeyRange = { before, order: "falling", limit: CHUNK };
    if (isDeadLetter) return byId(this.#tables.dead.keys(range));
    if (tenant !== undefined) return byId(this.#idsOf(tenant, before));
    if (state !== undefined) return one(partOf(state), this.#tables[partOf(state)].entries(range));
    return both(this.#tables.unfinished.entries(range), this.#tables.tasks.entries(range));
  }

  #idsOf(owner: string, before: string | undefined): string[] {
    const after = ownerKey(owner, "");
    const end = before === undefined ? owner + AFTER_SEPARATOR : ownerKey(owner, before);
    if (end === after) return [];
    return this.#tables.owners.keys({ after, before: end, order: "falling", limit: CHUNK }).map(idOfOwnerKey);
  }

  /** Undefined also when it is certainly not wanted. */
  #stored({ id, found }: Candidate, query: TaskQuery): TaskRecord | undefined {
    const { part, value } = found ?? this.#lookUp(id, query) ?? {};
    if (part === undefined || value === undefined) return undefined;
    const header = openRecord({ table: part, key: id }, value);
    if (part === "tasks") return header.mayMatch(query) ? this.#tables.finishedRecord(id, value) : undefined;
    // Its attempts, and so its sites, are stored by themselves.
    const { state, model, tag, batchId, site } = query;
    if (!header.mayMatch({ state, model, tag, batchId })) return undefined;
    if (site !== undefined && !this.#tables.attempts.has(id)) return undefined;
    return this.#tables.unfinishedRecord(id, value);
  }

  #lookUp(id: TaskId, { state, isDeadLetter }: TaskQuery): Candidate["found"] {
    for (const part of ["unfinished", "tasks"] as const) {
      if (state !== undefined && part !== partOf(state)) continue;
      if (isDeadLetter && part === "unfinished") continue;
      const value = this.#tables[part].get(id);
      if (value !== undefined) return { part, value };
    }
    return undefined;
  }
}

const partOf = (state: NonNullable<TaskQuery["state"]>): Part => (isFinal(state) ? "tasks" : "unfinished");

function byId(ids: readonly string[]): Chunk {
  return { candidates: ids.map((id) => ({ id: id as TaskId })), isLast: ids.length < CHUNK };
}

function one(part: Part, entries: readonly TableEntry[]): Chunk {
  const candidates = entries.map(({ key, value }) => ({ id: key as TaskId, found: { part, value } }));
  return { candidates, isLast: entries.length < CHUNK };
}

/** As far as both have been read: what lies beyond the end of one may come before what follows in the other. */
function both(unfinished: readonly TableEntry[], ended: readonly TableEntry[]): Chunk {
  const chunks = [one("unfinished", unfinished), one("tasks", ended)];
  const ends = chunks.flatMap(({ candidates, isLast }) => (isLast ? [] : [candidates.at(-1)?.id ?? ""]));
  const end = ends.length === 0 ? "" : ends.reduce((a, b) => (a > b ? a : b));
  const candidates = chunks
    .flatMap((chunk) => chunk.candidates)
    .filter(({ id }) => id >= end)
    .sort((a, b) => (a.id < b.id ? 1 : -1));
  return { candidates, isLast: ends.length === 0 };
}
