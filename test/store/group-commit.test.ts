import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { GroupCommit } from "../../gateway/store/group-commit.ts";
import { Table, type Write } from "../../gateway/store/table.ts";

// The tables are not touched: commits are recorded by the keys that they hold.
const table = Object.create(Table.prototype) as Table;
const write = (key: string, bytes = 1): Write[] => [{ table, key, value: new Uint8Array(bytes) }];

class FakeDisk {
  readonly commits: string[][] = [];
  /** What the next commits answer; then they succeed. */
  readonly failures: (LegacyGpuError | undefined)[] = [];

  readonly commit = async (writes: readonly Write[]): Promise<void> => {
    this.commits.push(writes.map(({ key }) => key));
    await new Promise(setImmediate);
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
  };
}

const outcomes = async (promises: readonly Promise<void>[]): Promise<string[]> =>
  (await Promise.allSettled(promises)).map((result) =>
    result.status === "fulfilled" ? "stored" : (result.reason as LegacyGpuError).code,
  );

test("callers of one moment share a commit; later ones share the next", async () => {
  const disk = new FakeDisk();
  const group = new GroupCommit(disk.commit);
  const second: Promise<void>[] = [];
  const first = ["a", "b", "c"].map(async (key) => {
    await group.add("insert", write(key));
    second.push(group.add("insert", write(`${key}2`)));
  });
  await Promise.all(first);
  await Promise.all(second);
  await group.idle();
  assert.deepEqual(disk.commits, [
    ["a", "b", "c"],
    ["a2", "b2", "c2"],
  ]);
});

test("a commit has a bound in bytes; nothing is left behind", async () => {
  const disk = new FakeDisk();
  const group = new GroupCommit(disk.commit);
  const sizes = [5, 5, 20, 1].map((mebibytes) => mebibytes * 1024 * 1024);
  await Promise.all(sizes.map((bytes, i) => group.add("insert", write(String(i), bytes))));
  assert.deepEqual(disk.commits, [["0"], ["1"], ["2"], ["3"]]);
});

test("without room new tasks are refused, and the ends of tasks are tried without them", async () => {
  const disk = new FakeDisk();
  const group = new GroupCommit(disk.commit);
  disk.failures.push(fail("store_full"));
  const answers = await outcomes([group.add("insert", write("new")), group.add("other", write("end"))]);
  assert.deepEqual(answers, ["store_full", "stored"]);
  assert.deepEqual(disk.commits, [["new", "end"], ["end"]]);
  assert.deepEqual(await outcomes([group.add("insert", write("later"))]), ["stored"]);
});

test("after any other failure nothing is written any more", async () => {
  const disk = new FakeDisk();
  const group = new GroupCommit(disk.commit);
  disk.failures.push(fail("store_failed"));
  assert.deepEqual(await outcomes([group.add("other", write("a"))]), ["store_failed"]);
  assert.deepEqual(await outcomes([group.add("insert", write("b"))]), ["store_failed"]);
  assert.deepEqual(disk.commits, [["a"]]);
});
