/**
 * The tables of the task store and what each change of a task writes into them.
 *
 * tasks     id → the record without input and output
 * inputs    id → the input, until the task ends: a key here is an unfinished task
 * outputs   id → the output, when there is one
 * owners    owner, id → nothing: the tasks of one key in the order of their age
 * finished  time of the end, id → the owner: in which order finished tasks are forgotten
 * meta      format and number of starts
 */

import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskRecord } from "../tasks/record.ts";
import type { Environment } from "./environment.ts";
import type { Table, Write } from "./table.ts";
import {
  corrupt,
  decodeInput,
  decodeOutput,
  decodeRecord,
  encodePart,
  encodeRecord,
  mayMatch,
  type Place,
  type RecordFilter,
} from "./task-codec.ts";

const NOTHING = Buffer.from([0]);
/** Between the parts of a key; ids and times do not have it. */
const SEPARATOR = "\0";
const TIME_DIGITS = 16;

export class TaskTables {
  readonly tasks: Table;
  readonly inputs: Table;
  readonly outputs: Table;
  readonly owners: Table;
  readonly finished: Table;

  constructor(environment: Environment) {
    this.tasks = environment.table("tasks");
    this.inputs = environment.table("inputs");
    this.outputs = environment.table("outputs");
    this.owners = environment.table("owners");
    this.finished = environment.table("finished");
  }

  insertion(task: TaskRecord): Write[] {
    const { id, input } = task;
    if (input === undefined) throw new TypeError(`Task ${id} has no input.`);
    return [
      { table: this.tasks, key: id, value: encodeRecord(place(this.tasks, id), task) },
      { table: this.inputs, key: id, value: encodePart(place(this.inputs, id), input) },
      { table: this.owners, key: ownerKey(task.ownerKeyId, id), value: NOTHING },
    ];
  }

  ending(task: TaskRecord): Write[] {
    const { id, output } = task;
    const writes: Write[] = [
      { table: this.tasks, key: id, value: encodeRecord(place(this.tasks, id), task) },
      { table: this.inputs, key: id },
      { table: this.finished, key: finishedKey(task), value: Buffer.from(task.ownerKeyId) },
    ];
    if (output !== undefined)
      writes.push({ table: this.outputs, key: id, value: encodePart(place(this.outputs, id), output) });
    return writes;
  }

  /** @param key one of `finished` */
  removal(key: string): Write[] {
    const { id } = splitFinishedKey(key);
    const owner = this.finished.get(key)?.toString() ?? "";
    return [
      { table: this.tasks, key: id },
      { table: this.outputs, key: id },
      { table: this.owners, key: ownerKey(owner, id) },
      { table: this.finished, key },
    ];
  }

  /** Without input and output; undefined also when the filter certainly excludes it. @throws `store_corrupt` */
  record(id: TaskId, filter: RecordFilter = {}): TaskRecord | undefined {
    const bytes = this.tasks.get(id);
    const where = place(this.tasks, id);
    if (bytes === undefined || !mayMatch(where, bytes, filter)) return undefined;
    return decodeRecord(where, bytes);
  }

  /** @throws `store_corrupt` */
  addOutput(task: TaskRecord): TaskRecord {
    const bytes = this.outputs.get(task.id);
    if (bytes !== undefined) task.output = decodeOutput(place(this.outputs, task.id), bytes);
    else if (task.state === "COMPLETED") throw corrupt(place(this.outputs, task.id), "it is missing");
    return task;
  }

  /** A task that has not ended, with its input. @throws `store_corrupt` */
  unfinished(id: TaskId): TaskRecord {
    const task = this.record(id);
    const bytes = this.inputs.get(id);
    if (task === undefined) throw corrupt(place(this.tasks, id), "it is missing");
    if (bytes === undefined) throw corrupt(place(this.inputs, id), "it is missing");
    task.input = decodeInput(place(this.inputs, id), bytes);
    return task;
  }

  /** Ids that sort before `before`, newest first; of one owner, or all. */
  ids({ ownerKeyId, before, limit }: IdRange): TaskId[] {
    if (ownerKeyId === undefined)
      return this.tasks.keys({
        order: "falling",
        limit,
        ...(before === undefined ? {} : { before }),
      }) as TaskId[];
    const prefix = ownerKey(ownerKeyId, "");
    const range = {
      after: prefix,
      before: before === undefined ? `${ownerKeyId}\x01` : `${prefix}${before}`,
    };
    const keys = this.owners.keys({ order: "falling", limit, ...range });
    return keys.map((key) => key.slice(prefix.length) as TaskId);
  }
}

export interface IdRange {
  readonly ownerKeyId: string | undefined;
  readonly before: string | undefined;
  readonly limit: number;
}

export function splitFinishedKey(key: string): { endedAtMs: number; id: TaskId } {
  return {
    endedAtMs: Number(key.slice(0, TIME_DIGITS)),
    id: key.slice(TIME_DIGITS + SEPARATOR.length) as TaskId,
  };
}

function finishedKey({ id, completedAtMs }: TaskRecord): string {
  return String(Math.floor(completedAtMs ?? 0)).padStart(TIME_DIGITS, "0") + SEPARATOR + id;
}

const ownerKey = (owner: string, id: string): string => owner + SEPARATOR + id;
const place = (table: Table, key: string): Place => ({ table: table.name, key });
