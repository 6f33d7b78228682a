/**
 * The step to format 2, where unfinished tasks have a table of their own and every record begins with a fixed part.
 *
 * Record by record: what has been changed already is known by its version, so an interrupted step goes on where it stopped. Inputs, outputs and
 * the order of the ends stay as they are.
 */

import type { TaskId } from "@legacygpu/shared/ids";
import { isFinal } from "@legacygpu/shared/task";
import type { Environment } from "./environment.ts";
import { decodeFormat1, FORMAT_1_RECORD_VERSION } from "./format-1.ts";
import { NOTHING, timeKey } from "./index-keys.ts";
import { decodeInput, decodeOutput } from "./payload-codec.ts";
import { corrupt } from "./sealed.ts";
import { STARTS_KEY, startsWrite } from "./starts.ts";
import type { Table, Write } from "./table.ts";
import { encodeAttempts, encodeRecord } from "./task-codec.ts";
import { TaskTables } from "./task-tables.ts";

const BATCH = 256;

/** @throws `store_corrupt` */
export async function toFormat2(environment: Environment, meta: Table): Promise<void> {
  const tables = new TaskTables(environment);
  for (let after: string | undefined; ; ) {
    const records = tables.tasks.entries({ after, order: "rising", limit: BATCH });
    const writes: Write[] = [];
    for (const { key, value } of records)
      if (value[0] === FORMAT_1_RECORD_VERSION) convert(tables, writes, key as TaskId, value);
    if (writes.length > 0) await environment.commit(writes);
    if (records.length < BATCH) break;
    after = records.at(-1)?.key;
  }
  const starts = Buffer.from(meta.get(STARTS_KEY) ?? "").toString();
  if (/^\d+$/.test(starts)) await environment.commit([startsWrite(meta, Number(starts))]);
}

function convert(tables: TaskTables, writes: Write[], id: TaskId, value: Uint8Array): void {
  const { tasks, inputs, outputs, unfinished, attempts, expiring } = tables;
  const inputBytes = inputs.get(id);
  const outputBytes = outputs.get(id);
  const task = decodeFormat1({ table: "tasks", key: id }, value, {
    input: inputBytes && decodeInput({ table: "inputs", key: id }, inputBytes),
    output: outputBytes && decodeOutput({ table: "outputs", key: id }, outputBytes),
  });
  if (isFinal(task.state)) {
    const parts = { hasInput: false, hasOutput: task.output !== undefined };
    writes.push({ table: tasks, key: id, value: encodeRecord({ table: "tasks", key: id }, task, parts) });
    if (parts.hasOutput)
      writes.push({ table: expiring, key: timeKey(task.resultExpiresAtMs ?? 0, id), value: NOTHING });
    return;
  }
  if (task.input === undefined) throw corrupt({ table: "inputs", key: id }, "it is missing");
  const parts = { hasInput: true, hasOutput: false };
  const record = encodeRecord({ table: "unfinished", key: id }, task, parts);
  writes.push({ table: unfinished, key: id, value: record }, { table: tasks, key: id });
  if (task.attempts.length > 0)
    writes.push({ table: attempts, key: id, value: encodeAttempts({ table: "attempts", key: id }, task) });
}
