/** Downloads of model files that are cut at any byte, killed, damaged and slowed down; and what is told of them meanwhile. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import type { Clock } from "@legacygpu/shared/clock";
import { blobAnswer } from "@legacygpu/shared/protocol/byte-range";
import fc from "fast-check";
import { LinkGate } from "../../agent/link/gate.ts";
import type { HttpReply, HttpRequest } from "../../agent/link/network.ts";
import { BlobCache } from "../../agent/models/blob-cache.ts";
import { DownloadProgress } from "../../agent/models/download-progress.ts";
import { Pace, SpeedFloor } from "../../agent/models/pace.ts";
import { buildMlp } from "../../models/onnx/synthetic.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";
import { startAgentToKill } from "./killed-agent.ts";

/** Time that passes at once: nothing here is about how long. */
const hurry: Clock = {
  now: () => 0,
  monotonic: () => 0,
  after: (_, callback) => {
    const immediate = setImmediate(callback);
    return { cancel: () => clearImmediate(immediate) };
  },
};

/** Answers like a gateway, and breaks off after so many bytes of each answer. */
class BreakingSource {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly ranges: (string | undefined)[] = [];
  sentBytes = 0;
  readonly #cuts: number[];

  constructor(bytes: Buffer, cuts: readonly number[] = []) {
    this.bytes = bytes;
    this.digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    this.#cuts = [...cuts];
  }

  request = (_path: string, { headers = {} }: HttpRequest): Promise<HttpReply> => {
    this.ranges.push(headers.range);
    const asked = { range: headers.range, ifRange: headers["if-range"] };
    const answer = blobAnswer(asked, this.digest, this.bytes.length);
    const { first = 0 } = answer.range ?? {};
    const rest = answer.status === 416 ? Buffer.alloc(0) : this.bytes.subarray(first);
    const body = Readable.from(this.#chunks(rest, this.#cuts.shift()));
    const text = () => Promise.resolve("");
    const arrayBuffer = () => Promise.resolve(new ArrayBuffer(0));
    return Promise.resolve({
      status: answer.status,
      headers: answer.headers,
      body: Object.assign(body, { text, arrayBuffer }),
    });
  };

  async *#chunks(rest: Buffer, cut: number | undefined): AsyncGenerator<Buffer> {
    const end = cut === undefined ? rest.length : Math.min(cut, rest.length);
    for (let at = 0; at < end; at += 16_384) {
      const chunk = rest.subarray(at, Math.min(at + 16_384, end));
      this.sentBytes += chunk.length;
      yield chunk;
    }
    if (cut !== undefined && cut < rest.length) throw new Error("the line is dead");
  }
}

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-download-"));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function cacheFor(source: BreakingSource, directory: string): BlobCache {
  const gate = new LinkGate();
  gate.open();
  return new BlobCache({ directory, request: source.request, gate, clock: hurry, random: () => 0 });
}

const want = ({ digest, bytes: { length } }: BreakingSource) => ({
  digest,
  extension: ".onnx",
  maxBytes: length,
  sizeBytes: length,
});

describe("a download", () => {
  test("cut at any bytes, over any restarts of the agent, takes every byte once", async () => {
    const bytes = randomBytes(300_000);
    await inFolder(async (folder) => {
      const cut = fc.integer({ min: 0, max: bytes.length });
      await fc.assert(
        fc.asyncProperty(fc.array(cut, { maxLength: 12 }), async (cuts) => {
          const source = new BreakingSource(bytes, cuts);
          const directory = await mkdtemp(join(folder, "run-"));
          for (let life = 0; life < 4; life += 1) {
            const cache = cacheFor(source, directory);
            const path = await cache.ensure(want(source)).catch(() => undefined);
            await cache.close();
            if (path === undefined) continue;
            assert.deepEqual(await readFile(path), bytes);
            break;
          }
          assert.equal(source.sentBytes, bytes.length);
          assert.equal((await readdir(directory)).length, 1);
        }),
        { numRuns: 60 },
      );
    });
  });

  test("with a part that is wrong drops it and begins anew, once", async () => {
    await inFolder(async (folder) => {
      const source = new BreakingSource(randomBytes(100_000));
      const cache = cacheFor(source, folder);
      await mkdir(dirname(cache.path(source.digest, ".onnx")), { recursive: true });
      await writeFile(`${cache.path(source.digest, ".onnx")}.part`, randomBytes(40_000));
      assert.deepEqual(await readFile(await cache.ensure(want(source))), source.bytes);
      assert.deepEqual(source.ranges, ["bytes=40000-", undefined]);
      await cache.close();
    });
  });

  test("that was whole when the agent was killed is not fetched again, and one that is too long is dropped", async () => {
    await inFolder(async (folder) => {
      const source = new BreakingSource(randomBytes(100_000));
      const cache = cacheFor(source, folder);
      const part = `${cache.path(source.digest, ".onnx")}.part`;
      await writeFile(part, source.bytes);
      await cache.ensure(want(source));
      assert.deepEqual(source.ranges, []);
      await rm(cache.path(source.digest, ".onnx"));
      await writeFile(part, Buffer.concat([source.bytes, Buffer.from("more")]));
      assert.deepEqual(await readFile(await cache.ensure(want(source))), source.bytes);
      assert.deepEqual(source.ranges, [undefined]);
      await cache.close();
    });
  });

  test("in an agent that is killed is gone on with by the next one", async (context) => {
    const killed = await startAgentToKill(context);
    const { gateway, proxy, stateDir } = killed;
    const model = gateway.addModel("large", buildMlp({ widths: [64, 12_000, 10] }));
    const order = { type: "load_model", model, preload: true } as const;
    const part = join(stateDir, "models", "blobs", `${model.file.slice("sha256:".length)}.onnx.part`);
    const sizeOf = (): Promise<number> =>
      stat(part).then(
        ({ size }) => size,
        () => 0,
      );
    await gateway.next("hello");
    proxy.throttle(2_000_000);
    gateway.send(order);
    await until("a part of the file", async () => (await sizeOf()) > 300_000);
    killed.kill();
    await until("the agent to be gone", () => gateway.linkCount === 0);
    const present = await sizeOf();
    assert.ok(present < model.fileBytes);
    proxy.throttle(undefined);
    const next = await killed.followedBy();
    const { instanceId } = next.agent.status();
    await gateway.next("hello", (message) => message.instanceId === instanceId);
    gateway.send(order);
    await gateway.next("model_state", ({ state }) => state === "ready");
    const path = `/agent/blobs/${model.file}`;
    const asked = gateway.requests.filter((request) => request.startsWith(path));
    assert.deepEqual(asked, [path, `${path} bytes=${present}-`]);
  });
});

describe("the pace of downloads", () => {
  test("all of them together take no more than the line's share", async () => {
    const clock = new ManualClock();
    const pace = new Pace(clock, 1000);
    const { signal } = new AbortController();
    const done: string[] = [];
    const first = pace.spend(1000, signal).then(() => done.push("first"));
    const second = pace.spend(500, signal).then(() => done.push("second"));
    clock.advance(999);
    await new Promise(setImmediate);
    assert.deepEqual(done, []);
    clock.advance(1);
    await first;
    assert.deepEqual(done, ["first"]);
    clock.advance(500);
    await second;
  });

  test("what was not used is not saved up", async () => {
    const clock = new ManualClock();
    const pace = new Pace(clock, 1000);
    clock.advance(60_000);
    let isDone = false;
    const spent = pace.spend(1000, new AbortController().signal).then(() => {
      isDone = true;
    });
    clock.advance(999);
    await new Promise(setImmediate);
    assert.equal(isDone, false);
    clock.advance(1);
    await spent;
  });

  test("a source that is too slow for some seconds is given up", () => {
    const clock = new ManualClock();
    const floor = new SpeedFloor(clock, 1000);
    for (let second = 0; second < 20; second += 1) {
      clock.advance(1000);
      floor.check(1100);
    }
    const slowDown = (): void => {
      for (let second = 0; second < 5; second += 1) {
        clock.advance(1000);
        floor.check(900);
      }
    };
    assert.throws(slowDown, { code: "transfer_failed" });
  });

  test("progress is told once a second, with a rate that follows the line", () => {
    const clock = new ManualClock();
    const progress = new DownloadProgress(clock);
    // An earlier try got this far: it says nothing about how fast the line is.
    assert.deepEqual(progress.note(5_000_000), { receivedBytes: 5_000_000, bytesPerSecond: undefined });
    clock.advance(999);
    assert.equal(progress.note(5_000_500), undefined);
    clock.advance(1);
    assert.deepEqual(progress.note(5_001_000), { receivedBytes: 5_001_000, bytesPerSecond: 1000 });
    let receivedBytes = 5_001_000;
    let news = progress.note(receivedBytes);
    for (let second = 0; second < 10; second += 1) {
      clock.advance(1000);
      receivedBytes += 3000;
      news = progress.note(receivedBytes);
    }
    assert.ok(
      news?.bytesPerSecond !== undefined && news.bytesPerSecond > 2900 && news.bytesPerSecond <= 3000,
    );
    clock.advance(1000);
    assert.deepEqual(progress.note(0)?.receivedBytes, 0);
  });
});
