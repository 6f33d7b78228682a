import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { request } from "undici";
import type { Response } from "../../gateway/http/exchange.ts";
import { jsonLines } from "../../gateway/http/json-lines.ts";
import {
  type Chunk,
  GET,
  HandMade,
  type Source,
  startWith,
  startWithSources,
  streaming,
  untilStill,
} from "./hand-made-stream.ts";
import { gate, route, startGateway, until } from "./http-server-fixture.ts";

const MIB = 1024 * 1024;

test("chunks arrive as they are made, and those made together leave together", async (t) => {
  const { gateway, sourceAt } = await startWithSources(t);
  const client = await gateway.dial();
  client.send(GET);
  const source = await sourceAt(0);
  source.make("first");
  await client.until(/^HTTP\/1\.1 200 OK\r\n[\s\S]*Transfer-Encoding: chunked\r\n[\s\S]*\r\n5\r\nfirst$/);
  source.make("sec", "", Buffer.from("ond"));
  await client.until(/\r\n6\r\nsecond$/);
  source.make("last");
  source.end();
  await client.until(/\r\n4\r\nlast\r\n0\r\n\r\n$/);
  assert.equal(source.returns, 0);
  // The connection is ready for the next request.
  client.received = Buffer.alloc(0);
  client.send(GET.replace("/", "/whole"));
  await client.until(/\r\n\r\nok$/);
  client.socket.destroy();
});

test("streams that end at once, empty or not, are complete", async (t) => {
  let chunks: Chunk[] = [];
  const gateway = await startWith(t, async function* () {
    yield* chunks;
  });
  for (chunks of [[], ["a"], ["", ""], ["a", "b", "c"], []]) {
    const reply = await gateway.fetch("/");
    assert.equal(reply.status, 200);
    assert.equal(reply.headers["content-type"], "text/plain");
    assert.equal(reply.text, chunks.join(""));
  }
});

test("chunks of every size arrive unchanged, also at a client that pauses", async (t) => {
  const sizes = [0, 1, 100, 15 * 1024, 15 * 1024 + 1, 16 * 1024, 64 * 1024, 100_000, 2 * MIB, 3];
  const chunks = Array.from({ length: 60 }, (_, index) => randomBytes(sizes[index % sizes.length] ?? 0));
  const expected = createHash("sha256");
  for (const chunk of chunks) expected.update(chunk);
  let given = 0;
  const gateway = await startWith(t, async function* () {
    for (const chunk of chunks) {
      given += 1;
      // Some are ready at once, some later: written with and without something waiting before them.
      if (given % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      yield chunk;
    }
  });
  const reply = await request(gateway.origin, { dispatcher: gateway.dispatcher });
  const received = createHash("sha256");
  let count = 0;
  for await (const piece of reply.body) {
    received.update(piece as Buffer);
    count += 1;
    if (count % 200 === 0) await untilStill(() => given);
  }
  assert.equal(received.digest("hex"), expected.digest("hex"));
  assert.deepEqual(gateway.faults, []);
});

test("a client that does not read stops the source, and gets everything once it does", async (t) => {
  const block = randomBytes(64 * 1024);
  const total = 1000;
  let given = 0;
  const gateway = await startWith(t, async function* () {
    for (; given < total; given += 1) yield block;
  });
  const reply = await request(gateway.origin, { dispatcher: gateway.dispatcher });
  await untilStill(() => given);
  // What the kernel's buffers on both sides hold, and nothing like the whole.
  assert.ok(given < total / 4, `${given} of ${total} blocks were asked for ahead of the client`);
  const received = createHash("sha256");
  for await (const piece of reply.body) received.update(piece as Buffer);
  const expected = createHash("sha256");
  for (let index = 0; index < total; index += 1) expected.update(block);
  assert.equal(received.digest("hex"), expected.digest("hex"));
});

test("small chunks without end do not pile up either, nor do empty ones", async (t) => {
  for (const chunk of ["x", ""]) {
    let given = 0;
    const stop = gate();
    let state: "running" | "stopped" = "running";
    const gateway = await startWith(t, async function* () {
      try {
        for (;;) {
          given += 1;
          yield chunk;
        }
      } finally {
        state = "stopped";
        stop.open();
      }
    });
    const client = await gateway.dial();
    client.socket.pause();
    client.send(GET);
    await until(() => given > 10_000, "chunks to be made");
    // The server lives meanwhile.
    const other = await gateway.dial();
    other.socket.destroy();
    client.socket.destroy();
    await stop.promise;
    assert.equal(state, "stopped");
  }
});

test("no deadline for answers applies to a stream, begun or not", async (t) => {
  const sources: Source[] = [];
  const handle = (): Response => {
    const source = new HandMade<Chunk>();
    sources.push(source);
    return streaming(source);
  };
  const late = route({ pattern: "/late", handle: () => new Promise(() => {}) });
  const gateway = await startGateway(t, { requestTimeoutMs: 100, routes: [route({ handle }), late] });
  const replies = [gateway.fetch("/"), gateway.fetch("/")];
  await until(() => sources.length === 2, "both requests");
  sources[0]?.make("begun ");
  // Asked later, and yet its time is over.
  assert.equal((await gateway.fetch("/late")).status, 504);
  for (const source of sources) {
    source.make("ended");
    source.end();
  }
  const texts = (await Promise.all(replies)).map(({ status, text }) => `${status} ${text}`);
  assert.deepEqual(texts.sort(), ["200 begun ended", "200 ended"]);
});

test("many streams at once do not mix", async (t) => {
  const count = 60;
  const { gateway, sources } = await startWithSources(t);
  const replies = Array.from({ length: count }, () => gateway.fetch("/"));
  await until(() => sources.length === count, "all requests");
  for (let round = 0; round < 5; round += 1) {
    for (const [index, source] of sources.entries()) source.make(`${index};`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const source of sources) source.end();
  const texts = (await Promise.all(replies)).map(({ text }) => text).sort();
  const expected = Array.from({ length: count }, (_, index) => `${index};`.repeat(5)).sort();
  assert.deepEqual(texts, expected);
});

test("a stream may begin before the body of its request has ended", async (t) => {
  const source = new HandMade<Chunk>();
  const received: string[] = [];
  const echo = route({
    method: "POST",
    body: { kind: "stream", limitBytes: 100 },
    handle: async ({ stream }) => {
      for await (const chunk of stream) {
        received.push(String(chunk));
        return streaming(source);
      }
      return { status: 500 };
    },
  });
  const gateway = await startGateway(t, { routes: [echo, route({ pattern: "/whole" })] });
  const client = await gateway.dial();
  client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nhalf");
  await until(() => received.length > 0, "half of the body");
  source.make("one");
  await client.until(/one$/);
  client.send("rest");
  source.make("two");
  await client.until(/two$/);
  source.end();
  await client.until(/\r\n0\r\n\r\n$/);
  client.received = Buffer.alloc(0);
  client.send(GET.replace("/", "/whole"));
  await client.until(/\r\n\r\nok$/);
  client.socket.destroy();
});

test("JSON Lines: one value a line, and a line break in a value stays inside it", async (t) => {
  const values = [{ id: 1 }, "two\nlines", null, undefined, [3]];
  const gateway = await startGateway(t, {
    routes: [
      route({
        handle: () =>
          jsonLines(
            (async function* () {
              yield* values;
            })(),
          ),
      }),
    ],
  });
  const reply = await gateway.fetch("/");
  assert.equal(reply.headers["content-type"], "application/x-ndjson");
  assert.equal(reply.text, '{"id":1}\n"two\\nlines"\nnull\nnull\n[3]\n');
});
