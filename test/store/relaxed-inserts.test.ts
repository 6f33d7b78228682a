import assert from "node:assert/strict";
import { test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { Environment } from "../../gateway/store/environment.ts";
import { GroupCommit } from "../../gateway/store/group-commit.ts";
import { RelaxedInserts } from "../../gateway/store/relaxed-inserts.ts";
import type { Write } from "../../gateway/store/table.ts";
import { LmdbRig } from "./lmdb-rig.ts";

const MEBIBYTE = 1024 * 1024;

/** Commits wait until they are let through, or fail. */
class Gate {
  readonly #opened: Promise<void>;
  open: () => void = () => {};
  failure: Error | undefined;

  constructor() {
    this.#opened = new Promise((resolve) => {
      this.open = resolve;
    });
  }

  readonly commit = async (): Promise<void> => {
    await this.#opened;
    if (this.failure !== undefined) throw this.failure;
  };
}

async function withTable(
  body: (write: (key: string, bytes: number) => Write[], lines: string[]) => Promise<void>,
) {
  const rig = new LmdbRig();
  const environment = await Environment.open(rig.path);
  const table = environment.table("things");
  try {
    await body((key, bytes) => [{ table, key, value: Buffer.alloc(bytes) }], rig.logLines);
  } finally {
    await environment.close();
    await rig.close();
  }
}

test("a relaxed insert does not wait for the disk until the disk is far behind", () =>
  withTable(async (write, lines) => {
    const gate = new Gate();
    const commits = new GroupCommit(gate.commit);
    const relaxed = new RelaxedInserts(
      commits,
      createLogger("test", "warn", { write: (line) => lines.push(line) }),
    );
    for (let i = 0; i < 6; i += 1) await relaxed.add(write(`early${i}`, 10 * MEBIBYTE));
    let isThrough = false;
    const late = relaxed.add(write("late", 30 * MEBIBYTE)).then(() => {
      isThrough = true;
    });
    await new Promise(setImmediate);
    assert.equal(isThrough, false);
    const [first] = write("late", 0);
    assert.equal(first?.table.get("late")?.length, 30 * MEBIBYTE, "it is read before it is on disk");
    gate.open();
    await late;
    assert.equal(first?.table.get("late"), undefined, "from then on the disk is read");
    assert.deepEqual(lines, []);
  }));

test("what cannot be written after all is told of, and stays readable", () =>
  withTable(async (write, lines) => {
    const gate = new Gate();
    gate.failure = fail("store_full");
    const commits = new GroupCommit(gate.commit);
    const relaxed = new RelaxedInserts(
      commits,
      createLogger("test", "warn", { write: (line) => lines.push(line) }),
    );
    const [first] = write("a", 3);
    await relaxed.add(write("a", 3));
    gate.open();
    await commits.idle();
    assert.match(lines.join(""), /could not be written.*store_full|store_full.*could not be written/);
    assert.equal(first?.table.get("a")?.length, 3);
  }));
