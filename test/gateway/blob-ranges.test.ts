/** A blob over HTTP in parts, and how far a worker is with one. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { blobAnswer } from "@legacygpu/shared/protocol/byte-range";
import fc from "fast-check";
import { Agent as HttpAgent, request } from "undici";
import { digestOf } from "../../gateway/models/blobs.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

const SIZE = 1_000_000;
const bytes = randomBytes(SIZE);
const digest = digestOf(bytes);

describe("parts of a blob", () => {
  let rig: GatewayRig;
  let http: HttpAgent;
  let key: string;
  before(async () => {
    rig = await GatewayRig.start();
    http = new HttpAgent({ connect: { ca: rig.gateway.caPem } });
    key = await rig.key("worker");
    await rig.call("PUT", `/blobs/${digest}`, { body: bytes });
  });
  after(async () => {
    await http.close();
    await rig.close();
  });

  async function get(headers: Record<string, string> = {}, of: string = digest) {
    const reply = await request(`${rig.url}/agent/blobs/${of}`, {
      dispatcher: http,
      headers: { authorization: `Bearer ${key}`, ...headers },
    });
    return {
      status: reply.statusCode,
      headers: reply.headers,
      body: Buffer.from(await reply.body.arrayBuffer()),
    };
  }

  test("the whole says that there are parts, and what it is", async () => {
    const { status, headers, body } = await get();
    assert.deepEqual([status, headers["accept-ranges"], headers.etag], [200, "bytes", `"${digest}"`]);
    assert.deepEqual(body, bytes);
  });

  test("each form of a range gives its bytes", async () => {
    for (const [range, first, last] of [
      ["bytes=0-0", 0, 0],
      ["bytes=500000-", 500_000, SIZE - 1],
      ["bytes=999999-2000000", SIZE - 1, SIZE - 1],
      ["bytes=-300000", 700_000, SIZE - 1],
      ["bytes=-2000000", 0, SIZE - 1],
    ] as const) {
      const { status, headers, body } = await get({ range });
      assert.deepEqual([status, headers["content-range"]], [206, `bytes ${first}-${last}/${SIZE}`], range);
      assert.ok(body.equals(bytes.subarray(first, last + 1)), range);
    }
  });

  test("a range beyond the end is not satisfiable, and says how large the blob is", async () => {
    for (const range of [`bytes=${SIZE}-`, "bytes=-0", "bytes=2000000-3000000"]) {
      const { status, headers, body } = await get({ range });
      assert.deepEqual([status, headers["content-range"], body.length], [416, `bytes */${SIZE}`, 0], range);
    }
  });

  test("what is no single range, or meant for another blob, is answered with all of it", async () => {
    const other = { range: "bytes=5-", "if-range": `"sha256:${"0".repeat(64)}"` };
    for (const headers of [
      { range: "bytes=0-1,5-6" },
      { range: "lines=1-2" },
      { range: "bytes=9-3" },
      other,
    ]) {
      const { status, body } = await get(headers);
      assert.deepEqual([status, body.length], [200, SIZE], JSON.stringify(headers));
    }
    assert.equal((await get({ range: "bytes=5-", "if-range": `"${digest}"` })).status, 206);
  });

  test("a digest that is none, and one that nobody has, are refused", async () => {
    assert.equal((await get({}, "..%2Findex.json")).status, 400);
    assert.equal((await get({ range: "bytes=0-" }, `sha256:${"0".repeat(64)}`)).status, 404);
  });

  test("any two halves of a blob are the blob", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 0, max: 6000 }), (sizeBytes, at) => {
        const rest = blobAnswer({ range: `bytes=${at}-`, ifRange: undefined }, digest, sizeBytes);
        if (at >= sizeBytes) return assert.equal(rest.status, 416);
        assert.deepEqual(rest.range, { first: at, last: sizeBytes - 1 });
        if (at === 0) return;
        const head = blobAnswer({ range: `bytes=0-${at - 1}`, ifRange: undefined }, digest, sizeBytes);
        assert.deepEqual(head.range, { first: 0, last: at - 1 });
      }),
    );
  });

  test("the list of workers says how far each is with a model, how fast, and how long it will take", async () => {
    const agent = await FakeAgent.connect(rig, "box", {}, key);
    const news = { type: "model_state", name: "m", version: "1", state: "downloading" } as const;
    agent.send({ ...news, receivedBytes: 250, totalBytes: 1000, bytesPerSecond: 100 });
    const shown = await until("the progress to be shown", async () => {
      const { workers } = (await rig.call("GET", "/cluster/workers")).body;
      return workers[0]?.models[0];
    });
    assert.deepEqual(shown, {
      name: "m",
      version: "1",
      state: "downloading",
      received_bytes: 250,
      total_bytes: 1000,
      bytes_per_second: 100,
      eta_seconds: 8,
    });
    await agent.close();
  });

  test("workers that speak of blobs are told where to find them, those that do not are not disturbed", async () => {
    const speaking = await FakeAgent.connect(rig, "speaking", { site: "lab" }, key);
    const old = await FakeAgent.connect(rig, "old", { site: "lab" }, key);
    assert.equal((await speaking.next("welcome")).sharesBlobs, true);
    speaking.send({ type: "blob_state", digest, state: "wanted" });
    assert.equal((await speaking.next("blob_sources")).decision, "fetch");
    const server = { port: 4711, addresses: ["10.0.0.3"], certificate: "PEM" };
    speaking.send({ type: "blob_server", ...server, tokenKey: new Uint8Array(32) });
    speaking.send({ type: "blob_state", digest, state: "held" });
    const third = await FakeAgent.connect(rig, "third", { site: "lab" }, key);
    third.send({ type: "blob_state", digest, state: "wanted" });
    const { decision, sources } = await third.next("blob_sources");
    assert.deepEqual([decision, sources.map(({ address }) => address)], ["neighbours", ["10.0.0.3"]]);
    await speaking.cut();
    await until("the gateway to notice", async () => {
      third.send({ type: "blob_state", digest, state: "wanted" });
      return third.all("blob_sources").at(-1)?.decision === "fetch";
    });
    assert.deepEqual(old.all("blob_sources"), []);
    await Promise.all([old.close(), third.close()]);
  });
});
