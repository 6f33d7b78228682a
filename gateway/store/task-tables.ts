/**
 * The tables of the task store and what each change of a task writes into them.
 *
 * unfinished  id → the record of a task that has not ended
 * attempts    id → its attempts, once there are any
 * inputs      id → its input
 * tasks       id → the record of a task that has ended
 * outputs     id → its output, until it expires or is removed
 * kept        id → its input, when it may be tried again
 * owners      owner, id → nothing: the tasks of one key in the order of their age, ended or not
 * finished    time of the end, id → nothing: in which order tasks are forgotten
 * expiring    expiry, id → nothing: when outputs are removed
 * dead        id → nothing: tasks that wait for a person
 *
 * The inputs of tasks that have ended are in a table of their own so that its size tells what they take.
 */

import { fail } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { TaskRecord } from "../tasks/record.ts";
import type { Environment } from "./environment.ts";
import { NOTHING, ownerKey, timeKey } from "./index-keys.ts";
import { decodeInput, decodeOutput, encodeInput, encodeOutput, movePayload } from "./payload-codec.ts";
import { type RecordHeader, withoutData } from "./record-header.ts";
import { corrupt, type Place, seal } from "./sealed.ts";
import type { Table, Write } from "./table.ts";
import {
  addAttempts,
  decodeRecord,
  encodeAttempts,
  encodeRecord,
  openRecord,
  RECORD_VERSION,
} from "./task-codec.ts";

export class TaskTables {
  readonly unfinished: Table;
  readonly attempts: Table;
  readonly inputs: Table;
  readonly tasks: Table;
  readonly outputs: Table;
  readonly kept: Table;
  readonly owners: Table;
  readonly finished: Table;
  readonly expiring: Table;
  readonly dead: Table;

  constructor(environment: Environment) {
    this.unfinished = environment.table("unfinished", "passing");
    this.attempts = environment.table("attempts", "passing");
    this.inputs = environment.table("inputs");
    this.tasks = environment.table("tasks", "passing");
    this.outputs = environment.table("outputs");
    this.kept = environment.table("kept");
    this.owners = environment.table("owners");
    this.finished = environment.table("finished");
    this.expiring = environment.table("expiring");
    this.dead = environment.table("dead");
  }

  /** A new task. */
  insertion(writes: Write[], task: TaskRecord): void {
    const { id, input } = task;
    if (input === undefined) throw new TypeError(`Task ${id} has no input.`);
    const { inputs } = this;
    this.#putUnfinished(writes, task);
    writes.push({ table: inputs, key: id, value: encodeInput(place(inputs, id), input) });
    writes.push({ table: this.owners, key: ownerKey(task.tenant, id), value: NOTHING });
  }

  savedAttempts(writes: Write[], task: TaskRecord): void {
    const { attempts } = this;
    writes.push({ table: attempts, key: task.id, value: encodeAttempts(place(attempts, task.id), task) });
  }

  /** The end of an unfinished task. @throws `store_corrupt` */
  ending(writes: Write[], task: TaskRecord): void {
    const { id, output, state, dataRemovedAtMs } = task;
    const { tasks, outputs, inputs, kept } = this;
    const mayRetry = (state === "FAILED" || state === "TIMED_OUT") && dataRemovedAtMs === undefined;
    const input = mayRetry ? inputs.get(id) : undefined;
    const parts = { hasInput: input !== undefined, hasOutput: output !== undefined };
    writes.push({ table: this.unfinished, key: id }, { table: this.attempts, key: id });
    writes.push({ table: inputs, key: id });
    writes.push({ table: tasks, key: id, value: encodeRecord(place(tasks, id), task, parts) });
    writes.push({ table: this.finished, key: timeKey(task.completedAtMs ?? 0, id), value: NOTHING });
    if (input !== undefined)
      writes.push({ table: kept, key: id, value: movePayload(place(inputs, id), input, place(kept, id)) });
    if (task.isDeadLetter) writes.push({ table: this.dead, key: id, value: NOTHING });
    const owned = ownerKey(task.tenant, id);
    if (this.owners.isHeld(owned)) writes.push({ table: this.owners, key: owned, value: NOTHING });
    if (output === undefined) return;
    writes.push({ table: outputs, key: id, value: encodeOutput(place(outputs, id), output) });
    if (task.resultExpiresAtMs !== undefined)
      writes.push({ table: this.expiring, key: timeKey(task.resultExpiresAtMs, id), value: NOTHING });
  }

  /** The end is written: what a relaxed insert may still hold counts no more. */
  letGo({ id, tenant }: TaskRecord): void {
    this.unfinished.letGo(id);
    this.inputs.letGo(id);
    this.owners.letGo(ownerKey(tenant, id));
  }

  /** A task that has ended begins again. @throws `task_not_retryable`, `store_corrupt` */
  reopening(writes: Write[], task: TaskRecord): void {
    const { id } = task;
    const { kept, inputs } = this;
    const header = this.finishedHeader(id);
    const input = kept.get(id);
    if (header === undefined || input === undefined)
      throw fail("task_not_retryable", `Task ${id} has no input any more.`, { dataRemoved: true });
    this.#removeFinished(writes, header);
    this.#putUnfinished(writes, task);
    this.savedAttempts(writes, task);
    writes.push({ table: inputs, key: id, value: movePayload(place(kept, id), input, place(inputs, id)) });
  }

  /** Input and output of a task that has ended; nothing when it has none. @throws `store_corrupt` */
  dataRemoval(writes: Write[], id: TaskId, nowMs: number): void {
    const { tasks } = this;
    const value = tasks.get(id);
    const header = this.finishedHeader(id);
    if (value === undefined || header === undefined || header.dataRemovedAtMs !== undefined) return;
    this.#removeData(writes, header);
    const record = seal(place(tasks, id), withoutData(value, nowMs), RECORD_VERSION);
    writes.push({ table: tasks, key: id, value: record });
  }

  /** @param finishedKey one of `finished`: everything of the task that ended then goes. @throws `store_corrupt` */
  forgetting(writes: Write[], id: TaskId, finishedKey: string): void {
    const header = this.finishedHeader(id);
    writes.push({ table: this.finished, key: finishedKey });
    if (header === undefined || timeKey(header.endedAtMs ?? 0, id) !== finishedKey) return;
    this.#removeFinished(writes, header);
    writes.push({ table: this.owners, key: ownerKey(header.owner, id) });
  }

  /** Undefined: it has not ended, or is forgotten. @throws `store_corrupt` */
  finishedHeader(id: TaskId): RecordHeader | undefined {
    const value = this.tasks.get(id);
    return value === undefined ? undefined : openRecord(place(this.tasks, id), value);
  }

  /** A task that has not ended, with its attempts, without its input. @throws `store_corrupt` */
  unfinishedRecord(id: TaskId, value = this.unfinished.get(id)): TaskRecord | undefined {
    if (value === undefined) return undefined;
    const task = decodeRecord(place(this.unfinished, id), value);
    const attempts = this.attempts.get(id);
    if (attempts !== undefined) addAttempts(place(this.attempts, id), attempts, task);
    return task;
  }

  /** @throws `store_corrupt` */
  addInput(task: TaskRecord): TaskRecord {
    const value = this.inputs.get(task.id);
    if (value === undefined) throw corrupt(place(this.inputs, task.id), "it is missing");
    task.input = decodeInput(place(this.inputs, task.id), value);
    return task;
  }

  /** A task that has ended, without its output. @throws `store_corrupt` */
  finishedRecord(id: TaskId, value = this.tasks.get(id)): TaskRecord | undefined {
    return value === undefined ? undefined : decodeRecord(place(this.tasks, id), value);
  }

  /** @throws `store_corrupt` */
  addOutput(task: TaskRecord): TaskRecord {
    const value = this.outputs.get(task.id);
    if (value !== undefined) task.output = decodeOutput(place(this.outputs, task.id), value);
    else if (this.finishedHeader(task.id)?.hasOutput)
      throw corrupt(place(this.outputs, task.id), "it is missing");
    return task;
  }

  #putUnfinished(writes: Write[], task: TaskRecord): void {
    const { unfinished } = this;
    const value = encodeRecord(place(unfinished, task.id), task, { hasInput: true, hasOutput: false });
    writes.push({ table: unfinished, key: task.id, value });
  }

  #removeFinished(writes: Write[], header: RecordHeader): void {
    const { id } = header;
    this.#removeData(writes, header);
    writes.push({ table: this.tasks, key: id });
    writes.push({ table: this.finished, key: timeKey(header.endedAtMs ?? 0, id) });
  }

  #removeData(
    writes: Write[],
    { id, hasInput, hasOutput, isDeadLetter, resultExpiresAtMs }: RecordHeader,
  ): void {
    if (hasInput) writes.push({ table: this.kept, key: id });
    if (isDeadLetter) writes.push({ table: this.dead, key: id });
    if (!hasOutput) return;
    writes.push({ table: this.outputs, key: id });
    if (resultExpiresAtMs !== undefined)
      writes.push({ table: this.expiring, key: timeKey(resultExpiresAtMs, id) });
  }
}

const place = (table: Table, key: string): Place => ({ table: table.name, key });
