/** Large inputs sent to the real endpoints over a link that breaks. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import type { Clock } from "@legacygpu/shared/clock";
import { openInputFile } from "../../client/input-file.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { digestOf } from "../../client/push-model.ts";
import { DEFAULT_RETRY } from "../../client/retry.ts";
import { Transport } from "../../client/transport.ts";
import { type UploadOptions, type UploadSource, uploadInput } from "../../client/uploads.ts";
import { waitingClock } from "../../client/waiting-clock.ts";
import { LegacyGpuError } from "../../shared/errors.ts";
import { BreakingLink } from "../support/breaking-link.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";
import { UploadsRig } from "../support/uploads-rig.ts";

const PART_BYTES = 256 * 1024;
const FLUSH_BYTES = 32 * 1024;
const PNG_START = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Every delay is a fraction of what it may be. */
const random = () => 0.02;

let rig: UploadsRig;
let link: BreakingLink;
let fetch: PinnedFetch;
let key: string;

before(async () => {
  rig = await UploadsRig.start({ flushBytes: FLUSH_BYTES });
  link = await BreakingLink.start(() => rig.port);
});
beforeEach(async () => {
  key = await rig.key("submit");
  fetch = pinnedFetch({ caPem: rig.certificate.caPem });
});
afterEach(async () => {
  link.plan([]);
  await fetch.close();
});
after(async () => {
  await link.close();
  await rig.close();
});

function picture(sizeBytes: number): Uint8Array {
  const bytes = Uint8Array.from(randomBytes(sizeBytes));
  bytes.set(PNG_START);
  return bytes;
}

function upload(
  source: UploadSource,
  options: UploadOptions = {},
  clock: Clock = waitingClock,
): Promise<string> {
  const transport = new Transport({ url: link.url, key, fetch, retry: DEFAULT_RETRY, clock, random });
  return uploadInput(source, { partBytes: PART_BYTES, ...options }, { transport, clock, random });
}

async function assertStored(id: string, bytes: Uint8Array, contentType = "image/png"): Promise<void> {
  const stored = await rig.uploads.read(rig.principal(key), id);
  assert.equal(stored.contentType, contentType);
  assert.equal(Buffer.compare(stored.bytes, bytes), 0);
}

/** Of the upload that this test's key has begun. */
function confirmedBytes(id: string | undefined): number {
  return id === undefined ? 0 : rig.uploads.get(rig.principal(key), id).receivedBytes;
}

/** Only a key with nothing pending may announce all that a key may. */
async function assertNothingPending(): Promise<void> {
  const sizeBytes = rig.uploads.maxUploadBytes;
  const announced = { contentType: "image/png", sizeBytes };
  for (let i = 0; i < 4; i += 1) await rig.uploads.create(rig.principal(key), announced);
}

test("bytes, a blob and a file arrive whole, in parts, with the type told from them", async () => {
  const bytes = picture(3 * PART_BYTES + 1000);
  const path = join(rig.folder, "picture.png");
  await writeFile(path, bytes);
  for (const source of [bytes, new Blob([bytes]), await openInputFile(path)]) {
    const confirmed: number[] = [];
    const id = await upload(source, { onProgress: ({ receivedBytes }) => confirmed.push(receivedBytes) });
    await assertStored(id, bytes);
    assert.deepEqual(confirmed, [PART_BYTES, 2 * PART_BYTES, 3 * PART_BYTES, bytes.length]);
  }
});

test("an inference request needs its type given; without it nothing is announced", async () => {
  const bytes = new TextEncoder().encode(JSON.stringify({ inputs: [] }));
  await assertStored(await upload(bytes, { contentType: "application/json" }), bytes, "application/json");
  await assert.rejects(upload(bytes), { code: "media_type_unsupported" });
});

test("after a break in the middle of a part it goes on behind what the gateway has kept", async () => {
  const bytes = picture(4 * PART_BYTES);
  link.plan([
    { bytes: 1.5 * PART_BYTES, effect: "stall" },
    { bytes: 1.8 * PART_BYTES, effect: "stall" },
  ]);
  const reported: { readonly id: string; readonly receivedBytes: number }[] = [];
  const troubles: string[] = [];
  const uploading = upload(bytes, {
    onProgress: ({ uploadId, receivedBytes }) => reported.push({ id: uploadId, receivedBytes }),
    onTrouble: ({ code }) => troubles.push(code),
  });
  for (let breaks = 0; breaks < 2; breaks += 1) {
    const keptBytes = await until("the beginning of a part to be kept", () => {
      const last = reported.at(-1);
      const confirmed = confirmedBytes(last?.id);
      const isPart = link.isStalled && last !== undefined && confirmed > last.receivedBytes;
      return isPart ? confirmed : undefined;
    });
    link.cut();
    await until("the upload to go on behind it", () =>
      reported.some(({ receivedBytes }) => receivedBytes >= keptBytes),
    );
  }
  await assertStored(await uploading, bytes);
  assert.ok(
    troubles.length >= 2 && troubles.every((code) => code === "gateway_unreachable"),
    String(troubles),
  );
  const confirmed = reported.map(({ receivedBytes }) => receivedBytes);
  assert.deepEqual(
    confirmed,
    confirmed.toSorted((a, b) => a - b),
  );
  assert.notEqual((confirmed[1] ?? 0) % PART_BYTES, 0, "the second part began again");
});

test("a link that breaks again and again costs nothing but time", async () => {
  const bytes = picture(4 * PART_BYTES);
  const shares = [0.3, 1.1, 0.01, 0.9, 0.5, 0.2];
  link.plan(shares.map((share) => ({ bytes: Math.round(share * PART_BYTES), effect: "cut" })));
  const before = link.breaks;
  await assertStored(await upload(bytes), bytes);
  assert.equal(link.breaks, before + shares.length);
});

test("a restart of the gateway in the middle of a part is bridged", async () => {
  const bytes = picture(4 * PART_BYTES);
  link.plan([{ bytes: 1.5 * PART_BYTES, effect: "stall" }]);
  let id: string | undefined;
  const uploading = upload(bytes, {
    onProgress: (progress) => {
      id = progress.uploadId;
    },
  });
  await until("the beginning of a part to be kept", () => link.isStalled && confirmedBytes(id) > PART_BYTES);
  await rig.stop();
  link.cut();
  await rig.resume();
  await assertStored(await uploading, bytes);
});

test("a gateway that stays away is given up after a minute without a byte", async () => {
  const clock = new ManualClock();
  let stopped: Promise<void> | undefined;
  const outcome = upload(
    picture(3 * PART_BYTES),
    {
      onProgress: () => {
        stopped ??= rig.stop();
      },
    },
    clock,
  ).then(
    () => "complete",
    (error: unknown) => error,
  );
  let seen: unknown;
  void outcome.then((value) => {
    seen = value;
  });
  await until("the upload to be given up", () => {
    if (stopped !== undefined) clock.advance(500);
    return seen;
  });
  await stopped;
  await rig.resume();
  assert.ok(seen instanceof LegacyGpuError, String(seen));
  assert.equal(seen.code, "gateway_unreachable");
  assert.ok(clock.monotonic() > 60_000);
  assert.equal(clock.pendingCount, 0);
});

test("a source that does not have the bytes it said fails, and leaves no upload behind", async () => {
  const bytes = picture(2 * PART_BYTES);
  const digest = () => digestOf(bytes);
  const sizeBytes = bytes.length;
  const other = picture(sizeBytes);
  const changed = {
    sizeBytes,
    digest,
    read: async (from: number, size: number) => other.subarray(from, from + size),
  };
  await assert.rejects(upload(changed), { code: "digest_mismatch" });
  const shorter = {
    ...changed,
    read: async (from: number, size: number) => bytes.subarray(from, from + size - 1),
  };
  await assert.rejects(upload(shorter), { code: "input_invalid" });
  await assertNothingPending();
});

test("an aborted upload throws the reason of its signal and is removed", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  const uploading = upload(picture(4 * PART_BYTES), {
    signal: stop.signal,
    onProgress: () => stop.abort(reason),
  });
  await assert.rejects(uploading, reason);
  await assertNothingPending();
});

test("what the gateway refuses is not tried again", async () => {
  const troubles: LegacyGpuError[] = [];
  const refused = upload(randomBytes(10), {
    contentType: "text/plain",
    onTrouble: (error) => troubles.push(error),
  });
  await assert.rejects(refused, { code: "media_type_unsupported" });
  assert.deepEqual(troubles, []);
});

test("a file that cannot be read is named", async () => {
  const path = join(rig.folder, "nothing.png");
  await assert.rejects(openInputFile(path), { code: "input_invalid", details: { file: path } });
});
