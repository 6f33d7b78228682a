/** What a handler can do wrong, and what the server library would make of it. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Request, Response } from "../../../gateway/http/exchange.ts";
import { gate, route, startGateway, until } from "../http-server-fixture.ts";

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

test("a handler that answers nothing, or something that is no answer, costs no more than its request", async (t) => {
  const nothing = (): never => undefined as never;
  const gateway = await startGateway(t, {
    requestTimeoutMs: 100,
    routes: [
      route({ pattern: "/never", handle: () => new Promise(() => {}) }),
      route({ pattern: "/nothing", handle: nothing }),
      route({ pattern: "/later-nothing", handle: async () => nothing() }),
    ],
  });
  assert.equal((await gateway.fetch("/never")).status, 504);
  assert.equal((await gateway.fetch("/nothing")).status, 500);
  assert.equal((await gateway.fetch("/later-nothing")).status, 500);
  assert.equal((await gateway.fetch("/nowhere")).status, 404);
});

test("an answer after the client has gone, and one after another, are dropped", async (t) => {
  const answers: ((response: Response) => void)[] = [];
  const handle = () => new Promise<Response>((resolve) => answers.push(resolve));
  const gateway = await startGateway(t, { requestTimeoutMs: 300, routes: [route({ handle })] });
  const gone = await gateway.dial();
  gone.send(get("/"));
  await until(() => answers.length === 1, "the handler");
  gone.socket.destroy();
  await until(() => gateway.server.inFlight === 0, "the hang-up");
  answers[0]?.({ status: 200, body: "to nobody" });

  const late = await gateway.dial();
  late.send(get("/"));
  await late.until(/^HTTP\/1\.1 504 /);
  answers[1]?.({ status: 200, body: "too late" });
  late.received = Buffer.alloc(0);
  late.send(get("/nowhere"));
  await late.until(/^HTTP\/1\.1 404 [\s\S]*\}$/);
  late.socket.destroy();
  assert.deepEqual(gateway.faults, []);
});

test("everything about a request can be read after a wait, and after its end", async (t) => {
  const requests: Request[] = [];
  const waiting = gate();
  const handle = async (request: Request): Promise<Response> => {
    requests.push(request);
    await waiting.promise;
    return { status: 200, body: request.headers.get("x-mine") ?? "" };
  };
  const gateway = await startGateway(t, { routes: [route({ pattern: "/a/:id", handle })] });
  const replies = ["one", "two"].map((id) =>
    gateway.fetch(`/a/${id}?q=${id}`, { headers: { "X-Mine": id.repeat(100) } }),
  );
  await until(() => requests.length === 2, "both requests");
  waiting.open();
  assert.deepEqual(
    (await Promise.all(replies)).map(({ text }) => text).toSorted(),
    ["one".repeat(100), "two".repeat(100)].toSorted(),
  );
  for (const { method, path, params, query, headers, body } of requests) {
    const id = params.id ?? "";
    assert.deepEqual([method, path, query.get("q")], ["GET", `/a/${id}`, id]);
    assert.equal(headers.get("x-mine"), id.repeat(100));
    assert.equal(body.length, 0);
  }
});

test("bytes of a body that a handler keeps are still what arrived", async (t) => {
  const handle = async ({ stream }: Request): Promise<Response> => {
    const kept: Buffer[] = [];
    for await (const part of stream) kept.push(part);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return { status: 200, body: createHash("sha256").update(Buffer.concat(kept)).digest("hex") };
  };
  const gateway = await startGateway(t, {
    routes: [route({ method: "PUT", body: { kind: "stream", limitBytes: 1e7 }, handle })],
  });
  const bodies = Array.from({ length: 4 }, () => randomBytes(2_000_000));
  const replies = await Promise.all(bodies.map((body) => gateway.fetch("/", { method: "PUT", body })));
  assert.deepEqual(
    replies.map(({ text }) => text),
    bodies.map((body) => createHash("sha256").update(body).digest("hex")),
  );
});

test("head and body of an answer leave in one TLS record, also after a wait", async (t) => {
  const soon = () => new Promise((resolve) => setTimeout(resolve, 5));
  const gateway = await startGateway(t, {
    routes: [
      route({
        handle: async () => {
          await soon();
          return { status: 200, headers: { "X-A": "1", "X-B": "2" }, body: "b".repeat(2000) };
        },
      }),
    ],
  });
  const client = await gateway.dial();
  let records = 0;
  // Node hands on what was in one record at a time.
  client.socket.on("data", () => {
    records += 1;
  });
  client.send(get("/"));
  await client.until(/b{2000}$/);
  assert.equal(records, 1);
  client.socket.destroy();
});
