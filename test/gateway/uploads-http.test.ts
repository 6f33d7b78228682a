/** Uploads over HTTPS: forms, refusals, and a connection that is cut in the middle of a part. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { Agent, request } from "undici";
import { type UploadJson, uploadJsonSchema } from "../../shared/api/uploads.ts";
import { until } from "../support/until.ts";
import { UploadsRig } from "../support/uploads-rig.ts";
import { RawClient } from "./http-server-fixture.ts";

const MIB = 1024 ** 2;
const LIMIT_BYTES = 4 * MIB;
const FLUSH_BYTES = 64 * 1024;

let rig: UploadsRig;
let agent: Agent;
let key: string;

before(async () => {
  rig = await UploadsRig.start({
    maxUploadBytes: LIMIT_BYTES,
    maxPendingBytes: 2 * LIMIT_BYTES,
    flushBytes: FLUSH_BYTES,
  });
  agent = new Agent({ connect: { ca: rig.certificate.caPem } });
});
beforeEach(async () => {
  key = await rig.key("submit");
});
after(async () => {
  await agent.destroy();
  await rig.close();
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  readonly body: any;
}

interface CallOptions {
  readonly as?: string;
  readonly json?: unknown;
  readonly bytes?: Uint8Array | AsyncIterable<Uint8Array>;
}

async function call(
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  { as = key, json, bytes }: CallOptions = {},
): Promise<Answer> {
  const body = json === undefined ? bytes : JSON.stringify(json);
  const reply = await request(rig.url + path, {
    method,
    dispatcher: agent,
    headers: { authorization: `Bearer ${as}` },
    // biome-ignore lint/suspicious/noExplicitAny: the library takes async iterables, its types do not say so
    body: (body ?? null) as any,
  });
  const text = await reply.body.text();
  return { status: reply.statusCode, headers: reply.headers, body: text === "" ? "" : JSON.parse(text) };
}

async function begin(sizeBytes: number, more: object = {}): Promise<UploadJson> {
  const json = { bytes: sizeBytes, content_type: "image/png", ...more };
  const answer = await call("POST", "/uploads", { json });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return uploadJsonSchema.parse(answer.body);
}

const put = (id: string, offset: number, bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<Answer> =>
  call("PUT", `/uploads/${id}?offset=${offset}`, { bytes });

async function standing(id: string): Promise<UploadJson> {
  const answer = await call("GET", `/uploads/${id}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return uploadJsonSchema.parse(answer.body);
}

function assertProblem(answer: Answer, status: number, code: string, details: object): void {
  assert.deepEqual([answer.status, answer.body.code], [status, code], JSON.stringify(answer.body));
  assert.match(String(answer.headers["content-type"]), /application\/problem\+json/);
  for (const [name, value] of Object.entries(details))
    assert.deepEqual(answer.body.details[name], value, name);
}

/** Sends the head of a PUT and `bytes`, of which `announcedBytes` were announced, on a connection of its own. */
async function rawPut(
  { id }: UploadJson,
  offset: number,
  announcedBytes: number,
  bytes: Uint8Array,
): Promise<RawClient> {
  const client = await RawClient.dial(rig.port, rig.certificate.caPem);
  const head = [
    `PUT /uploads/${id}?offset=${offset} HTTP/1.1`,
    "Host: localhost",
    `Authorization: Bearer ${key}`,
    `Content-Length: ${announcedBytes}`,
  ];
  client.send(`${head.join("\r\n")}\r\n\r\n`);
  client.send(bytes);
  return client;
}

async function readBack(id: string): Promise<Buffer> {
  return (await rig.uploads.read(rig.principal(key), id)).bytes;
}

describe("an upload", () => {
  test("is announced, sent in parts, looked up, and removed", async () => {
    const bytes = randomBytes(1_500_000);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const json = { bytes: bytes.length, content_type: "image/png", sha256: `sha256:${sha256}` };
    const created = await call("POST", "/uploads", { json });
    assert.equal(created.status, 201);
    const { id, expires_at, ...rest } = created.body;
    assert.equal(created.headers.location, `/uploads/${id}`);
    assert.ok(Date.parse(expires_at) > Date.now());
    assert.deepEqual(rest, {
      object: "upload",
      bytes: bytes.length,
      received_bytes: 0,
      content_type: "image/png",
      complete: false,
      urls: { self: `/uploads/${id}` },
    });

    const half = await put(id, 0, bytes.subarray(0, 700_000));
    assert.deepEqual([half.status, half.body.received_bytes, half.body.complete], [200, 700_000, false]);
    assert.deepEqual((await standing(id)).received_bytes, 700_000);
    const whole = await put(id, 700_000, bytes.subarray(700_000));
    assert.deepEqual(
      [whole.status, whole.body.received_bytes, whole.body.complete],
      [200, bytes.length, true],
    );
    assert.equal(Buffer.compare(await readBack(id), bytes), 0);

    const removed = await call("DELETE", `/uploads/${id}`);
    assert.deepEqual([removed.status, removed.body], [204, ""]);
    assertProblem(await call("GET", `/uploads/${id}`), 404, "upload_not_found", {});
    assertProblem(await call("DELETE", `/uploads/${id}`), 404, "upload_not_found", {});
  });

  test("may come in chunks whose sum nobody announced", async () => {
    const bytes = randomBytes(200_000);
    const { id } = await begin(bytes.length);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 30_000) yield bytes.subarray(at, at + 30_000);
    }
    assert.equal((await put(id, 0, chunks())).body.complete, true);
    assert.equal(Buffer.compare(await readBack(id), bytes), 0);
  });

  test("goes on after the connection was cut in the middle of a part", async () => {
    const bytes = randomBytes(1_000_000);
    const upload = await begin(bytes.length);
    const client = await rawPut(upload, 0, bytes.length, bytes.subarray(0, 600_000));
    await until("some of the part to be on disk", async () => (await standing(upload.id)).received_bytes > 0);
    client.socket.destroy();
    // The answer comes when the part before has given up its turn, and tells where that ended.
    const tooEarly = await put(upload.id, 0, bytes.subarray(0, 10));
    const { offset } = tooEarly.body.details;
    assertProblem(tooEarly, 409, "upload_offset_wrong", { offset });
    assert.ok(offset >= FLUSH_BYTES && offset <= 600_000, String(offset));
    assert.equal((await standing(upload.id)).received_bytes, offset);
    assert.equal((await put(upload.id, offset, bytes.subarray(offset))).body.complete, true);
    assert.equal(Buffer.compare(await readBack(upload.id), bytes), 0);
  });

  test("goes on after a restart of the gateway in the middle of a part", async () => {
    const bytes = randomBytes(1_000_000);
    const upload = await begin(bytes.length);
    await rawPut(upload, 0, bytes.length, bytes.subarray(0, 600_000));
    const before = await until(
      "some of the part to be on disk",
      async () => (await standing(upload.id)).received_bytes,
    );
    await rig.stop();
    await rig.resume();
    const { received_bytes: offset } = await standing(upload.id);
    assert.ok(offset >= before && offset <= 600_000, `${before} ${offset}`);
    assert.equal((await put(upload.id, offset, bytes.subarray(offset))).body.complete, true);
    assert.equal(Buffer.compare(await readBack(upload.id), bytes), 0);
  });

  test("takes one of two parts that are sent at once, never both", async () => {
    const upload = await begin(200_000);
    const parts = [randomBytes(200_000), randomBytes(200_000)];
    const answers = await Promise.all(parts.map((bytes) => put(upload.id, 0, bytes)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
    const taken = parts[answers.findIndex(({ status }) => status === 200)];
    assert.equal(Buffer.compare(await readBack(upload.id), taken ?? Buffer.alloc(0)), 0);
    const refused = answers.find(({ status }) => status === 409);
    if (refused !== undefined) assertProblem(refused, 409, "upload_offset_wrong", { offset: 200_000 });
  });
});

describe("the gateway refuses", () => {
  test("an upload that is too large, or of the wrong kind, or badly described", async () => {
    const good = { bytes: 10, content_type: "image/png" };
    const tooLarge = await call("POST", "/uploads", { json: { ...good, bytes: LIMIT_BYTES + 1 } });
    assertProblem(tooLarge, 413, "body_too_large", { limitBytes: LIMIT_BYTES });
    const octets = await call("POST", "/uploads", {
      json: { ...good, content_type: "application/octet-stream" },
    });
    assertProblem(octets, 415, "media_type_unsupported", { accepted: ["image/*", "application/json"] });
    for (const [wrong, path] of [
      [{ bytes: 0 }, "bytes"],
      [{ bytes: 1.5 }, "bytes"],
      [{ content_type: 1 }, "content_type"],
      [{ sha256: "abc" }, "sha256"],
      [{ size: 1 }, ""],
    ] as const) {
      const answer = await call("POST", "/uploads", { json: { ...good, ...wrong } });
      assertProblem(answer, 400, "request_invalid", { path });
    }
  });

  test("a part without an offset, or with one that is no number", async () => {
    const { id } = await begin(10);
    for (const query of ["", "?offset=", "?offset=-1", "?offset=x", "?offset=0&offset=0"]) {
      const answer = await call("PUT", `/uploads/${id}${query}`, { bytes: randomBytes(1) });
      assertProblem(answer, 400, "request_invalid", { path: "offset" });
    }
  });

  test("a part that is longer than what is missing, announced or not, and keeps nothing of it", async () => {
    const { id } = await begin(300_000);
    assert.equal((await put(id, 0, randomBytes(100_000))).status, 200);
    async function* tooMuch(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 5; i += 1) yield randomBytes(60_000);
    }
    for (const bytes of [randomBytes(200_001), tooMuch()]) {
      assertProblem(await put(id, 100_000, bytes), 413, "body_too_large", { limitBytes: 200_000 });
      assert.equal((await standing(id)).received_bytes, 100_000);
    }
  });

  test("bytes that do not have the announced digest, and lets them be sent again", async () => {
    const bytes = randomBytes(1000);
    const sha256 = createHash("sha256").update(bytes).digest("hex").toUpperCase();
    const { id } = await begin(1000, { sha256 });
    assertProblem(await put(id, 0, randomBytes(1000)), 400, "digest_mismatch", { offset: 0 });
    assert.equal((await standing(id)).received_bytes, 0);
    assert.equal((await put(id, 0, bytes)).body.complete, true);
  });

  test("more than a key may have waiting", async () => {
    for (let i = 0; i < 2; i += 1) await begin(LIMIT_BYTES);
    const answer = await call("POST", "/uploads", { json: { bytes: 1, content_type: "image/png" } });
    const limit = 2 * LIMIT_BYTES;
    assertProblem(answer, 429, "key_queue_full", { pending: limit, limit, unit: "bytes" });
  });

  test("other keys, and keys that may not submit", async () => {
    const { id } = await begin(10);
    const [stranger, reader, admin] = [
      await rig.key("submit"),
      await rig.key("read"),
      await rig.key("admin"),
    ];
    for (const [method, path] of [
      ["GET", `/uploads/${id}`],
      ["PUT", `/uploads/${id}?offset=0`],
      ["DELETE", `/uploads/${id}`],
    ] as const) {
      assertProblem(await call(method, path, { as: stranger }), 404, "upload_not_found", {});
      assert.equal((await call(method, path, { as: reader })).status, 403);
    }
    assert.equal((await call("GET", `/uploads/${id}`, { as: admin })).status, 200);
    assert.equal((await standing(id)).received_bytes, 0);
  });
});
