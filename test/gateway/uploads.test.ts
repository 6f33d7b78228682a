/** Uploads in parts: what is confirmed stays, what is not never counts, and whose they are. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appendFile, cp, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { until } from "../support/until.ts";
import {
  ada,
  admin,
  BREAK,
  bob,
  broken,
  chunked,
  HeldChunks,
  PICTURE,
  part,
  sha256,
  UploadStoreRig,
  uploaded,
} from "./upload-store-rig.ts";

const MIB = 1024 ** 2;

const rig = UploadStoreRig.forEachTest();

describe("parts", () => {
  test("make up the whole, which a task can read as often as it likes", async () => {
    const store = await rig.open();
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
    const store = await rig.open();
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
    const store = await rig.open({ flushBytes: 500 });
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
      assert.equal((await stat(join(rig.folder, `${id}.data`))).size, 1000);
    }
    await store.append(ada, id, part(1000, bytes.subarray(1000, 4000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes.subarray(0, 4000));
    await assert.rejects(store.append(ada, id, part(4000, bytes.subarray(4000))), { code: "body_too_large" });
    assert.deepEqual((await store.read(ada, id)).bytes, bytes.subarray(0, 4000));
  });

  test("that break keep what arrived", async () => {
    const store = await rig.open();
    const bytes = randomBytes(9000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 9000 });
    const breaking = { offset: 0, sizeBytes: 9000, chunks: broken(bytes.subarray(0, 5000)) };
    await assert.rejects(store.append(ada, id, breaking), BREAK);
    assert.equal(store.get(ada, id).receivedBytes, 5000);
    await store.append(ada, id, part(5000, bytes.subarray(5000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
  });

  test("do not go on behind what a failed write has left", async () => {
    const store = await rig.open();
    const bytes = randomBytes(2000);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 2000 });
    await store.append(ada, id, part(0, bytes.subarray(0, 1000)));
    await appendFile(join(rig.folder, `${id}.data`), "half a chunk");
    await store.append(ada, id, part(1000, bytes.subarray(1000)));
    assert.deepEqual((await store.read(ada, id)).bytes, bytes);
  });

  test("count only once they are flushed", async () => {
    const store = await rig.open({ flushBytes: 2000 });
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
    const store = await rig.open();
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 10 });
    const nothing = Buffer.alloc(0);
    assert.equal((await store.append(ada, id, part(0, nothing))).receivedBytes, 0);
    await store.append(ada, id, part(0, randomBytes(10)));
    assert.equal((await store.append(ada, id, part(10, nothing))).isComplete, true);
  });
});

describe("two parts at once", () => {
  test("never mix: the second waits, and fits only where the first ended", async () => {
    const store = await rig.open();
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
    const store = await rig.open();
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 4000 });
    const silent = new HeldChunks(randomBytes(1000));
    const first = store.append(ada, id, { offset: 0, sizeBytes: 4000, chunks: silent });
    await silent.untilHeld();
    const before = rig.clock.pendingCount;
    const second = assert.rejects(store.append(ada, id, part(0, randomBytes(100))), {
      code: "upload_offset_wrong",
      details: { offset: 0 },
    });
    await until("the second part to wait", () => rig.clock.pendingCount > before);
    rig.clock.advance(20_000);
    await second;
    silent.break();
    await assert.rejects(first, BREAK);
    assert.equal(store.get(ada, id).receivedBytes, 1000);
  });
});

describe("the digest", () => {
  test("that does not fit lets the upload begin again", async () => {
    const store = await rig.open();
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
    const store = await rig.open({ flushBytes: 1 });
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
    const after = join(rig.root, "after");
    await cp(rig.folder, after, { recursive: true });
    const restarted = await rig.open({ folder: after });
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
    const store = await rig.open();
    const bytes = randomBytes(100);
    const id = await uploaded(store, bytes);
    assert.throws(() => store.get(bob, id), { code: "upload_not_found" });
    await assert.rejects(store.append(bob, id, part(100, Buffer.alloc(0))), { code: "upload_not_found" });
    await assert.rejects(store.read(bob, id), { code: "upload_not_found" });
    await assert.rejects(store.remove(bob, id), { code: "upload_not_found" });
    assert.deepEqual((await store.read(admin, id)).bytes, bytes);
  });

  test("one upload has a limit", async () => {
    const store = await rig.open({ maxUploadBytes: 1000 });
    await store.create(ada, { ...PICTURE, sizeBytes: 1000 });
    await assert.rejects(store.create(ada, { ...PICTURE, sizeBytes: 1001 }), {
      code: "body_too_large",
      details: { limitBytes: 1000 },
    });
  });

  test("what a key has announced and not used has a limit, which use, removal and other keys' uploads do not count against", async () => {
    const store = await rig.open({ maxPendingBytes: 1000 });
    const used = await uploaded(store, randomBytes(600));
    await store.create(ada, { ...PICTURE, sizeBytes: 300 });
    const full = { pending: 900, limit: 1000, unit: "bytes", retryAfterSeconds: 30 };
    const more = { ...PICTURE, sizeBytes: 101 };
    await assert.rejects(store.create(ada, more), { code: "key_queue_full", details: full });
    await store.create(bob, more);
    await store.read(ada, used);
    const { id } = await store.create(ada, { ...PICTURE, sizeBytes: 700 });
    await assert.rejects(store.create(ada, more), { code: "key_queue_full" });
    const restarted = await rig.open({ maxPendingBytes: 1000 });
    await assert.rejects(restarted.create(ada, more), { code: "key_queue_full" });
    await restarted.remove(ada, id);
    await restarted.create(ada, more);
  });

  test("what is announced in the same moment shares the limit", async () => {
    const store = await rig.open({ maxPendingBytes: 1000 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => store.create(ada, { ...PICTURE, sizeBytes: 400 })),
    );
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 2);
  });

  test("only pictures and inference requests are taken", async () => {
    const store = await rig.open();
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

  test("nobody but the owner of the process can read the files", async () => {
    const store = await rig.open();
    await uploaded(store, randomBytes(10));
    for (const name of await readdir(rig.folder)) {
      assert.equal((await stat(join(rig.folder, name))).mode & 0o777, 0o600, name);
    }
    assert.equal((await stat(rig.folder)).mode & 0o777, 0o700);
  });
});

test("a part of many flushes arrives whole", async () => {
  const store = await rig.open();
  const bytes = randomBytes(10 * MIB);
  const { id } = await store.create(ada, { ...PICTURE, sizeBytes: bytes.length, sha256: sha256(bytes) });
  await store.append(ada, id, part(0, bytes, MIB / 4));
  assert.equal(Buffer.compare((await store.read(ada, id)).bytes, bytes), 0);
});
