/** Uploads over breaks, restarts and crashes on a real disk, until they are forgotten. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appendFile, cp, mkdtemp, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  ada,
  BREAK,
  bob,
  broken,
  HeldChunks,
  PICTURE,
  part,
  sha256,
  UploadStoreRig,
  uploaded,
} from "./upload-store-rig.ts";

const HOUR_MS = 3_600_000;

const rig = UploadStoreRig.forEachTest();

describe("an upload is forgotten", () => {
  test("a day after its last byte or use, with its files", async () => {
    const store = await rig.open();
    const id = await uploaded(store, randomBytes(10));
    const begunAtMs = rig.clock.now();
    for (let use = 1; use <= 2; use += 1) {
      rig.clock.advance(20 * HOUR_MS);
      await store.read(ada, id);
      assert.equal(store.get(ada, id).expiresAtMs, begunAtMs + (20 * use + 24) * HOUR_MS);
    }
    rig.clock.advance(24 * HOUR_MS - 1);
    assert.equal(store.get(ada, id).isComplete, true);
    rig.clock.advance(1);
    assert.throws(() => store.get(ada, id), { code: "upload_not_found" });
    rig.clock.advance(HOUR_MS);
    await store.close();
    assert.deepEqual(await readdir(rig.folder), []);
  });

  test("also when the gateway was off in the meantime, but not while a part is arriving", async () => {
    const store = await rig.open({ lifeMs: HOUR_MS });
    const forgotten = await store.create(ada, { ...PICTURE, sizeBytes: 10 });
    const arriving = await store.create(ada, { ...PICTURE, sizeBytes: 10 });
    const held = new HeldChunks(randomBytes(5));
    const slow = store.append(ada, arriving.id, { offset: 0, sizeBytes: 10, chunks: held });
    await held.untilHeld();
    rig.clock.advance(HOUR_MS);
    assert.equal(store.get(ada, arriving.id).isComplete, false);
    held.continueWith(randomBytes(5));
    assert.equal((await slow).expiresAtMs, rig.clock.now() + HOUR_MS);
    const restarted = await rig.open({ lifeMs: HOUR_MS });
    assert.throws(() => restarted.get(ada, forgotten.id), { code: "upload_not_found" });
    assert.equal(restarted.get(ada, arriving.id).isComplete, true);
  });

  test("when its owner removes it, also under a part that is arriving", async () => {
    const store = await rig.open();
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
    assert.deepEqual(await readdir(rig.folder), []);
  });
});

describe("at a start", () => {
  test("a use is remembered, and who may see the upload", async () => {
    const bytes = randomBytes(100);
    const store = await rig.open();
    const id = await uploaded(store, bytes);
    rig.clock.advance(HOUR_MS);
    await store.read(ada, id);
    const restarted = await rig.open({ maxPendingBytes: 100 });
    assert.deepEqual(restarted.get(ada, id), store.get(ada, id));
    assert.throws(() => restarted.get(bob, id), { code: "upload_not_found" });
    await restarted.create(ada, { ...PICTURE, sizeBytes: 100 });
    assert.deepEqual(await restarted.read(ada, id), { contentType: "image/png", bytes });
  });

  test("files that belong to no upload are removed, damaged records with their bytes, and other files left alone", async () => {
    const store = await rig.open();
    const kept = await uploaded(store, randomBytes(10));
    const damaged = await uploaded(store, randomBytes(10));
    await writeFile(join(rig.folder, `${damaged}.json`), '{"version":1');
    await writeFile(join(rig.folder, `${damaged.slice(0, -1)}0.data`), "orphan");
    await writeFile(join(rig.folder, `${kept}.json.0123abcd.tmp`), "half");
    await writeFile(join(rig.folder, "README"), "mine");
    const restarted = await rig.open();
    assert.equal(restarted.get(ada, kept).isComplete, true);
    assert.throws(() => restarted.get(ada, damaged), { code: "upload_not_found" });
    assert.deepEqual((await readdir(rig.folder)).sort(), ["README", `${kept}.data`, `${kept}.json`]);
  });

  test("bytes that are missing in spite of their confirmation are asked for again", async () => {
    const store = await rig.open();
    const bytes = randomBytes(1000);
    const id = await uploaded(store, bytes);
    await truncate(join(rig.folder, `${id}.data`), 600);
    const restarted = await rig.open();
    const { receivedBytes, isComplete } = restarted.get(ada, id);
    assert.deepEqual([receivedBytes, isComplete], [600, false]);
    // Not a confirmation, even where the old one ended.
    await appendFile(join(rig.folder, `${id}.data`), randomBytes(400));
    const again = await rig.open();
    assert.equal(again.get(ada, id).receivedBytes, 600);
    assert.equal((await stat(join(rig.folder, `${id}.data`))).size, 600);
    await again.append(ada, id, part(600, bytes.subarray(600)));
    assert.deepEqual((await again.read(ada, id)).bytes, bytes);
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
      let home = await mkdtemp(join(rig.root, "run-"));
      let store = await rig.open({ folder: home, flushBytes });
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
          store = await rig.open({ folder: home, flushBytes });
          assert.equal(store.get(ada, id).receivedBytes, offset);
        } else {
          const held = new HeldChunks(sent);
          const arriving = store.append(ada, id, { offset, sizeBytes: undefined, chunks: held });
          await held.untilHeld();
          const confirmedBytes = store.get(ada, id).receivedBytes;
          const after = await mkdtemp(join(rig.root, "run-"));
          await cp(home, after, { recursive: true });
          held.break();
          await assert.rejects(arriving, BREAK);
          await store.close();
          await loseUnconfirmed(join(after, `${id}.data`), confirmedBytes, survivingShare);
          home = after;
          store = await rig.open({ folder: home, flushBytes });
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
