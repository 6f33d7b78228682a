/** Reads the unfinished tasks as the queue needs them: a million within seconds, and nothing of them stays here. */

import type { TaskId } from "@legacygpu/shared/ids";
import { RecordHeader } from "./record-header.ts";
import type { TableEntry } from "./table.ts";
import { holderOf } from "./task-codec.ts";
import type { PendingTask } from "./task-store.ts";
import type { TaskTables } from "./task-tables.ts";

const CHUNK = 1024;
const NOT_HELD = { lastToken: 0, heldBy: undefined };

/** Oldest first. Their seals were checked when the store was opened. @throws `store_corrupt` */
export function* pendingTasks(tables: TaskTables): Generator<PendingTask> {
  // A million tasks have a few owners and groups: each text is kept once.
  const names = new Map<string, OwnerAndGroup>();
  for (let after: string | undefined; ; ) {
    const entries = tables.unfinished.entries({ after, order: "rising", limit: CHUNK });
    const holders = holdersOf(tables, entries);
    for (const { key, value } of entries) {
      const header = new RecordHeader(key as TaskId, value);
      const { owner, group } = namesOf(header, names);
      const { lastToken, heldBy } = holders.get(key) ?? NOT_HELD;
      yield {
        id: header.id,
        tenant: owner,
        classIndex: header.classIndex,
        group,
        inputBytes: header.inputBytes,
        deadlineAtMs: header.deadlineAtMs,
        lastToken,
        heldBy,
      };
    }
    if (entries.length < CHUNK) return;
    after = entries.at(-1)?.key;
  }
}

interface OwnerAndGroup {
  readonly owner: string;
  readonly group: string;
}

function namesOf(header: RecordHeader, names: Map<string, OwnerAndGroup>): OwnerAndGroup {
  const { ownerAndGroup } = header;
  let found = names.get(ownerAndGroup);
  if (found === undefined) {
    found = { owner: header.owner, group: header.group };
    names.set(ownerAndGroup, found);
  }
  return found;
}

function holdersOf(
  tables: TaskTables,
  entries: readonly TableEntry[],
): Map<string, ReturnType<typeof holderOf>> {
  const [first, last] = [entries[0]?.key ?? "", entries.at(-1)?.key ?? ""];
  const holders = new Map<string, ReturnType<typeof holderOf>>();
  if (first === "") return holders;
  const range = { after: first, before: last, order: "rising", limit: CHUNK } as const;
  for (const { key, value } of tables.attempts.entries(range)) holders.set(key, holderOf(value));
  for (const key of [first, last]) {
    const value = tables.attempts.get(key);
    if (value !== undefined) holders.set(key, holderOf(Buffer.from(value)));
  }
  return holders;
}
