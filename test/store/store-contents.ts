/** A store with something of everything, and all that can be read from one: to tell whether anything is lost or changed. */

import type { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { beginAnew, type TaskRecord } from "../../gateway/tasks/record.ts";
import { nothingLive } from "./contract-subject.ts";
import { endTask, failAttempt, fullOrder, ORIGIN_MS, sampleTask, startTask } from "./sample-tasks.ts";

const OWNERS = ["alice", "bob"] as const;
const LARGE = new Uint8Array(9000).fill(5);

/** @param scale how many tasks there are, divided by ten. */
export async function fillStore(store: LmdbTaskStore, scale: number): Promise<void> {
  for (let round = 0; round < scale; round += 1) {
    const tasks = Array.from({ length: 10 }, (_, i) => variedTask(round * 10 + i));
    const documents = tasks.map(({ id }, i) => ({
      collection: "notes",
      id,
      value: { i, text: "note".repeat(i * 40) },
      expiresAtMs: i < 5 ? ORIGIN_MS + 1e9 + i : undefined,
    }));
    await store.insert(tasks, documents);
    const [begun, retried, failed, completed, large, removed, again] = tasks as [
      TaskRecord,
      TaskRecord,
      TaskRecord,
      TaskRecord,
      TaskRecord,
      TaskRecord,
      TaskRecord,
    ];
    startTask(begun);
    startTask(retried);
    failAttempt(retried);
    await Promise.all([store.saveAttempts(begun), store.saveAttempts(retried)]);
    endTask(large, "COMPLETED");
    large.output = {
      kind: "output",
      tensors: [{ name: "x", datatype: "UINT8", shape: [9000], data: LARGE }],
      predictions: [{ label: "cat", index: 1, score: 0.5 }],
    };
    const ended = [
      endTask(failed, "FAILED"),
      endTask(completed, "COMPLETED"),
      large,
      endTask(removed, "TIMED_OUT"),
    ];
    await Promise.all([...ended, endTask(again, "FAILED")].map((task) => store.finish(task)));
    await store.removeData([removed.id], ORIGIN_MS + 11);
    beginAnew(again, ORIGIN_MS + 12);
    await store.reopen(again);
  }
}

function variedTask(n: number): TaskRecord {
  return sampleTask({
    ...(n % 4 === 0 ? fullOrder() : {}),
    tenant: OWNERS[n % OWNERS.length] ?? "alice",
    deadlineAtMs: n % 3 === 0 ? ORIGIN_MS + n : undefined,
    ...(n % 5 === 0 ? { input: { kind: "image" as const, image: LARGE } } : {}),
  });
}

/** Everything that a caller can see. @throws `store_corrupt` */
export async function contentsOf(store: LmdbTaskStore): Promise<unknown> {
  const unfinished = [...store.unfinished()];
  const listed = await store.list({ limit: 99_999 }, nothingLive);
  const ids = listed.map(({ id }) => id);
  return {
    unfinished,
    listed,
    loaded: unfinished.map(({ id }) => store.load(id)),
    found: await Promise.all(ids.map((id) => store.get(id))),
    inputs: ids.map((id) => store.hasInput(id)),
    owned: await Promise.all(
      OWNERS.map(async (tenant) =>
        (await store.list({ tenant, limit: 99_999 }, nothingLive)).map(({ id }) => id),
      ),
    ),
    dead: (await store.list({ isDeadLetter: true, limit: 99_999 }, nothingLive)).map(({ id }) => id),
    notes: store.documents.list("notes", { limit: 99_999 }),
  };
}
