/** Files of models sent to a real gateway over a link that breaks: by the SDK, and by the command line. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { openModelFile } from "../../client/cli/model-file.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { type ModelFile, type PushFileOptions, pushFile } from "../../client/push-file.ts";
import { digestOf } from "../../client/push-model.ts";
import { DEFAULT_RETRY } from "../../client/retry.ts";
import { Transport } from "../../client/transport.ts";
import { waitingClock } from "../../client/waiting-clock.ts";
import { buildMlp } from "../../models/onnx/synthetic.ts";
import type { Clock } from "../../shared/clock.ts";
import { BreakingLink } from "../support/breaking-link.ts";
import { startCli } from "../support/cli-rig.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const MB = 1_000_000;
/** Every delay is a fraction of what it may be. */
const random = () => 0.02;

let rig: GatewayRig;
let link: BreakingLink;
let fetch: PinnedFetch;
let folder: string;

before(async () => {
  rig = await GatewayRig.start();
  link = await BreakingLink.start(() => Number(new URL(rig.url).port));
  folder = await mkdtemp(join(tmpdir(), "legacygpu-push-"));
});
beforeEach(() => {
  fetch = pinnedFetch({ caPem: rig.gateway.caPem ?? "" });
});
afterEach(async () => {
  link.plan([]);
  await fetch.close();
});
after(async () => {
  await link.close();
  await rig.close();
  await rm(folder, { recursive: true, force: true });
});

function push(
  file: Parameters<typeof pushFile>[0],
  options: PushFileOptions = {},
  clock: Clock = waitingClock,
): Promise<void> {
  const transport = new Transport({
    url: link.url,
    key: rig.adminKey,
    fetch,
    retry: DEFAULT_RETRY,
    clock,
    random,
  });
  return pushFile(file, options, { transport, clock, random });
}

async function fileOf(bytes: Uint8Array, name = "model.onnx"): Promise<ModelFile> {
  await writeFile(join(folder, name), bytes);
  return openModelFile(join(folder, name));
}

const standing = async (digest: string): Promise<{ offset: number; complete: boolean }> =>
  (await rig.call("GET", `/blobs/${digest}/upload`)).body;

async function assertStored({ digest, sizeBytes }: { digest: string; sizeBytes: number }): Promise<void> {
  assert.deepEqual(await standing(digest), { digest, offset: sizeBytes, complete: true });
}

test("wherever the connection breaks, the file arrives whole", async () => {
  for (const bytes of [1, 600, 3000, 9000, 1.2 * MB, 2.99 * MB]) {
    const file = await fileOf(randomBytes(3 * MB));
    const half = Math.ceil(bytes / 2);
    link.plan([
      { bytes, effect: "cut" },
      { bytes: half, effect: "cut" },
    ]);
    await push(file);
    await assertStored(file);
  }
  assert.ok(link.breaks >= 10);
});

test("after a break it goes on behind what the gateway has, and progress is told all the way", async () => {
  const file = await fileOf(randomBytes(4 * MB));
  const opened: number[] = [];
  const seen: number[] = [];
  const troubles: string[] = [];
  link.plan([{ bytes: 2 * MB, effect: "stall" }]);
  const pushing = push(
    {
      ...file,
      open: (offset) => {
        opened.push(offset);
        return file.open(offset);
      },
    },
    {
      onProgress: ({ sentBytes, totalBytes }) => {
        assert.equal(totalBytes, 4 * MB);
        seen.push(sentBytes);
      },
      onTrouble: ({ code }) => troubles.push(code),
    },
  );
  await until(
    "the gateway to have some of it",
    async () => link.isStalled && (await standing(file.digest)).offset,
  );
  link.cut();
  await pushing;
  assert.equal(opened.length, 2);
  assert.ok((opened[1] ?? 0) > 0, String(opened));
  assert.equal(seen.at(-1), 4 * MB);
  assert.ok(seen.length > 4);
  assert.deepEqual(troubles, ["gateway_unreachable"]);
  await assertStored(file);
});

test("a connection that is silent without breaking is given up after a while", async () => {
  const file = await fileOf(randomBytes(3 * MB));
  const clock = new ManualClock();
  const troubles: string[] = [];
  // More than the first request, in which it asks where to begin, and less than the file.
  link.plan([{ bytes: 1 * MB, effect: "stall" }]);
  const pushing = push(file, { onTrouble: ({ code }) => troubles.push(code) }, clock);
  await until("the silence", () => link.isStalled);
  await until("the push to notice", () => {
    clock.advance(10_000);
    return troubles.length > 0;
  });
  link.cut();
  const done = pushing.then(() => true);
  await until("the file to be there", async () => {
    clock.advance(1000);
    return (await standing(file.digest)).complete;
  });
  assert.equal(await done, true);
  assert.equal(troubles[0], "timed_out");
});

test("a file in memory is sent in parts, and goes on at the last one", async () => {
  const bytes = randomBytes(20 * MB);
  const digest = await digestOf(bytes);
  const confirmed: number[] = [];
  const trouble: string[] = [];
  link.plan([{ bytes: 12 * MB, effect: "cut" }]);
  await push(
    { digest, sizeBytes: bytes.length, bytes },
    {
      onProgress: ({ sentBytes }) => confirmed.push(sentBytes),
      onTrouble: ({ code }) => trouble.push(code),
    },
  );
  await assertStored({ digest, sizeBytes: bytes.length });
  assert.ok(confirmed.some((sent) => sent >= 8 * MB && sent < 20 * MB));
  assert.equal(trouble.length, 1);
});

test("a wrong beginning that somebody left at the gateway is thrown away, and the file sent anew", async () => {
  const bytes = randomBytes(3 * MB);
  const file = await fileOf(bytes);
  const path = `/blobs/${file.digest}?offset=0&bytes=${bytes.length}`;
  assert.equal((await rig.call("PUT", path, { body: randomBytes(MB) })).status, 202);
  await push(file);
  await assertStored(file);
});

test("a file that is not what its digest says is refused once, not for ever", async () => {
  const file = await fileOf(randomBytes(2 * MB));
  const digest = `sha256:${"0".repeat(64)}`;
  await assert.rejects(push({ ...file, digest }), { code: "digest_mismatch" });
});

test("model push: Ctrl-C in the middle, and the same command goes on from there, with a bar", async () => {
  const model = buildMlp({ widths: [1000, 1000] });
  const digest = await digestOf(model);
  const path = join(folder, "net.onnx");
  await writeFile(path, model);
  const env = {
    LEGACYGPU_HOME: folder,
    LEGACYGPU_URL: link.url,
    LEGACYGPU_CA: rig.gateway.caFile ?? "",
    LEGACYGPU_KEY: rig.adminKey,
  };
  const argv = ["model", "push", "net", path, "--alias", "stable"];
  link.plan([{ bytes: 2 * MB, effect: "stall" }]);
  const first = startCli(argv, { env });
  const kept = await until(
    "the gateway to have some of it",
    async () => link.isStalled && (await standing(digest)).offset,
  );
  first.signal("SIGINT");
  link.cut();
  assert.equal(await first.exitCode, 130);
  assert.match(first.err(), /\d+ % sent\n(?:.*\n)*.*the same command goes on from there/);
  const second = startCli(argv, { env, isTty: true });
  assert.equal(await second.exitCode, 0, second.err());
  assert.match(second.err(), /[█░]{24} 3\.8 MiB of 3\.8 MiB/);
  assert.match(second.out(), /model {4}net\nversion {2}1\naliases {2}latest, stable\n/);
  assert.ok(Number(kept) > 0);
});
