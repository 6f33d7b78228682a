/** Makes the tables of a rebuilt store fit together again: tasks that have lost something end, what belongs to nobody goes, indexes are made anew. */

import { fail, toWireError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import { transition } from "../tasks/record.ts";
import type { AsideFile } from "./aside-file.ts";
import { DocumentTables } from "./document-tables.ts";
import type { Environment } from "./environment.ts";
import { NOTHING, ownerKey } from "./index-keys.ts";
import { keysOfFinished, RecordHeader, withoutData } from "./record-header.ts";
import { seal } from "./sealed.ts";
import type { Table, Write } from "./table.ts";
import { openRecord, RECORD_VERSION } from "./task-codec.ts";
import { TaskTables } from "./task-tables.ts";

const BATCH = 256;

export interface Losses {
  /** Tasks whose attempts are lost. */
  readonly withoutAttempts: ReadonlySet<string>;
  readonly nowMs: number;
  readonly aside: AsideFile;
}

type Visit = (writes: Write[], key: string, value: Buffer) => void;

export async function fitTogether(environment: Environment, losses: Losses): Promise<void> {
  const { aside } = losses;
  const tables = new TaskTables(environment);
  const documents = new DocumentTables(environment);
  const each = (table: Table, visit: Visit): Promise<void> => visitAll(environment, table, visit);
  const dropUnless = (table: Table, isWanted: (id: TaskId) => boolean): Promise<void> =>
    each(table, (writes, key, value) => {
      if (isWanted(key as TaskId)) return;
      aside.add({ table: table.name, key, what: "its task is lost" }, value);
      writes.push({ table, key });
    });

  await each(tables.unfinished, (writes, id) => refitUnfinished(tables, writes, id as TaskId, losses));
  await dropUnless(tables.inputs, (id) => tables.unfinished.has(id));
  await dropUnless(tables.attempts, (id) => tables.unfinished.has(id));
  await each(tables.tasks, (writes, id, value) =>
    refitEnded(tables, writes, { id: id as TaskId, value, losses }),
  );
  await dropUnless(tables.outputs, (id) => tables.finishedHeader(id)?.hasOutput === true);
  await dropUnless(tables.kept, (id) => tables.finishedHeader(id)?.hasInput === true);
  await each(documents.documents, (writes, key, value) => documents.expiryOf(writes, key, value));
}

function refitUnfinished(tables: TaskTables, writes: Write[], id: TaskId, losses: Losses): void {
  const { unfinished, inputs, attempts, owners } = tables;
  if (tables.tasks.has(id)) {
    writes.push({ table: unfinished, key: id }, { table: inputs, key: id }, { table: attempts, key: id });
    return;
  }
  const lost = !inputs.has(id) ? "input" : losses.withoutAttempts.has(id) ? "attempts" : undefined;
  const task = tables.unfinishedRecord(id);
  if (task === undefined) return;
  writes.push({ table: owners, key: ownerKey(task.tenant, id), value: NOTHING });
  if (lost === undefined) return;
  const what = `What was stored of this task (${lost}) is damaged and has been set aside.`;
  task.error = toWireError(fail("store_corrupt", what));
  transition(task, "FAILED", losses.nowMs);
  tables.ending(writes, task);
  losses.aside.add({
    table: lost === "input" ? "inputs" : "attempts",
    key: id,
    what: "its task ends as FAILED",
  });
}

function refitEnded(
  tables: TaskTables,
  writes: Write[],
  { id, value, losses }: { readonly id: TaskId; readonly value: Buffer; readonly losses: Losses },
): void {
  const { tasks, outputs, kept, owners } = tables;
  const place = { table: tasks.name, key: id };
  let header = openRecord(place, value);
  writes.push({ table: owners, key: ownerKey(header.owner, id), value: NOTHING });
  const isLost = (header.hasOutput && !outputs.has(id)) || (header.hasInput && !kept.has(id));
  if (isLost) {
    const record = seal(place, withoutData(value, losses.nowMs), RECORD_VERSION);
    writes.push({ table: tasks, key: id, value: record });
    header = new RecordHeader(id, record);
    losses.aside.add({ table: "tasks", key: id, what: "its data counts as removed" });
  }
  for (const [index, key] of keysOfFinished(header))
    if (index === "finished" || index === "expiring" || index === "dead")
      writes.push({ table: tables[index], key, value: NOTHING });
}

async function visitAll(environment: Environment, table: Table, visit: Visit): Promise<void> {
  for (let after: string | undefined; ; ) {
    const entries = table.entries({ after, order: "rising", limit: BATCH });
    const writes: Write[] = [];
    for (const { key, value } of entries) visit(writes, key, value);
    if (writes.length > 0) await environment.commit(writes);
    if (entries.length < BATCH) return;
    after = entries.at(-1)?.key;
  }
}
