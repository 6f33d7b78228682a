import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { test } from "node:test";
import { type ErrorCode, fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { Request, Route } from "../../gateway/http/exchange.ts";
import { gate, type RawClient, route, startGateway, until } from "./http-server-fixture.ts";

const MIB = 1024 * 1024;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Answers with the digest of the body. */
const digestRoute = (parts: Partial<Route> = {}): Route =>
  route({
    method: "POST",
    pattern: "/digest",
    body: { kind: "buffer", limitBytes: 8 * MIB },
    handle: ({ body }) => ({ status: 200, body: sha256(body) }),
    ...parts,
  });

/** Reads a stream to its end and answers with its digest. */
async function digestStream({ stream }: Request) {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return { status: 200, body: hash.digest("hex") };
}

function isFailure(error: unknown, code: ErrorCode): boolean {
  return error instanceof LegacyGpuError && error.code === code;
}

const post = (path: string, ...headers: string[]): string =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`;

/** Sends zeros, as fast as they are taken, until `bytes` are sent or the server closes the connection. */
async function pour(client: RawClient, bytes: number): Promise<number> {
  const chunk = Buffer.alloc(MIB / 2);
  const closed = new Promise((resolve) => client.socket.once("close", resolve));
  let sent = 0;
  while (sent < bytes && client.state === "open") {
    const drained = new Promise((resolve) => client.socket.once("drain", resolve));
    if (!client.socket.write(chunk)) await Promise.race([drained, closed]);
    sent += chunk.length;
  }
  return sent;
}

test("bodies of every size and framing arrive whole", async (t) => {
  const gateway = await startGateway(t, { routes: [digestRoute()] });
  for (const size of [0, 1, 1000, 16 * 1024, 600_000, 4 * MIB]) {
    const body = randomBytes(size);
    const reply = await gateway.fetch("/digest", { method: "POST", body });
    assert.equal(reply.text, sha256(body), `${size} bytes`);
  }
  const chunks = [randomBytes(10), randomBytes(70_000), randomBytes(1)];
  const reply = await gateway.fetch("/digest", { method: "POST", body: Readable.from(chunks) });
  assert.equal(reply.text, sha256(Buffer.concat(chunks)));
});

test("a body announced too large is refused unread, and the client can read why afterwards", async (t) => {
  const gateway = await startGateway(t, {
    routes: [digestRoute({ body: { kind: "buffer", limitBytes: 1000 } })],
  });
  const client = await gateway.dial();
  // Not reading until all is sent, as simple clients do: a connection that is reset has nothing left to read.
  client.socket.pause();
  client.send(post("/digest", `Content-Length: ${30 * MIB}`));
  assert.equal(await pour(client, 30 * MIB), 30 * MIB);
  client.socket.resume();
  await client.until(/\}$/);
  assert.match(client.text, /^HTTP\/1\.1 413 /);
  assert.match(client.text, /Connection: close\r\n/);
  assert.match(client.text, /"code":"body_too_large".*"limitBytes":1000/);
  await client.untilClosed();
});

test("a chunked body is refused while it streams, when it passes the limit", async (t) => {
  let handled = 0;
  const handle = () => {
    handled += 1;
    return { status: 200 };
  };
  const gateway = await startGateway(t, {
    routes: [digestRoute({ body: { kind: "buffer", limitBytes: 100_000 }, handle })],
  });
  const client = await gateway.dial();
  client.send(post("/digest", "Transfer-Encoding: chunked"));
  for (let sent = 0; sent < 20; sent += 1) client.send(`2000\r\n${"x".repeat(0x2000)}\r\n`);
  await client.until(/\}$/);
  assert.match(client.text, /^HTTP\/1\.1 413 /);
  assert.equal(client.state, "open");
  client.send("0\r\n\r\n");
  await client.untilClosed();
  assert.equal(handled, 0);
});

test("a refused client that never stops sending is cut off", async (t) => {
  const gateway = await startGateway(t, {
    routes: [digestRoute({ body: { kind: "buffer", limitBytes: 10 } })],
  });
  const client = await gateway.dial();
  client.send(post("/digest", `Content-Length: ${1024 * MIB}`));
  const sent = await pour(client, 1024 * MIB);
  assert.match(client.text, /^HTTP\/1\.1 413 /);
  assert.ok(sent < 128 * MIB, `${sent} bytes were taken`);
});

test("a guard that throws ends the request before its body is read", async (t) => {
  let handled = 0;
  const guard = (): never => {
    throw fail("auth_missing");
  };
  const handle = () => {
    handled += 1;
    return { status: 200 };
  };
  const gateway = await startGateway(t, { routes: [digestRoute({ guard, handle })] });
  const client = await gateway.dial();
  client.send(post("/digest", "Content-Length: 2000000"));
  await client.until(/\}$/);
  assert.match(client.text, /^HTTP\/1\.1 401 /);
  await pour(client, 2_000_000);
  await client.untilClosed();
  const viaPool = await gateway.fetch("/digest", { method: "POST", body: Buffer.alloc(5 * MIB) });
  assert.equal(viaPool.status, 401);
  assert.equal(handled, 0);
});

test("an ambiguous length of the body is refused", async (t) => {
  const gateway = await startGateway(t, { routes: [digestRoute()] });
  const cases = [
    ["Content-Length: 5", "Content-Length: 6"],
    ["Content-Length: 5", "Content-Length: 5"],
    ["Content-Length: 5", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: gzip"],
    ["Transfer-Encoding: ", "Content-Length: 5"],
    ["Content-Length: 5, 5"],
    ["Content-Length: -5"],
    ["Content-Length: 0x5"],
  ];
  for (const headers of cases) {
    const client = await gateway.dial();
    client.send(`${post("/digest", ...headers)}hello`);
    await client.until(/^HTTP\/1\.1 400 /);
    client.socket.end();
    await client.untilClosed();
    assert.equal(client.text.match(/HTTP\/1\.1/g)?.length, 1, `${headers}`);
  }
});

test("a route without a body ignores a small one and refuses a large one", async (t) => {
  const gateway = await startGateway(t, { routes: [route({ method: "DELETE", pattern: "/thing" })] });
  const remove = (bytes: number) => gateway.fetch("/thing", { method: "DELETE", body: Buffer.alloc(bytes) });
  assert.equal((await remove(60_000)).status, 200);
  assert.equal((await remove(0)).status, 200);
  assert.equal((await remove(70_000)).status, 413);
});

test("4 MiB stream in while each chunk sets off answers on other connections", async (t) => {
  // With those answers written at once instead of from the outbox, the library forgets what it has read of the upload and cuts it.
  const waiting: (() => void)[] = [];
  const wait = async () => {
    const turn = gate();
    waiting.push(turn.open);
    await turn.promise;
    return { status: 200, body: "ok" };
  };
  const answerOthers = () => {
    for (const open of waiting.splice(0)) open();
  };
  const upload = async (request: Request) => {
    const hash = createHash("sha256");
    for await (const chunk of request.stream) {
      hash.update(chunk);
      answerOthers();
    }
    return { status: 200, body: hash.digest("hex") };
  };
  const gateway = await startGateway(t, {
    routes: [
      route({ pattern: "/wait", handle: wait }),
      digestRoute({ body: { kind: "stream", limitBytes: 8 * MIB }, handle: upload }),
    ],
  });
  const body = randomBytes(4 * MIB);
  let isUploading = true;
  let busy = 8;
  const others = Array.from({ length: busy }, async () => {
    while (isUploading) assert.equal((await gateway.fetch("/wait")).text, "ok");
    busy -= 1;
  });
  for (let round = 0; round < 4; round += 1) {
    const client = await gateway.dial();
    client.send(Buffer.concat([Buffer.from(post("/digest", `Content-Length: ${body.length}`)), body]));
    await until(() => client.text.endsWith(sha256(body)) || client.state === "closed", "the answer");
    assert.match(client.text, /^HTTP\/1\.1 200 /);
    client.socket.destroy();
  }
  isUploading = false;
  await until(() => {
    answerOthers();
    return busy === 0;
  }, "the others to be answered");
  await Promise.all(others);
});

test("a stream that nobody reads stops the client, and goes on when it is read", async (t) => {
  const reading = gate();
  const handle = async (request: Request) => {
    await reading.promise;
    return await digestStream(request);
  };
  const gateway = await startGateway(t, {
    routes: [digestRoute({ body: { kind: "stream", limitBytes: 64 * MIB }, handle })],
  });
  const client = await gateway.dial();
  const body = randomBytes(48 * MIB);
  client.send(post("/digest", `Content-Length: ${body.length}`));
  client.socket.write(body);
  let stableFor = 0;
  let queued = 0;
  await until(() => {
    stableFor = client.socket.writableLength === queued ? stableFor + 1 : 0;
    queued = client.socket.writableLength;
    return stableFor > 40;
  }, "the client to stall");
  assert.ok(queued > 0, "all of it was taken though nobody read");
  reading.open();
  await client.until(/\r\n\r\n[0-9a-f]{64}$/);
  assert.ok(client.text.endsWith(sha256(body)));
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await client.until(/404 Not Found/);
  client.socket.destroy();
});

test("a stream ends with an error when the client hangs up or sends too much", async (t) => {
  const failures: unknown[] = [];
  let started = 0;
  const handle = async (request: Request) => {
    started += 1;
    try {
      return await digestStream(request);
    } catch (error) {
      failures.push(error);
      throw error;
    }
  };
  const gateway = await startGateway(t, {
    routes: [digestRoute({ body: { kind: "stream", limitBytes: MIB }, handle })],
  });
  const leaving = await gateway.dial();
  leaving.send(post("/digest", "Content-Length: 1000"));
  leaving.send("only a part");
  await until(() => started === 1, "the handler");
  leaving.socket.end();
  await until(() => failures.length === 1, "the stream to fail");
  assert.ok(isFailure(failures[0], "transfer_failed"));

  const greedy = await gateway.dial();
  greedy.send(post("/digest", "Transfer-Encoding: chunked"));
  for (let sent = 0; sent < 40; sent += 1) greedy.send(`8000\r\n${"x".repeat(0x8000)}\r\n`);
  await greedy.until(/^HTTP\/1\.1 413 /);
  await until(() => failures.length === 2, "the stream to fail");
  assert.ok(isFailure(failures[1], "body_too_large"));
  greedy.socket.destroy();
});

test("a handler may answer before it has read the whole stream", async (t) => {
  const handle = async ({ stream }: Request) => {
    for await (const chunk of stream) return { status: 422, body: `saw ${chunk.length > 0}` };
    return { status: 200 };
  };
  const gateway = await startGateway(t, {
    routes: [digestRoute({ body: { kind: "stream", limitBytes: 64 * MIB }, handle })],
  });
  const client = await gateway.dial();
  client.send(post("/digest", `Content-Length: ${16 * MIB}`));
  await pour(client, 16 * MIB);
  await client.until(/saw true$/);
  assert.match(client.text, /^HTTP\/1\.1 422 /);
  await client.untilClosed();
});

test("an upload that makes progress is not timed out, one that stops is", async (t) => {
  const gateway = await startGateway(t, { routes: [digestRoute()], requestTimeoutMs: 400 });
  const client = await gateway.dial();
  const part = Buffer.alloc(8 * 1024);
  client.send(post("/digest", `Content-Length: ${9 * part.length}`));
  for (let sent = 0; sent < 9; sent += 1) {
    client.send(part);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await client.until(/^HTTP\/1\.1 200 /);
  client.received = Buffer.alloc(0);
  client.send(post("/digest", "Content-Length: 9"));
  await client.until(/^HTTP\/1\.1 504 /);
  client.socket.destroy();
});
