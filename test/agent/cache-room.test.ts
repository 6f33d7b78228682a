/** The model cache keeps to its budget and to the disk's reserve, and removes what was used longest ago, never what is in use. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import { workerKey } from "../../agent/link/credentials.ts";
import { LinkGate } from "../../agent/link/gate.ts";
import { Network } from "../../agent/link/network.ts";
import { BlobCache } from "../../agent/models/blob-cache.ts";
import { CacheRoom, type CacheRoomOptions } from "../../agent/models/cache-room.ts";
import { FakeGateway } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";

const PLENTY = { freeBytes: 1e12, totalBytes: 1e12 };
const isFull = (error: LegacyGpuError): boolean => error.code === "disk_full";

describe("the room of the model cache", () => {
  let folder: string;
  let clock: ManualClock;
  let inUse: Set<string>;
  let evicted: string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "legacygpu-room-"));
    await mkdir(join(folder, "blobs"));
    clock = new ManualClock();
    inUse = new Set();
    evicted = [];
  });
  afterEach(() => rm(folder, { recursive: true }));

  const open = (more: Partial<CacheRoomOptions> = {}): Promise<CacheRoom> =>
    CacheRoom.open({
      directory: join(folder, "blobs"),
      usageFile: join(folder, "usage.json"),
      clock,
      log: createLogger("room", "silent"),
      diskSpace: () => Promise.resolve(PLENTY),
      isInUse: (name) => inUse.has(name),
      onEvicted: (name) => void evicted.push(name),
      ...more,
    });
  const files = async (): Promise<string[]> => (await readdir(join(folder, "blobs"))).sort();

  async function download(room: CacheRoom, name: string, sizeBytes: number): Promise<void> {
    const booking = await room.book(name, sizeBytes);
    const path = join(folder, "blobs", name);
    await writeFile(path, "");
    await truncate(path, sizeBytes);
    await booking.release();
    clock.advance(1000);
  }

  test("what was used longest ago goes first", async () => {
    const room = await open({ maxBytes: 300 });
    for (const name of ["a", "b", "c"]) await download(room, name, 100);
    room.used("a");
    clock.advance(1000);
    await download(room, "d", 100);
    assert.deepEqual([evicted, await files()], [["b"], ["a", "c", "d"]]);
    await room.close();
  });

  test("what is in use stays, and when room cannot be had without it nothing is removed at all", async () => {
    const room = await open({ maxBytes: 300 });
    for (const name of ["a", "b", "c"]) await download(room, name, 100);
    inUse.add("a").add("b");
    await assert.rejects(room.book("d", 200), isFull);
    assert.deepEqual([evicted, await files()], [[], ["a", "b", "c"]]);
    await download(room, "d", 100);
    assert.deepEqual(evicted, ["c"]);
    await room.close();
  });

  test("the last use of each file outlives a restart", async () => {
    const first = await open({ maxBytes: 300 });
    for (const name of ["a", "b", "c"]) await download(first, name, 100);
    first.used("a");
    await first.close();
    const second = await open({ maxBytes: 300 });
    await download(second, "d", 100);
    assert.deepEqual(evicted, ["b"]);
    await second.close();
  });

  test("a record of uses that is damaged is begun anew", async () => {
    await writeFile(join(folder, "usage.json"), '{"a":');
    await writeFile(join(folder, "blobs", "a"), "12345");
    const room = await open({ maxBytes: 300 });
    assert.equal(room.usedBytes, 5);
    await room.close();
  });

  test("the disk's reserve is never touched, and the refusal says what is missing", async () => {
    const diskSpace = () => Promise.resolve({ freeBytes: 1000, totalBytes: 2000 });
    const room = await open({ maxBytes: 10_000, diskSpace });
    await assert.rejects(room.book("big", 901), (error: LegacyGpuError) => {
      assert.ok(isFull(error));
      const { directory, ...sizes } = error.details;
      assert.equal(directory, join(folder, "blobs"));
      assert.deepEqual(sizes, { sizeBytes: 901, freeBytes: 1000, reserveBytes: 100, maxBytes: 10_000 });
      assert.match(error.message, /901 bytes does not fit on the disk.*1000 bytes are free.*100 are kept/);
      return true;
    });
    await (await room.book("fits", 900)).release();
    await room.close();
  });

  test("downloads that are under way count as if they were whole, on the disk too", async () => {
    const diskSpace = () => Promise.resolve({ freeBytes: 1000, totalBytes: 1000 });
    const room = await open({ maxBytes: 10_000, diskSpace });
    const [first, second] = await Promise.allSettled([room.book("a", 600), room.book("b", 600)]);
    assert.deepEqual([first.status, second.status], ["fulfilled", "rejected"]);
    if (first.status === "fulfilled") await first.value.release();
    await (await room.book("b", 600)).release();
    await room.close();
  });

  test("parts of broken downloads take room, and go like everything else, but not while they are gone on with", async () => {
    for (const name of ["old.part", "a.part"])
      await writeFile(join(folder, "blobs", name), Buffer.alloc(100));
    const room = await open({ maxBytes: 250 });
    assert.equal(room.usedBytes, 200);
    await (await room.book("a", 200)).release();
    assert.deepEqual([evicted, await files()], [["old.part"], ["a.part"]]);
    await room.close();
  });

  test("without a budget of its own it takes four fifths of what is free or its own", async () => {
    await writeFile(join(folder, "blobs", "a"), Buffer.alloc(200));
    const room = await open({ diskSpace: () => Promise.resolve({ freeBytes: 800, totalBytes: 2000 }) });
    assert.equal(room.maxBytes, 800);
    await room.close();
  });

  test("whatever is fetched and used in whatever order, the budget holds and what is in use stays", async () => {
    const step = fc.record({
      name: fc.constantFrom("a", "b", "c", "d", "e"),
      what: fc.constantFrom("fetch", "use", "pin", "unpin"),
      sizeBytes: fc.integer({ min: 1, max: 180 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        await rm(join(folder, "blobs"), { recursive: true });
        await mkdir(join(folder, "blobs"));
        inUse.clear();
        const room = await open({ maxBytes: 300 });
        for (const { name, what, sizeBytes } of steps) {
          const present = await files();
          if (what === "use") room.used(name);
          else if (what === "pin" && present.includes(name)) inUse.add(name);
          else if (what === "unpin") inUse.delete(name);
          else if (what === "fetch" && !present.includes(name))
            await download(room, name, sizeBytes).catch((error) => assert.ok(isFull(error)));
          const left = await files();
          for (const pinned of inUse) assert.ok(left.includes(pinned), `${pinned} was removed`);
          assert.ok(room.usedBytes <= 300);
        }
        await room.close();
      }),
      { numRuns: 60 },
    );
  });
});

const mayMount = process.platform === "linux" && process.getuid?.() === 0;

test("a disk that is full: a clear refusal, nothing damaged, and what is there is served on", {
  skip: mayMount ? false : "needs the right to mount a small disk",
}, async (context) => {
  const disk = await mkdtemp(join(tmpdir(), "legacygpu-small-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "none", disk], { stdio: "ignore" });
  } catch {
    await rm(disk, { recursive: true });
    return context.skip("root in a container may not mount a small disk");
  }
  const gateway = await FakeGateway.start();
  const { key, caPem } = gateway;
  const url = new URL(gateway.url.replace("wss:", "https:"));
  const network = new Network({
    gateway: url,
    credentials: workerKey(key),
    caPem,
    env: {},
    clock: systemClock,
  });
  const gate = new LinkGate();
  gate.open();
  const base = {
    directory: disk,
    request: network.request.bind(network),
    gate,
    clock: systemClock,
    random: () => 0,
  };
  const want = (bytes: Uint8Array) => ({
    digest: gateway.addBlob(bytes),
    extension: ".onnx",
    maxBytes: bytes.length,
    sizeBytes: bytes.length,
  });
  const room = await CacheRoom.open({
    directory: disk,
    usageFile: `${disk}.usage.json`,
    clock: systemClock,
    log: createLogger("room", "silent"),
    isInUse: () => true,
    onEvicted: () => assert.fail("nothing may go"),
  });
  const cache = new BlobCache({ ...base, room });
  const small = randomBytes(3_000_000);
  const large = randomBytes(7_000_000);
  const unchecked = new BlobCache(base);
  try {
    const path = await cache.ensure(want(small));
    await assert.rejects(cache.ensure(want(large)), isFull);
    assert.equal(gateway.requests.length, 1);
    // Somebody else has filled the disk meanwhile: it is noticed in the middle of the download.
    await assert.rejects(unchecked.ensure(want(large)), isFull);
    assert.deepEqual(await readFile(path), small);
    assert.equal((await readdir(disk)).length, 1);
    assert.deepEqual(await readFile(await cache.ensure(want(small))), small);
  } finally {
    await Promise.all([cache.close(), unchecked.close(), room.close(), network.close()]);
    await gateway.close();
    execFileSync("umount", [disk]);
    await rm(disk, { recursive: true });
    await rm(`${disk}.usage.json`);
  }
});
