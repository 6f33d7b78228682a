import assert from "node:assert/strict";
import { test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { request } from "undici";
import type { Request, Response } from "../../gateway/http/exchange.ts";
import { jsonLines } from "../../gateway/http/json-lines.ts";
import {
  type Chunk,
  GET,
  HandMade,
  startWith,
  startWithSources,
  streaming,
  untilStill,
} from "./hand-made-stream.ts";
import { gate, route, startGateway, until } from "./http-server-fixture.ts";

const MIB = 1024 * 1024;

test("a client that hangs up has its source given back, and the handler hears of it", async (t) => {
  const { gateway, sources, requests, sourceAt } = await startWithSources(t);
  let hangUps = 0;
  const [early, late] = [await gateway.dial(), await gateway.dial()];
  early.send(GET);
  await sourceAt(0);
  late.send(GET);
  (await sourceAt(1)).make("begun");
  for (const asked of requests)
    asked.onHangUp(() => {
      hangUps += 1;
    });
  await late.until(/begun/);
  early.socket.destroy();
  late.socket.destroy();
  await until(() => sources.every(({ returns }) => returns > 0), "the sources to be given back");
  // What still arrives is dropped, an error too.
  sources[0]?.make("to nobody");
  sources[1]?.break(new Error("aborted"));
  assert.equal((await gateway.fetch("/whole")).text, "ok");
  assert.deepEqual(
    sources.map(({ asked, returns }) => [asked, returns]),
    [
      [1, 1],
      [2, 1],
    ],
  );
  assert.equal(hangUps, 2);
  assert.deepEqual(gateway.faults, []);
});

test("a source that fails leaves the client with what was made before and a broken transfer", async (t) => {
  const { gateway, sources, sourceAt } = await startWithSources(t);
  const reply = request(gateway.origin, { dispatcher: gateway.dispatcher });
  const source = await sourceAt(0);
  source.make("half");
  const { statusCode, body } = await reply;
  assert.equal(statusCode, 200);
  const pieces: string[] = [];
  const error = new Error("the disk is gone");
  await assert.rejects(async () => {
    for await (const piece of body) {
      pieces.push(String(piece));
      source.make(" of it");
      source.break(error);
    }
  });
  assert.equal(pieces.join(""), "half of it");
  assert.deepEqual(gateway.faults, [error]);
  assert.equal(sources[0]?.returns, 1);
});

test("a source that fails before its first chunk is answered like a handler that fails", async (t) => {
  const broken: (() => AsyncIterable<Chunk>)[] = [
    // biome-ignore lint/correctness/useYield: it never gets that far.
    async function* () {
      throw fail("task_not_found");
    },
    () => ({
      [Symbol.asyncIterator]() {
        throw fail("task_not_found");
      },
    }),
    () => ({
      [Symbol.asyncIterator]: () => ({
        next() {
          throw fail("task_not_found");
        },
      }),
    }),
  ];
  const remaining = [...broken];
  const gateway = await startWith(t, () => remaining.shift()?.() ?? new HandMade<Chunk>());
  for (const _ of broken) {
    const reply = await gateway.fetch("/");
    assert.equal(reply.status, 404);
    assert.match(reply.text, /task_not_found/);
  }
  assert.deepEqual(gateway.faults, []);
});

test("a source that cannot be given back is heard of and harms nobody", async (t) => {
  const error = new Error("cannot stop");
  const asked = gate();
  const chunks: AsyncIterable<Chunk> = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        asked.open();
        return new Promise(() => {});
      },
      return: () => Promise.reject(error),
    }),
  };
  const gateway = await startWith(t, () => chunks);
  const client = await gateway.dial();
  client.send(GET);
  await asked.promise;
  client.socket.destroy();
  await until(() => gateway.faults.length > 0, "the fault");
  assert.deepEqual(gateway.faults, [error]);
  // Unwanted from the start: the same.
  assert.equal((await gateway.fetch("/", { method: "HEAD" })).status, 200);
  await until(() => gateway.faults.length > 1, "the second fault");
});

test("HEAD gets the head alone, and the source is given back unasked", async (t) => {
  const { gateway, sourceAt } = await startWithSources(t);
  const client = await gateway.dial();
  client.send(GET.replace("GET", "HEAD"));
  await client.until(/\r\n\r\n/);
  assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*content-type: text\/plain\r\n[\s\S]*\r\n\r\n$/);
  assert.doesNotMatch(client.text, /Content-Length/i);
  const source = await sourceAt(0);
  assert.deepEqual([source.asked, source.returns], [0, 1]);
  client.received = Buffer.alloc(0);
  client.send(GET.replace("/", "/whole"));
  await client.until(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nok$/);
  client.socket.destroy();
});

test("a status without a body gives the source back as well", async (t) => {
  const source = new HandMade<Chunk>();
  const handle = (): Response => ({ status: 204, body: { chunks: source } });
  const gateway = await startGateway(t, { routes: [route({ handle })] });
  assert.equal((await gateway.fetch("/")).status, 204);
  assert.deepEqual([source.asked, source.returns], [0, 1]);
});

test("close() ends what has no end of its own at once, in order", async (t) => {
  const { gateway, sourceAt } = await startWithSources(t, "end");
  const [begun, silent] = [await gateway.dial(), await gateway.dial()];
  begun.send(GET);
  const source = await sourceAt(0);
  source.make("event");
  silent.send(GET);
  await sourceAt(1);
  await begun.until(/event$/);
  // It takes the grace time only for what needs it.
  await gateway.server.close(3_600_000);
  await begun.untilClosed();
  await silent.untilClosed();
  assert.match(begun.text, /\r\n5\r\nevent\r\n0\r\n\r\n$/);
  assert.match(silent.text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*Content-Length: 0\r\n\r\n$/);
  assert.deepEqual([source.returns, (await sourceAt(1)).returns], [1, 1]);
  assert.deepEqual(gateway.faults, []);
});

test("close() ends such a stream also when its client does not read", async (t) => {
  // More than the kernel takes at once, so that something waits in any case.
  const block = Buffer.alloc(16 * MIB);
  let given = 0;
  let returned = 0;
  let hangUps = 0;
  const chunks: AsyncIterable<Chunk> = {
    [Symbol.asyncIterator]: () => ({
      async next() {
        given += 1;
        return { done: false, value: block };
      },
      async return() {
        returned += 1;
        return { done: true, value: undefined };
      },
    }),
  };
  const handle = (asked: Request): Response => {
    asked.onHangUp(() => {
      hangUps += 1;
    });
    return streaming(chunks, "end");
  };
  const gateway = await startGateway(t, { routes: [route({ handle })] });
  const client = await gateway.dial();
  client.socket.pause();
  client.send(GET);
  await untilStill(() => given);
  await gateway.server.close(3_600_000);
  // Ended by the server, and not because the library lost its patience with the client.
  assert.deepEqual([returned, hangUps], [1, 0]);
  client.socket.destroy();
});

test("close() lets a stream with an end finish, and cuts it after the grace time", async (t) => {
  const { gateway, sourceAt } = await startWithSources(t);
  const client = await gateway.dial();
  client.send(GET);
  const source = await sourceAt(0);
  source.make("one");
  await client.until(/one/);
  const closed = gateway.server.close(60_000);
  source.make("two");
  await client.until(/two/);
  source.end();
  await closed;
  await client.untilClosed();
  assert.match(client.text, /\r\n3\r\ntwo\r\n0\r\n\r\n$/);
  assert.equal(source.returns, 0);

  const other = await startWithSources(t);
  const cut = await other.gateway.dial();
  cut.send(GET);
  const unfinished = await other.sourceAt(0);
  unfinished.make("one");
  await cut.until(/one/);
  await other.gateway.server.close(20);
  await cut.untilClosed();
  assert.match(cut.text, /\r\n3\r\none$/);
  assert.equal(unfinished.returns, 1);
});

test("an endless stream that is answered while the server closes ends at once", async (t) => {
  const answer = gate<Response>();
  let asked = 0;
  const handle = (): Promise<Response> => {
    asked += 1;
    return answer.promise;
  };
  const gateway = await startGateway(t, { routes: [route({ handle })] });
  const client = await gateway.dial();
  client.send(GET);
  await until(() => asked === 1, "the request");
  const closed = gateway.server.close(3_600_000);
  const source = new HandMade<Chunk>();
  answer.open(streaming(source, "end"));
  await closed;
  await client.untilClosed();
  assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*Connection: close\r\n[\s\S]*\r\n\r\n$/);
  assert.equal(source.returns, 1);
});

test("JSON Lines: the source is given back while it is waited for, and when JSON cannot say a value", async (t) => {
  const sources: { state: "open" | "back"; asked: number }[] = [];
  const endless: { itself?: unknown } = {};
  endless.itself = endless;
  const handle = (request: Request): Response => {
    const source = { state: "open" as "open" | "back", asked: 0 };
    sources.push(source);
    return jsonLines({
      [Symbol.asyncIterator]: () => ({
        async next() {
          source.asked += 1;
          if (source.asked === 1) return { done: false, value: "begun" };
          if (request.query.has("wait")) await new Promise(() => {});
          return { done: false, value: endless };
        },
        async return() {
          source.state = "back";
          return { done: true, value: undefined };
        },
      }),
    });
  };
  const gateway = await startGateway(t, { routes: [route({ handle })] });
  const [waiting, wrong] = [await gateway.dial(), await gateway.dial()];
  waiting.send(GET.replace("/", "/?wait"));
  await waiting.until(/"begun"\n$/);
  waiting.socket.destroy();
  await until(() => sources[0]?.state === "back", "the source that waits to be given back");
  wrong.send(GET);
  await wrong.untilClosed();
  assert.match(wrong.text, /"begun"\n$/);
  assert.equal(sources[1]?.state, "back");
  assert.ok(gateway.faults[0] instanceof TypeError);
});
