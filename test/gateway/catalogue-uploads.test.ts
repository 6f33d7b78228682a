/** Files of models that arrive in pieces: taken up again at any byte, by several at once, on a full disk, after a restart. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import type { Digest } from "@legacygpu/shared/manifest";
import fc from "fast-check";
import { type BlobUploadLimits, BlobUploads } from "../../gateway/models/blob-uploads.ts";
import { Blobs, digestOf } from "../../gateway/models/blobs.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const DAY_MS = 24 * 3_600_000;

let folder: string;
let clock: ManualClock;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-pieces-"));
  clock = new ManualClock(Date.now());
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function open(limits: BlobUploadLimits = {}): Promise<{ blobs: Blobs; uploads: BlobUploads }> {
  const blobs = await Blobs.open(folder);
  return { blobs, uploads: await BlobUploads.open(folder, blobs, clock, limits) };
}

const partFile = (digest: Digest): string => join(folder, `${digest.slice("sha256:".length)}.part`);

/** The bytes from `from` to `to`, in chunks of a few bytes; then the connection breaks, if `to` is not the end. */
async function* sending(bytes: Uint8Array, from: number, to = bytes.length): AsyncIterable<Uint8Array> {
  for (let at = from; at < to; at += 7) yield bytes.subarray(at, Math.min(at + 7, to));
  if (to < bytes.length) throw fail("transfer_failed");
}

/** Chunks that come when the test says so. */
function controlled(): { chunks: AsyncIterable<Uint8Array>; send(bytes: Uint8Array): void; end(): void } {
  const stream = new TransformStream<Uint8Array, Uint8Array>();
  const writer = stream.writable.getWriter();
  return {
    chunks: stream.readable as unknown as AsyncIterable<Uint8Array>,
    send: (bytes) => void writer.write(bytes),
    end: () => void writer.close(),
  };
}

const piece = (bytes: Uint8Array, offset: number, to?: number) => ({
  offset,
  totalBytes: bytes.length,
  chunks: sending(bytes, offset, to),
});

test("a file that breaks off at any bytes, with restarts in between, is whole in the end", async () => {
  const plans = fc.record({
    sizeBytes: fc.integer({ min: 0, max: 200 }),
    breaks: fc.array(fc.record({ after: fc.integer({ min: 0, max: 80 }), isRestart: fc.boolean() }), {
      maxLength: 6,
    }),
  });
  await fc.assert(
    fc.asyncProperty(plans, async ({ sizeBytes, breaks }) => {
      const bytes = randomBytes(sizeBytes);
      const digest = digestOf(bytes);
      let { uploads, blobs } = await open();
      for (const { after, isRestart } of breaks) {
        const { offset, isComplete } = await uploads.standing(digest);
        if (isComplete) break;
        const to = Math.min(offset + after, sizeBytes);
        const sent = uploads.append(digest, piece(bytes, offset, to));
        if (to < sizeBytes) await assert.rejects(sent, { code: "transfer_failed" });
        else await sent;
        if (isRestart) ({ uploads, blobs } = await open());
      }
      const { offset, isComplete } = await uploads.standing(digest);
      if (!isComplete) await uploads.append(digest, piece(bytes, offset));
      assert.deepEqual(await blobs.read(digest), bytes);
      await blobs.remove(digest);
      assert.deepEqual(await readdir(folder), []);
    }),
    { numRuns: 25 },
  );
});

test("a piece that begins elsewhere is told where to go on, and nothing is lost", async () => {
  const { uploads, blobs } = await open();
  const bytes = randomBytes(100);
  const digest = digestOf(bytes);
  await assert.rejects(uploads.append(digest, piece(bytes, 0, 40)), { code: "transfer_failed" });
  for (const offset of [0, 39, 41, 100])
    await assert.rejects(uploads.append(digest, piece(bytes, offset)), {
      code: "upload_offset_wrong",
      details: { offset: 40 },
    });
  assert.deepEqual(await uploads.append(digest, piece(bytes, 40)), { offset: 100, isComplete: true });
  assert.deepEqual(await blobs.read(digest), bytes);
});

test("pieces that end before the whole are kept until the last one", async () => {
  const { uploads } = await open();
  const bytes = randomBytes(100);
  const digest = digestOf(bytes);
  for (const [from, to] of [
    [0, 30],
    [30, 60],
  ] as const) {
    const chunks = sending(bytes.subarray(from, to), 0);
    const standing = await uploads.append(digest, { offset: from, totalBytes: 100, chunks });
    assert.deepEqual(standing, { offset: to, isComplete: false });
  }
  assert.equal((await uploads.append(digest, piece(bytes, 60))).isComplete, true);
});

test("bytes that are not what was announced are thrown away, and so is what is longer", async () => {
  const { uploads, blobs } = await open();
  const bytes = randomBytes(100);
  const digest = digestOf(Buffer.from("something else"));
  await assert.rejects(uploads.append(digest, piece(bytes, 0)), { code: "digest_mismatch" });
  await assert.rejects(uploads.append(digest, { offset: 0, totalBytes: 50, chunks: sending(bytes, 0) }), {
    code: "body_too_large",
  });
  await assert.rejects(
    uploads.append(digest, { offset: 0, totalBytes: 3 * 1024 ** 3, chunks: sending(bytes, 0) }),
    { code: "body_too_large" },
  );
  assert.deepEqual(await uploads.standing(digest), { offset: 0, isComplete: false });
  assert.equal(await blobs.sizeBytes(digest), undefined);
  assert.deepEqual(await readdir(folder), []);
});

test("two who send the same file at once both see it complete, and it is stored once", async () => {
  const { uploads, blobs } = await open();
  const bytes = randomBytes(100);
  const digest = digestOf(bytes);
  const first = controlled();
  const sent = uploads.append(digest, { offset: 0, totalBytes: 100, chunks: first.chunks });
  first.send(bytes.subarray(0, 60));
  await until("the first bytes", async () => (await uploads.standing(digest)).offset === 60);
  // The second begins anew, because it does not know of the first; and one sends the whole in one go.
  const second = uploads.append(digest, piece(bytes, 0));
  assert.equal(await blobs.receive(digest, sending(bytes, 0)), 100);
  first.send(bytes.subarray(60));
  first.end();
  assert.deepEqual(await sent, { offset: 100, isComplete: true });
  assert.deepEqual(await second, { offset: 100, isComplete: true });
  assert.deepEqual(await blobs.read(digest), bytes);
  assert.deepEqual(await readdir(folder), [digest.slice("sha256:".length)]);
});

test("a piece whose sender is silent gives way after a while: its successor is told to ask again", async () => {
  const { uploads } = await open();
  const bytes = randomBytes(100);
  const digest = digestOf(bytes);
  const silent = controlled();
  const held = uploads.append(digest, { offset: 0, totalBytes: 100, chunks: silent.chunks });
  silent.send(bytes.subarray(0, 10));
  await until("the first bytes", async () => (await uploads.standing(digest)).offset === 10);
  const refused = assert.rejects(uploads.append(digest, piece(bytes, 10)), {
    code: "upload_offset_wrong",
    message: /still arriving/,
  });
  // The wait has begun once a timer is there.
  await until("the successor to wait", () => clock.pendingCount > 0);
  clock.advance(21_000);
  await refused;
  silent.send(bytes.subarray(10));
  silent.end();
  assert.equal((await held).isComplete, true);
});

test("a full disk refuses with store_full and leaves nothing behind", {
  skip: !existsSync("/dev/full") && "no /dev/full here",
}, async () => {
  const bytes = randomBytes(100);
  const digest = digestOf(bytes);
  // Whatever is written to this device finds no room.
  const { uploads } = await open();
  await symlink("/dev/full", partFile(digest));
  await assert.rejects(uploads.append(digest, piece(bytes, 0)), { code: "store_full" });
  assert.deepEqual(await readdir(folder), []);
  assert.equal((await uploads.append(digest, piece(bytes, 0))).isComplete, true);
});

test("what a broken disk made of the bytes before a restart is found by the digest", async () => {
  const bytes = randomBytes(100);
  const digest = digestOf(bytes);
  await writeFile(partFile(digest), randomBytes(40));
  const { uploads } = await open();
  assert.equal((await uploads.standing(digest)).offset, 40);
  await assert.rejects(uploads.append(digest, piece(bytes, 40)), { code: "digest_mismatch" });
  assert.equal((await uploads.append(digest, piece(bytes, 0))).isComplete, true);
});

test("what has not come any further for a day is forgotten, in a running gateway and at its start", async () => {
  const files = [1, 2, 3].map(() => randomBytes(20));
  const [old, kept, fresh] = files.map(digestOf) as [Digest, Digest, Digest];
  await writeFile(partFile(old), "12345");
  await writeFile(partFile(kept), "12345");
  const longAgo = new Date(clock.now() - DAY_MS - 1000);
  await utimes(partFile(old), longAgo, longAgo);
  const { uploads } = await open();
  assert.equal((await uploads.standing(old)).offset, 0);
  assert.equal((await uploads.standing(kept)).offset, 5);
  clock.advance(DAY_MS + 60_000);
  await assert.rejects(uploads.append(fresh, piece(files[2] ?? Buffer.of(), 0, 9)), {
    code: "transfer_failed",
  });
  assert.equal((await uploads.standing(kept)).offset, 0);
  assert.deepEqual(await readdir(folder), [`${fresh.slice("sha256:".length)}.part`]);
});

test("there are never more partial files than allowed: the oldest make room, those that are arriving do not", async () => {
  const { uploads } = await open({ maxPartials: 2 });
  const files = Array.from({ length: 4 }, () => randomBytes(20));
  const digests = files.map(digestOf);
  for (const [i, bytes] of files.slice(0, 3).entries()) {
    clock.advance(1000);
    const digest = digests[i] as Digest;
    await assert.rejects(uploads.append(digest, piece(bytes, 0, 9)), { code: "transfer_failed" });
  }
  const offsets = await Promise.all(digests.slice(0, 3).map((digest) => uploads.standing(digest)));
  assert.deepEqual(
    offsets.map(({ offset }) => offset),
    [0, 9, 9],
  );
  const busy = [1, 2].map((i) => {
    const stream = controlled();
    const digest = digests[i] as Digest;
    const done = uploads.append(digest, { offset: 9, totalBytes: 20, chunks: stream.chunks });
    return { stream, done, rest: files[i]?.subarray(9) ?? Buffer.of() };
  });
  for (const { stream, rest } of busy) stream.send(rest.subarray(0, 1));
  await until("both to arrive", async () => {
    const now = await Promise.all([1, 2].map((i) => uploads.standing(digests[i] as Digest)));
    return now.every(({ offset }) => offset === 10);
  });
  await assert.rejects(uploads.append(digests[3] as Digest, piece(files[3] ?? Buffer.of(), 0)), {
    code: "store_full",
  });
  for (const { stream, done, rest } of busy) {
    stream.send(rest.subarray(1));
    stream.end();
    assert.equal((await done).isComplete, true);
  }
});

test("what a crash left of a file that was arriving whole is removed at the start", async () => {
  const name = createHash("sha256").update("x").digest("hex");
  await writeFile(join(folder, `${name}.0123456789ab.tmp`), "half");
  await open();
  assert.deepEqual(await readdir(folder), []);
});
