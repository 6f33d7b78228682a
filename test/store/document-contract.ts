/** What every store must do with documents. */

import assert from "node:assert/strict";
import type { DocumentRange } from "../../gateway/store/task-store.ts";
import type { WithSubject } from "./contract-subject.ts";
import { endTask, ORIGIN_MS, sampleTask, startTask } from "./sample-tasks.ts";

export function documentContract(withSubject: WithSubject): void {
  withSubject("documents are found as they were put, replaced and removed", async (subject) => {
    const value = { text: "größe", list: [1, 2.5, null], bytes: new Uint8Array([1, 2]), deep: { a: true } };
    await subject.store.documents.put([
      { collection: "notes", id: "a", value },
      { collection: "other", id: "a", value: "else" },
    ]);
    await subject.reopen();
    const { documents } = subject.store;
    assert.deepEqual(documents.get("notes", "a"), value);
    assert.equal(documents.get("notes", "b"), undefined);
    assert.equal(documents.get("note", "sa"), undefined);
    await documents.put([{ collection: "notes", id: "a", value: 2 }]);
    assert.equal(documents.get("notes", "a"), 2);
    await documents.remove("notes", ["a", "unknown"]);
    assert.equal(documents.get("notes", "a"), undefined);
    assert.equal(documents.get("other", "a"), "else");
  });

  withSubject(
    "documents are listed in the order of their ids, in either direction, between two",
    async ({ store }) => {
      const ids = ["a", "a\x7f", "b", "é", "ﬀ", "🐟"];
      await store.documents.put(ids.toReversed().map((id) => ({ collection: "notes", id, value: id })));
      await store.documents.put([
        { collection: "note", id: "x", value: 1 },
        { collection: "notes2", id: "x", value: 1 },
      ]);
      const found = (range: Partial<DocumentRange>): string[] =>
        store.documents.list("notes", { limit: 99, ...range }).map(({ id, value }) => {
          assert.equal(value, id);
          return id;
        });
      assert.deepEqual(found({}), ids);
      assert.deepEqual(found({ order: "falling" }), ids.toReversed());
      assert.deepEqual(found({ after: "a", before: "ﬀ" }), ["a\x7f", "b", "é"]);
      assert.deepEqual(found({ after: "a", before: "ﬀ", order: "falling", limit: 2 }), ["é", "b"]);
      assert.deepEqual(found({ after: "b", limit: 1 }), ["é"]);
      assert.deepEqual(found({ before: "a" }), []);
      assert.deepEqual(store.documents.list("nothing", { limit: 9 }), []);
    },
  );

  withSubject("relaxed documents have their place among the others at once", async ({ store }) => {
    const ids = ["a", "b", "é", "ﬀ", "🐟"];
    const note = (id: string) => ({ collection: "c", id, value: id });
    await store.documents.put(["a", "ﬀ"].map(note));
    await store.insert([sampleTask({ durability: "relaxed" })], ["🐟", "é", "b"].map(note));
    const found = (range: Partial<DocumentRange>) =>
      store.documents.list("c", { limit: 9, ...range }).map(({ id }) => id);
    assert.deepEqual(found({}), ids);
    assert.deepEqual(found({ order: "falling", limit: 2 }), ["🐟", "ﬀ"]);
    assert.deepEqual(found({ after: "a", before: "🐟" }), ["b", "é", "ﬀ"]);
  });

  withSubject("documents go in with the change of a task that they belong to", async (subject) => {
    const task = sampleTask();
    const note = (id: string) => [{ collection: "c", id, value: id }];
    await subject.store.insert([task], note("accepted"));
    startTask(task);
    await subject.store.saveAttempts(task, note("begun"));
    await subject.store.finish(endTask(task, "COMPLETED"), note("ended"));
    await subject.reopen();
    assert.deepEqual(
      subject.store.documents.list("c", { limit: 9 }).map(({ id }) => id),
      ["accepted", "begun", "ended"],
    );
  });

  withSubject(
    "documents are forgotten when they have expired, not before, and not when they were replaced",
    async (subject) => {
      const { clock } = subject;
      const put = (id: string, expiresAtMs?: number) => ({ collection: "c", id, value: id, expiresAtMs });
      await subject.store.documents.put([
        put("due", ORIGIN_MS + 1000),
        put("later", ORIGIN_MS + 5000),
        put("never"),
        put("longer", ORIGIN_MS + 1000),
        put("shorter", ORIGIN_MS + 9000),
        put("gone", ORIGIN_MS + 1000),
      ]);
      await subject.store.documents.put([put("longer", ORIGIN_MS + 9000), put("shorter", ORIGIN_MS + 1000)]);
      await subject.store.documents.remove("c", ["gone"]);
      await subject.store.documents.put([put("gone")]);
      await subject.sweep();
      assert.equal(subject.store.documents.list("c", { limit: 9 }).length, 6);
      clock.advance(2000);
      await subject.sweep();
      const left = () => subject.store.documents.list("c", { limit: 9 }).map(({ id }) => id);
      assert.deepEqual(left(), ["gone", "later", "longer", "never"]);
      clock.advance(60_000);
      await subject.sweep();
      await subject.reopen();
      assert.deepEqual(left(), ["gone", "never"]);
    },
  );

  withSubject("hundreds of documents expire at once", async ({ store, sweep, clock }) => {
    await store.documents.put(
      Array.from({ length: 700 }, (_, i) => ({
        collection: "c",
        id: `${i}`,
        value: i,
        expiresAtMs: ORIGIN_MS + i,
      })),
    );
    clock.advance(650);
    await sweep();
    assert.equal(store.documents.list("c", { limit: 999 }).length, 50);
  });
}
