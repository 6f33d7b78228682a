import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { route, startGateway, until } from "./http-server-fixture.ts";

const MIB = 1024 * 1024;
const REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A gateway that serves one file, and the streams it opened for that. */
async function startWithFile(t: TestContext, contents: Buffer, announcedBytes = contents.length) {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-file-"));
  t.after(() => rm(dir, { recursive: true }));
  const path = join(dir, "file");
  await writeFile(path, contents);
  const streams: ReadStream[] = [];
  const handle = () => {
    const stream = createReadStream(path);
    streams.push(stream);
    return { status: 200, body: { stream, sizeBytes: announcedBytes } };
  };
  return { gateway: await startGateway(t, { routes: [route({ handle })] }), streams, path };
}

test("files of every size arrive whole and are closed", async (t) => {
  for (const size of [0, 1, 64 * 1024, 64 * 1024 + 1, 5 * MIB]) {
    const contents = randomBytes(size);
    const { gateway, streams } = await startWithFile(t, contents);
    const client = await gateway.dial();
    client.send(REQUEST);
    await until(() => client.received.length > 0, "the head");
    await until(() => client.received.length - client.text.indexOf("\r\n\r\n") - 4 === size, "the file");
    assert.equal(sha256(client.received.subarray(client.text.indexOf("\r\n\r\n") + 4)), sha256(contents));
    assert.match(client.text, new RegExp(`Content-Length: ${size}\r\n`));
    await until(() => streams.every((stream) => stream.closed), "the file to be closed");
    client.socket.destroy();
  }
});

test("HEAD opens no more than needed and says the size", async (t) => {
  const { gateway, streams } = await startWithFile(t, randomBytes(MIB));
  const reply = await gateway.fetch("/", { method: "HEAD" });
  assert.equal(reply.headers["content-length"], String(MIB));
  await until(() => streams.every((stream) => stream.closed), "the file to be closed");
});

test("a slow reader of a large file costs little memory, and gets all of it", async (t) => {
  const contents = randomBytes(64 * MIB);
  const { gateway, streams } = await startWithFile(t, contents);
  const client = await gateway.dial();
  client.socket.pause();
  const hash = createHash("sha256");
  let received = 0;
  client.socket.removeAllListeners("data");
  client.send(REQUEST);
  let stableFor = 0;
  let read = 0;
  await until(() => {
    const now = streams[0]?.bytesRead ?? 0;
    stableFor = now === read && now > 0 ? stableFor + 1 : 0;
    read = now;
    return stableFor > 20;
  }, "the server to stop reading the file");
  // What the kernel's buffers on both sides hold, and nothing like the whole.
  assert.ok(read < 16 * MIB, `${read} bytes were read ahead of the client`);
  let head: Buffer | undefined = Buffer.alloc(0);
  client.socket.on("data", (chunk: Buffer) => {
    let body = chunk;
    if (head !== undefined) {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      body = head.subarray(end + 4);
      head = undefined;
    }
    hash.update(body);
    received += body.length;
  });
  client.socket.resume();
  await until(() => received === contents.length, "the whole file");
  assert.equal(hash.digest("hex"), sha256(contents));
  client.socket.destroy();
});

test("a client that leaves has its file closed", async (t) => {
  const { gateway, streams } = await startWithFile(t, randomBytes(64 * MIB));
  const client = await gateway.dial();
  client.send(REQUEST);
  await until(() => client.received.length > MIB, "a part of the file");
  client.socket.destroy();
  await until(() => streams[0]?.closed === true, "the file to be closed");
});

test("a file that is shorter than announced, or missing, cuts the connection", async (t) => {
  const short = await startWithFile(t, randomBytes(1000), 2000);
  const client = await short.gateway.dial();
  client.send(REQUEST);
  await client.untilClosed();
  assert.match(client.text, /Content-Length: 2000\r\n/);
  const missing = await startWithFile(t, randomBytes(10));
  await rm(missing.path);
  await assert.rejects(missing.gateway.fetch("/"));
  assert.deepEqual([...short.gateway.faults, ...missing.gateway.faults], []);
});

test("a file longer than announced is cut at the announced size", async (t) => {
  const contents = randomBytes(100_000);
  const { gateway } = await startWithFile(t, contents, 70_000);
  for (let round = 0; round < 2; round += 1) {
    const reply = await gateway.fetch("/");
    assert.equal(reply.headers["content-length"], "70000");
    assert.equal(reply.text, contents.subarray(0, 70_000).toString());
  }
});
