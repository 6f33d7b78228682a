/** Undelivered outcomes on a real disk: kept across starts, bounded, and never the agent's end. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import type { Outcome } from "../../agent/tasks/outcome.ts";
import { Spool, type SpoolOptions } from "../../agent/tasks/spool.ts";
import { floats } from "../support/fake-gateway.ts";

const TIMINGS = { queuedMs: 0, fetchMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 0.5, postprocessMs: 0 };

function result(token: number, value = 1): Outcome {
  const output = { kind: "output" as const, tensors: [floats("output", [1, 4], value)] };
  const message = { type: "result" as const, taskId: `task-${token}`, token, output, timings: TIMINGS };
  return { kind: "inline", message: { ...message, provider: "cpu" } };
}

function failure(token: number, message: string): Outcome {
  const error = { code: "model_run_failed", message, retryable: false };
  return { kind: "inline", message: { type: "failed", taskId: `task-${token}`, token, error } };
}

function large(token: number, body: Uint8Array): Outcome {
  const output = { kind: "beside" as const, sizeBytes: body.length };
  const message = { type: "result" as const, taskId: `task-${token}`, token, output, timings: TIMINGS };
  return { kind: "beside", message: { ...message, provider: "cpu" }, body };
}

describe("the spool", () => {
  let directory: string;
  let lines: string[];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "legacygpu-spool-"));
    lines = [];
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const open = (more: Partial<SpoolOptions> = {}): Promise<Spool> =>
    Spool.open({
      directory,
      maxBytes: 2 ** 30,
      maxAttempts: 2000,
      log: createLogger("test", "info", { write: (line) => void lines.push(line) }),
      ...more,
    });
  const tokensOf = (spool: Spool): number[] => spool.all().map(({ token }) => token);
  const files = async (): Promise<string[]> => (await readdir(directory)).sort();
  const logged = (text: string): number => lines.filter((line) => line.includes(text)).length;

  test("any outcome comes back after a restart as it was, oldest token first, and is gone once removed", async () => {
    const content = fc.oneof(
      fc.double({ noNaN: true }).map((value) => (token: number) => result(token, Math.fround(value))),
      fc.string({ maxLength: 50 }).map((text) => (token: number) => failure(token, text)),
      fc.uint8Array({ maxLength: 5000 }).map((body) => (token: number) => large(token, body)),
    );
    const token = fc.maxSafeNat();
    const outcomes = fc
      .uniqueArray(fc.tuple(token, content), { selector: ([key]) => key, maxLength: 5 })
      .map((pairs) => pairs.map(([key, make]) => make(key)));
    await fc.assert(
      fc.asyncProperty(outcomes, async (all) => {
        const first = await open();
        for (const outcome of all) await first.put(outcome);
        const second = await open();
        const tokens = all.map(({ message }) => message.token).sort((a, b) => a - b);
        assert.deepEqual(tokensOf(second), tokens);
        for (const outcome of all) {
          assert.deepEqual(await second.read(outcome.message.token), outcome);
          second.remove(outcome.message.token);
        }
        await second.close();
        assert.deepEqual(await files(), []);
      }),
      { numRuns: 25 },
    );
  });

  test("an outcome that replaces another of its attempt takes its place", async () => {
    const spool = await open();
    await spool.put(large(7, new Uint8Array(1000)));
    await spool.put(failure(7, "given up"));
    assert.deepEqual(await spool.read(7), failure(7, "given up"));
    assert.deepEqual(await files(), ["7.outcome"]);
    assert.deepEqual(tokensOf(await open()), [7]);
  });

  test("the oldest go when there are too many, or too large ones", async () => {
    const few = await open({ maxAttempts: 2 });
    await few.put(result(1));
    await few.put(result(2));
    assert.deepEqual((await few.put(result(3))).evicted, [1]);
    assert.deepEqual(await files(), ["2.outcome", "3.outcome"]);
    assert.equal(logged("its oldest outcome is dropped"), 1);
    const small = await open({ maxBytes: 3000 });
    const stored = await small.put(large(4, new Uint8Array(2700)));
    assert.deepEqual(stored.evicted, [2, 3]);
    assert.deepEqual(await files(), ["4.outcome"]);
  });

  test("bounds that have become narrower hold from the start", async () => {
    const wide = await open();
    for (const token of [1, 2, 3]) await wide.put(result(token));
    assert.deepEqual(tokensOf(await open({ maxAttempts: 1 })), [3]);
    assert.deepEqual(await files(), ["3.outcome"]);
  });

  test("one that is larger than the whole spool is not stored, and nothing goes for it", async () => {
    const spool = await open({ maxBytes: 1000 });
    await spool.put(result(1));
    const refused = await spool.put(large(2, new Uint8Array(5000)));
    assert.deepEqual(refused, { storedBytes: undefined, evicted: [] });
    assert.deepEqual(tokensOf(spool), [1]);
  });

  test("a file with any bit flipped or any tail missing is named in the log and removed; the others stay", async () => {
    const spool = await open();
    await spool.put(result(1));
    await spool.put(result(2));
    const sound = await readFile(join(directory, "1.outcome"));
    const harm = fc.oneof(
      fc.nat(sound.length * 8 - 1).map((bit) => {
        const bytes = Buffer.from(sound);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        return bytes;
      }),
      fc.nat(sound.length - 1).map((length) => sound.subarray(0, length)),
    );
    await fc.assert(
      fc.asyncProperty(harm, async (bytes) => {
        lines = [];
        await writeFile(join(directory, "1.outcome"), bytes);
        assert.deepEqual(tokensOf(await open()), [2]);
        assert.deepEqual(await files(), ["2.outcome"]);
        assert.equal(logged(join(directory, "1.outcome")), 1);
      }),
      { numRuns: 60 },
    );
  });

  test("a sound file under the token of another attempt is not believed", async () => {
    const spool = await open();
    await spool.put(result(1));
    await writeFile(join(directory, "2.outcome"), await readFile(join(directory, "1.outcome")));
    assert.deepEqual(tokensOf(await open()), [1]);
  });

  test("one that is damaged while the agent runs cannot be read, and the rest can", async () => {
    const spool = await open();
    await spool.put(result(1));
    await spool.put(result(2));
    await writeFile(join(directory, "1.outcome"), "not an outcome");
    assert.equal(await spool.read(1), undefined);
    assert.deepEqual(await spool.read(2), result(2));
    assert.deepEqual(tokensOf(spool), [2]);
  });

  test("what a crash left half-written goes, and what is not ours stays", async () => {
    await writeFile(join(directory, "5.outcome.0badcafe.tmp"), "half");
    await writeFile(join(directory, "notes.txt"), "by hand");
    assert.equal((await open()).size, 0);
    assert.deepEqual(await files(), ["notes.txt"]);
  });

  test("a disk that refuses is told once, and used again when it recovers", async () => {
    const blocked = join(directory, "spool");
    await writeFile(blocked, "a file where the folder should be");
    const spool = await open({ directory: blocked });
    assert.equal((await spool.put(result(1))).storedBytes, undefined);
    assert.equal((await spool.put(result(2))).storedBytes, undefined);
    assert.equal(logged("cannot be stored"), 1);
    await rm(blocked);
    await mkdir(blocked);
    assert.ok((await spool.put(result(3))).storedBytes);
    assert.deepEqual(tokensOf(spool), [3]);
  });
});
