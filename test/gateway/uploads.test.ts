/** Uploads on a real disk: what is confirmed stays, through breaks, restarts and crashes; what is not, never counts. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { appendFile, cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import type { Principal } from "../../gateway/auth/principal.ts";
import { UploadStore, type UploadStoreOptions } from "../../gateway/uploads/upload-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { principal } from "../support/principals.ts";
import { until } from "../support/until.ts";

const HOUR_MS = 3_600_000;
const MIB = 1024 ** 2;

const ada: Principal = principal("ada", "submit");
const bob: Principal = principal("bob", "submit");
const admin: Principal = principal("root", "admin");

let root: string;
let folder: string;
let clock: ManualClock;
let opened: UploadStore[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "legacygpu-uploads-"));
  folder = join(root, "uploads");
  clock = new ManualClock();
  opened = [];
});
afterEach(async () => {
  for (const store of opened) await store.close();
  assert.equal(clock.pendingCount, 0, "a timer was left behind");
  await rm(root, { recursive: true });
});

async function openStore(more: Partial<UploadStoreOptions> = {}): Promise<UploadStore> {
  const store = await UploadStore.open({ folder, clock, log: createLogger("test", "silent"), ...more });
  opened.push(store);
  return store;
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A part in chunks of `chunkBytes`. */
function part(offset: number, bytes: Uint8Array, chunkBytes = 1000) {
  return { offset, sizeBytes: bytes.length, chunks: chunked(bytes, chunkBytes) };
}

async function* chunked(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

const BREAK = new Error("the connection broke");

async function* broken(bytes: Uint8Array, chunkBytes = 1000): AsyncGenerator<Uint8Array> {
  yield* chunked(bytes, chunkBytes);
  throw BREAK;
}

/** Chunks under the control of a test. */
class HeldChunks implements AsyncIterable<Uint8Array> {
  readonly #first: Uint8Array;
  readonly #rest: Promise<Uint8Array>;
  #resolve: (rest: Uint8Array) => void = () => {};
  #reject: (error: Error) => void = () => {};
  /** The writer has taken the first chunk and waits for more. */
  isHeld = false;

  constructor(first: Uint8Array) {
    this.#first = first;
    this.#rest = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  continueWith(rest: Uint8Array): void {
    this.#resolve(rest);
  }

  break(): void {
    this.#reject(BREAK);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    yield this.#first;
    this.isHeld = true;
    yield await this.#rest;
  }

  async untilHeld(): Promise<void> {
    await until("the first chunk to be taken", () => this.isHeld);
  }
}

const PICTURE = { contentType: "image/png" };

async function uploaded(store: UploadStore, bytes: Uint8Array, principal = ada): Promise<string> {
  const { id } = await store.create(principal, { ...PICTURE, sizeBytes: bytes.length });
  await store.append(principal, id, part(0, bytes));
  return id;
}

describe("parts", () => {
  test("make up the whole, which a task can read as often as it likes", async () => {
    const store = await openStore();
    const bytes = randomBytes(10_000);
    const begun = await store.create(ada, { ...PICTURE, sizeBytes: bytes.length, sha256: sha256(bytes) });
    assert.match(begun.id, /^upl_[0-9a-z]{26}$/);
    assert.deepEqual([begun.receivedBytes, begun.isComplete], [0, false]);
    const half = await store.append(ada, begun.id, part(0, bytes.subarray(0, 4000)));
    assert.deepEqual([half.receivedBytes, half.isComplete], [4000, false]);
    const whole = await store.append(ada, begun.id, part(4000, bytes.subarray(4000)));
    assert.deepEqual([whole.receivedBytes, whole.isComplete], [10_000, true]);
    for (let use = 0; use < 2; use += 1) {
      assert.deepEqual(await store.read(ada, begun.id), { contentType: "image/png", bytes });
    }
  });

  test("that begin at the wrong byte change nothing and tell the right one", async () => {
    const store = await openStore();
    const bytes = randomBytes(3000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 3000 });
    await store.append(ada, id, part(0, bytes.subarray(0, 1000)));
    for (const offset of [0, 999, 1001]) {
      await assert.rejects(store.append(ada, id, part(offset, bytes.subarray(1000, 1100))), {
        code: "upload_offset_wrong",
        details: { offset: 1000 },
      });
    }
    await store.append(ada, id, part(1000, bytes.subarray(1000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
    await assert.rejects(store.append(ada, id, part(1000, bytes.subarray(1000))), {
      code: "upload_offset_wrong",
      details: { offset: 3000 },
    });
  });

  test("that are longer than what is missing leave nothing behind, announced or not", async () => {
    const store = await openStore({ flushBytes: 500 });
    const bytes = randomBytes(5000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 4000 });
    await store.append(ada, id, part(0, bytes.subarray(0, 1000)));
    for (const sizeBytes of [4000, undefined]) {
      const tooLong = { offset: 1000, sizeBytes, chunks: chunked(bytes.subarray(1000), 700) };
      await assert.rejects(store.append(ada, id, tooLong), {
        code: "body_too_large",
        details: { limitBytes: 3000, offset: 1000 },
      });
      assert.equal(store.get(ada, id).receivedBytes, 1000);
      assert.equal((await stat(join(folder, `${id}.data`))).size, 1000);
    }
    await store.append(ada, id, part(1000, bytes.subarray(1000, 4000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes.subarray(0, 4000));
    await assert.rejects(store.append(ada, id, part(4000, bytes.subarray(4000))), { code: "body_too_large" });
    assert.deepEqual((await store.read(ada, id)).bytes, bytes.subarray(0, 4000));
  });

  test("that break keep what arrived", async () => {
    const store = await openStore();
    const bytes = randomBytes(9000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 9000 });
    const breaking = { offset: 0, sizeBytes: 9000, chunks: broken(bytes.subarray(0, 5000)) };
    await assert.rejects(store.append(ada, id, breaking), BREAK);
    assert.equal(store.get(ada, id).receivedBytes, 5000);
    await store.append(ada, id, part(5000, bytes.subarray(5000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
  });

  test("do not go on behind what a failed write has left", async () => {
    const store = await openStore();
    const bytes = randomBytes(2000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 2000 });
    await store.append(ada, id, part(0, bytes.subarray(0, 1000)));
    await appendFile(join(folder, `${id}.data`), "half a chunk");
    await store.append(ada, id, part(1000, bytes.subarray(1000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
  });

  test("count only once they are flushed", async () => {
    const store = await openStore({ flushBytes: 2000 });
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 9000 });
    const little = new HeldChunks(randomBytes(1999));
    const first = store.append(ada, id, { offset: 0, sizeBytes: 9000, chunks: little });
    await little.untilHeld();
    assert.equal(store.get(ada, id).receivedBytes, 0);
    little.continueWith(randomBytes(1));
    await first;
    const enough = new HeldChunks(randomBytes(2000));
    const second = store.append(ada, id, { offset: 2000, sizeBytes: 3000, chunks: enough });
    await enough.untilHeld();
    assert.equal(store.get(ada, id).receivedBytes, 4000);
    enough.break();
    await assert.rejects(second, BREAK);
  });

  test("of nothing are taken where the upload stands, also at its end", async () => {
    const store = await openStore();
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 10 });
    const nothing = Buffer.alloc(0);
    assert.equal((await store.append(ada, id, part(0, nothing))).receivedBytes, 0);
    await store.append(ada, id, part(0, randomBytes(10)));
    assert.equal((await store.append(ada, id, part(10, nothing))).isComplete, true);
  });
});

describe("two parts at once", () => {
  test("never mix: the second waits, and fits only where the first ended", async () => {
    const store = await openStore();
    const bytes = randomBytes(4000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 4000 });
    const held = new HeldChunks(bytes.subarray(0, 1000));
    const first = store.append(ada, id, { offset: 0, sizeBytes: 2000, chunks: held });
    await held.untilHeld();
    const same = assert.rejects(store.append(ada, id, part(0, randomBytes(2000))), {
      code: "upload_offset_wrong",
      details: { offset: 2000 },
    });
    const next = store.append(ada, id, part(2000, bytes.subarray(2000)));
    held.continueWith(bytes.subarray(1000, 2000));
    await Promise.all([first, same, next]);
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
  });

  test("do not wait for ever: the second is told where the upload stands", async () => {
    const store = await openStore();
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 4000 });
    const silent = new HeldChunks(randomBytes(1000));
    const first = store.append(ada, id, { offset: 0, sizeBytes: 4000, chunks: silent });
    await silent.untilHeld();
    const before = clock.pendingCount;
    const second = assert.rejects(store.append(ada, id, part(0, randomBytes(100))), {
      code: "upload_offset_wrong",
      details: { offset: 0 },
    });
    await until("the second part to wait", () => clock.pendingCount > before);
    clock.advance(20_000);
    await second;
    silent.break();
    await assert.rejects(first, BREAK);
    assert.equal(store.get(ada, id).receivedBytes, 1000);
  });
});

describe("the digest", () => {
  test("that does not fit lets the upload begin again", async () => {
    const store = await openStore();
    const bytes = randomBytes(3000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 3000, sha256: sha256(bytes) });
    const wrong = randomBytes(3000);
    await store.append(ada, id, part(0, wrong.subarray(0, 2000)));
    await assert.rejects(store.append(ada, id, part(2000, wrong.subarray(2000))), {
      code: "digest_mismatch",
      details: { announced: `sha256:${sha256(bytes)}`, actual: `sha256:${sha256(wrong)}`, offset: 0 },
    });
    const { receivedBytes, isComplete } = store.get(ada, id);
    assert.deepEqual([receivedBytes, isComplete], [0, false]);
    await assert.rejects(store.read(ada, id), { code: "upload_incomplete" });
    await store.append(ada, id, part(0, bytes));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
  });

  test("is checked at the start when the process ended between the last byte and the check", async () => {
    const store = await openStore({ flushBytes: 1 });
    const good = randomBytes(500);
    const ids: string[] = [];
    const parts: (readonly [HeldChunks, Promise<unknown>])[] = [];
    for (const sent of [good, randomBytes(500)]) {
      const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 500, sha256: sha256(good) });
      const held = new HeldChunks(sent);
      parts.push([held, store.append(ada, id, { offset: 0, sizeBytes: undefined, chunks: held })]);
      await held.untilHeld();
      ids.push(id);
    }
    const after = join(root, "after");
    await cp(folder, after, { recursive: true });
    const restarted = await openStore({ folder: after });
    const standing = ids.map((id) => restarted.get(ada, id));
    assert.deepEqual(
      standing.map(({ receivedBytes, isComplete }) => [receivedBytes, isComplete]),
      [
        [500, true],
        [0, false],
      ],
    );
    const ends = Promise.allSettled(parts.map(([, appending]) => appending));
    for (const [held] of parts) held.break();
    const [whole, wrong] = await ends;
    assert.ok(whole?.status === "rejected" && whole.reason === BREAK);
    assert.ok(wrong?.status === "rejected" && wrong.reason.code === "digest_mismatch");
    assert.equal(store.get(ada, ids[0] ?? "").isComplete, true);
  });
});

describe("who may what", () => {
  test("only the owner's key and administrators see an upload", async () => {
    const store = await openStore();
    const bytes = randomBytes(100);
    const id = await uploaded(store, bytes);
    assert.throws(() => store.get(bob, id), { code: "upload_not_found" });
    await assert.rejects(store.append(bob, id, part(100, Buffer.alloc(0))), { code: "upload_not_found" });
    await assert.rejects(store.read(bob, id), { code: "upload_not_found" });
    await assert.rejects(store.remove(bob, id), { code: "upload_not_found" });
    assert.deepEqual((await store.read(admin, id)).bytes, bytes);
  });

  test("one upload has a limit", async () => {
    const store = await openStore({ maxUploadBytes: 1000 });
    await store.create(ada, { ...PICTURE, sizeBytes: 1000 });
    await assert.rejects(store.create(ada, { ...PICTURE, sizeBytes: 1001 }), {
      code: "body_too_large",
      details: { limitBytes: 1000 },
    });
  });

  test("what a key has announced and not used has a limit, which use, removal and other keys' uploads do not count against", async () => {
    const store = await openStore({ maxPendingBytes: 1000 });
    const used = await uploaded(store, randomBytes(600));
    await store.create(ada, { ...PICTURE, sizeBytes: 300 });
    const full = { pending: 900, limit: 1000, unit: "bytes", retryAfterSeconds: 30 };
    const more = { ...PICTURE, sizeBytes: 101 };
    await assert.rejects(store.create(ada, more), { code: "key_queue_full", details: full });
    await store.create(bob, more);
    await store.read(ada, used);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 700 });
    await assert.rejects(store.create(ada, more), { code: "key_queue_full" });
    const restarted = await openStore({ maxPendingBytes: 1000 });
    await assert.rejects(restarted.create(ada, more), { code: "key_queue_full" });
    await restarted.remove(ada, id);
    await restarted.create(ada, more);
  });

  test("what is announced in the same moment shares the limit", async () => {
    const store = await openStore({ maxPendingBytes: 1000 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => store.create(ada, { ...PICTURE, sizeBytes: 400 })),
    );
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 2);
  });

  test("only pictures and inference requests are taken", async () => {
    const store = await openStore();
    for (const contentType of [
      "image/jpeg",
      "IMAGE/PNG",
      "image/svg+xml",
      "application/json; charset=utf-8",
    ]) {
      const { contentType: kept } = await store.create(ada, { sizeBytes: 1, contentType });
      assert.equal(kept, contentType.toLowerCase().replace(/;.*/, ""));
    }
    for (const contentType of ["application/octet-stream", "text/plain", "image/", "image/*", ""]) {
      await assert.rejects(store.create(ada, { sizeBytes: 1, contentType }), {
        code: "media_type_unsupported",
        details: { accepted: ["image/*", "application/json"] },
      });
    }
  });
});

describe("an upload is forgotten", () => {
  test("a day after its last byte or use, with its files", async () => {
    const store = await openStore();
    const id = await uploaded(store, randomBytes(10));
    const begunAtMs = clock.now();
    for (let use = 1; use <= 2; use += 1) {
      clock.advance(20 * HOUR_MS);
      await store.read(ada, id);
      assert.equal(store.get(ada, id).expiresAtMs, begunAtMs + (20 * use + 24) * HOUR_MS);
    }
    clock.advance(24 * HOUR_MS - 1);
    assert.equal(store.get(ada, id).isComplete, true);
    clock.advance(1);
    assert.throws(() => store.get(ada, id), { code: "upload_not_found" });
    clock.advance(HOUR_MS);
    await store.close();
    assert.deepEqual(await readdir(folder), []);
  });

  test("also when the gateway was off in the meantime, but not while a part is arriving", async () => {
    const store = await openStore({ lifeMs: HOUR_MS });
    const forgotten = await store.create(ada, { ...PICTURE, sizeBytes: 10 });
    const arriving = await store.create(ada, { ...PICTURE, sizeBytes: 10 });
    const held = new HeldChunks(randomBytes(5));
    const slow = store.append(ada, arriving.id, { offset: 0, sizeBytes: 10, chunks: held });
    await held.untilHeld();
    clock.advance(HOUR_MS);
    assert.equal(store.get(ada, arriving.id).isComplete, false);
    held.continueWith(randomBytes(5));
    assert.equal((await slow).expiresAtMs, clock.now() + HOUR_MS);
    const restarted = await openStore({ lifeMs: HOUR_MS });
    assert.throws(() => restarted.get(ada, forgotten.id), { code: "upload_not_found" });
    assert.equal(restarted.get(ada, arriving.id).isComplete, true);
  });

  test("when its owner removes it, also under a part that is arriving", async () => {
    const store = await openStore();
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 100_000 });
    const held = new HeldChunks(randomBytes(1000));
    let takenAfterwards = 0;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for await (const chunk of held) yield chunk;
      for (; takenAfterwards < 90; takenAfterwards += 1) yield randomBytes(1000);
    }
    const arriving = store.append(ada, id, { offset: 0, sizeBytes: undefined, chunks: chunks() });
    await held.untilHeld();
    await store.remove(ada, id);
    held.continueWith(randomBytes(1000));
    await assert.rejects(arriving, { code: "upload_not_found" });
    assert.equal(takenAfterwards, 0);
    await assert.rejects(store.remove(ada, id), { code: "upload_not_found" });
    assert.deepEqual(await readdir(folder), []);
  });
});

describe("at a start", () => {
  test("a use is remembered, and who may see the upload", async () => {
    const bytes = randomBytes(100);
    const store = await openStore();
    const id = await uploaded(store, bytes);
    clock.advance(HOUR_MS);
    await store.read(ada, id);
    const restarted = await openStore({ maxPendingBytes: 100 });
    assert.deepEqual(restarted.get(ada, id), store.get(ada, id));
    assert.throws(() => restarted.get(bob, id), { code: "upload_not_found" });
    await restarted.create(ada, { ...PICTURE, sizeBytes: 100 });
    assert.deepEqual(await restarted.read(ada, id), { contentType: "image/png", bytes });
  });

  test("files that belong to no upload are removed, damaged records with their bytes, and other files left alone", async () => {
    const store = await openStore();
    const kept = await uploaded(store, randomBytes(10));
    const damaged = await uploaded(store, randomBytes(10));
    await writeFile(join(folder, `${damaged}.json`), '{"version":1');
    await writeFile(join(folder, `${damaged.slice(0, -1)}0.data`), "orphan");
    await writeFile(join(folder, `${kept}.json.0123abcd.tmp`), "half");
    await writeFile(join(folder, "README"), "mine");
    const restarted = await openStore();
    assert.equal(restarted.get(ada, kept).isComplete, true);
    assert.throws(() => restarted.get(ada, damaged), { code: "upload_not_found" });
    assert.deepEqual((await readdir(folder)).sort(), ["README", `${kept}.data`, `${kept}.json`]);
  });

  test("bytes that are missing in spite of their confirmation are asked for again", async () => {
    const store = await openStore();
    const bytes = randomBytes(1000);
    const id = await uploaded(store, bytes);
    await truncate(join(folder, `${id}.data`), 600);
    const restarted = await openStore();
    const { receivedBytes, isComplete } = restarted.get(ada, id);
    assert.deepEqual([receivedBytes, isComplete], [600, false]);
    // Not a confirmation, even where the old one ended.
    await appendFile(join(folder, `${id}.data`), randomBytes(400));
    const again = await openStore();
    assert.equal(again.get(ada, id).receivedBytes, 600);
    assert.equal((await stat(join(folder, `${id}.data`))).size, 600);
    await again.append(ada, id, part(600, bytes.subarray(600)));
    assert.deepEqual((await again.read(ada, id)).bytes, bytes);
  });

  test("nobody but the owner of the process can read the files", async () => {
    const store = await openStore();
    await uploaded(store, randomBytes(10));
    for (const name of await readdir(folder)) {
      assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
    }
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
  });
});

/** One thing that happens to an upload; `share` is how much of what is missing is concerned. */
const step = fc.record({
  kind: fc.constantFrom("part", "part", "break", "restart", "crash"),
  share: fc.double({ min: 0, max: 1, noNaN: true }),
  chunkBytes: fc.integer({ min: 1, max: 3000 }),
  /** Of a crash: how much of what was not confirmed yet reached the disk. */
  survivingShare: fc.double({ min: 0, max: 1, noNaN: true }),
});

test("random parts, breaks, restarts and crashes end in exactly the bytes", async () => {
  const scenario = fc.record({
    sizeBytes: fc.integer({ min: 1, max: 20_000 }),
    flushBytes: fc.integer({ min: 1, max: 8000 }),
    steps: fc.array(step, { maxLength: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ sizeBytes, flushBytes, steps }) => {
      const bytes = randomBytes(sizeBytes);
      let home = await mkdtemp(join(root, "run-"));
      let store = await openStore({ folder: home, flushBytes });
      const { id } = await store.create(ada, { ...PICTURE, sizeBytes, sha256: sha256(bytes) });
      for (const { kind, share, chunkBytes, survivingShare } of steps) {
        const { receivedBytes: offset, isComplete } = store.get(ada, id);
        if (isComplete) break;
        const endBytes = offset + Math.ceil((sizeBytes - offset) * share);
        const sent = bytes.subarray(offset, endBytes);
        if (kind === "part") {
          const { receivedBytes } = await store.append(ada, id, part(offset, sent, chunkBytes));
          assert.equal(receivedBytes, endBytes);
        } else if (kind === "break") {
          const breaking = { offset, sizeBytes: sizeBytes - offset, chunks: broken(sent, chunkBytes) };
          await assert.rejects(store.append(ada, id, breaking), BREAK);
          assert.equal(store.get(ada, id).receivedBytes, endBytes);
        } else if (kind === "restart") {
          await store.close();
          store = await openStore({ folder: home, flushBytes });
          assert.equal(store.get(ada, id).receivedBytes, offset);
        } else {
          const held = new HeldChunks(sent);
          const arriving = store.append(ada, id, { offset, sizeBytes: undefined, chunks: held });
          await held.untilHeld();
          const confirmedBytes = store.get(ada, id).receivedBytes;
          const after = await mkdtemp(join(root, "run-"));
          await cp(home, after, { recursive: true });
          held.break();
          await assert.rejects(arriving, BREAK);
          await store.close();
          await loseUnconfirmed(join(after, `${id}.data`), confirmedBytes, survivingShare);
          home = after;
          store = await openStore({ folder: home, flushBytes });
          assert.equal(store.get(ada, id).receivedBytes, confirmedBytes);
          assert.equal((await stat(join(home, `${id}.data`))).size, confirmedBytes);
        }
      }
      const { receivedBytes } = store.get(ada, id);
      const whole = await store.append(ada, id, part(receivedBytes, bytes.subarray(receivedBytes)));
      assert.equal(whole.isComplete, true);
      assert.deepEqual((await store.read(ada, id)).bytes, bytes);
      await store.close();
    }),
    { numRuns: 15 },
  );
});

/** What a power failure may do to bytes that were written and not flushed: cut them off, and leave zeros in place of the others. */
async function loseUnconfirmed(file: string, confirmedBytes: number, share: number): Promise<void> {
  const contents = await readFile(file);
  const end = confirmedBytes + Math.floor((contents.length - confirmedBytes) * share);
  contents.fill(0, confirmedBytes);
  await writeFile(file, contents.subarray(0, end));
}

test("a part of many flushes arrives whole", async () => {
  const store = await openStore();
  const bytes = randomBytes(10 * MIB);
  const { id } = await store.create(ada, { ...PICTURE, sizeBytes: bytes.length, sha256: sha256(bytes) });
  await store.append(ada, id, part(0, bytes, MIB / 4));
  assert.equal(Buffer.compare((await store.read(ada, id)).bytes, bytes), 0);
});
