import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import type { Request, Response, Route } from "../../gateway/http/exchange.ts";
import { route, startGateway, until } from "./http-server-fixture.ts";

const KIB = 1024;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const head = (method: string, ...lines: string[]): string =>
  `${method} / HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;

/** A route that can be looked into: each guard waits for its turn, each visit is noted. */
function watched(parts: Partial<Route> = {}) {
  const guards: { readonly admit: (who: string) => void; readonly refuse: (error: unknown) => void }[] = [];
  const handled: string[] = [];
  const finished: { readonly context: unknown; readonly receivedBytes: number }[] = [];
  const served: Route = route({
    method: "POST",
    body: { kind: "buffer", limitBytes: 100 * KIB },
    guard: () =>
      new Promise((resolve, reject) => {
        guards.push({ admit: resolve, refuse: reject });
      }),
    handle: ({ body }, context) => {
      handled.push(String(context));
      return { status: 200, body: sha256(body) };
    },
    finished: (context, receivedBytes) => finished.push({ context, receivedBytes }),
    ...parts,
  });
  return { served, guards, handled, finished };
}

test("a guard may answer later, and its context reaches the handler with a body that lost nothing", async (t) => {
  const { served, guards, handled, finished } = watched();
  const gateway = await startGateway(t, { routes: [served] });
  const body = randomBytes(90 * KIB);
  const chunked = Buffer.concat([
    Buffer.from(`${(50 * KIB).toString(16)}\r\n`),
    body.subarray(0, 50 * KIB),
    Buffer.from(`\r\n${(40 * KIB).toString(16)}\r\n`),
    body.subarray(50 * KIB),
    Buffer.from("\r\n0\r\n\r\n"),
  ]);
  const requests = [
    Buffer.concat([Buffer.from(head("POST", `Content-Length: ${body.length}`)), body]),
    Buffer.concat([Buffer.from(head("POST", "Transfer-Encoding: chunked")), chunked]),
  ];
  for (const [index, bytes] of requests.entries()) {
    // All at once, and in pieces of which some come before the guard has answered and some after.
    for (const pieceBytes of [bytes.length, 30 * KIB]) {
      const client = await gateway.dial();
      client.send(bytes.subarray(0, pieceBytes));
      await until(() => guards.length === 1, "the guard");
      assert.equal(handled.length, 0);
      client.send(bytes.subarray(pieceBytes, 2 * pieceBytes));
      guards.pop()?.admit(`caller ${index}`);
      client.send(bytes.subarray(2 * pieceBytes));
      await client.until(/\r\n\r\n[0-9a-f]{64}$/);
      assert.ok(client.text.endsWith(sha256(body)));
      assert.deepEqual(handled.splice(0), [`caller ${index}`]);
      await until(() => finished.length === 1, "the end of the visit");
      assert.deepEqual(finished.splice(0), [{ context: `caller ${index}`, receivedBytes: body.length }]);
      client.socket.destroy();
    }
  }
  assert.deepEqual(gateway.faults, []);
});

test("while a guard has not answered, little of a body is read, and all of it afterwards", async (t) => {
  const total = 24 * KIB * KIB;
  const { served, guards, handled, finished } = watched({
    body: { kind: "stream", limitBytes: total },
    handle: async ({ stream }: Request): Promise<Response> => {
      handled.push("stream");
      const hash = createHash("sha256");
      for await (const chunk of stream) hash.update(chunk);
      return { status: 200, body: hash.digest("hex") };
    },
  });
  const gateway = await startGateway(t, { routes: [served] });
  const client = await gateway.dial();
  const body = randomBytes(total);
  client.send(head("POST", `Content-Length: ${total}`));
  client.send(body);
  let stableFor = 0;
  let queued = 0;
  await until(() => {
    stableFor = guards.length === 1 && client.socket.writableLength === queued ? stableFor + 1 : 0;
    queued = client.socket.writableLength;
    return stableFor > 30;
  }, "the client to stall");
  assert.ok(queued > 0, "all of it was taken before anybody knew who sent it");
  assert.deepEqual(handled, []);
  guards[0]?.admit("caller");
  await client.until(/\r\n\r\n[0-9a-f]{64}$/);
  assert.ok(client.text.endsWith(sha256(body)));
  await until(() => finished.length === 1, "the end of the visit");
  assert.equal(finished[0]?.receivedBytes, total);
  client.socket.destroy();
});

test("the limit of a body holds for one that came before the guard had answered", async (t) => {
  for (const framing of ["Content-Length", "chunked"]) {
    for (const excess of [0, 1]) {
      const { served, guards, handled, finished } = watched();
      const gateway = await startGateway(t, { routes: [served], tls: undefined });
      const client = await gateway.dial();
      const size = 100 * KIB + excess;
      if (framing === "chunked") {
        client.send(`${head("POST", "Transfer-Encoding: chunked")}${size.toString(16)}\r\n`);
        client.send(Buffer.concat([Buffer.alloc(size), Buffer.from("\r\n0\r\n\r\n")]));
      } else {
        client.send(head("POST", `Content-Length: ${size}`));
        client.send(Buffer.alloc(size));
      }
      await until(() => guards.length === 1, "the guard");
      guards[0]?.admit("caller");
      await client.until(excess === 0 ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 413 /);
      assert.equal(handled.length, 1 - excess);
      client.socket.destroy();
      await until(() => finished.length === 1, "the end of the visit");
    }
  }
});

test("a guard that rejects ends the request, and nothing is finished that was not let in", async (t) => {
  const { served, guards, handled, finished } = watched();
  const gateway = await startGateway(t, { routes: [served] });
  for (const lines of [["Content-Length: 5"], ["Content-Length: 2000000"], []]) {
    const client = await gateway.dial();
    client.send(`${head("POST", ...lines)}${lines.length > 0 ? "12345" : ""}`);
    await until(() => guards.length === 1, "the guard");
    guards.pop()?.refuse(fail("auth_invalid"));
    await client.until(/^HTTP\/1\.1 401 [\s\S]*auth_invalid/);
    client.socket.destroy();
  }
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.deepEqual([handled, finished, gateway.faults], [[], [], []]);
});

test("a client that hangs up during the guard is forgotten, and its visit ends when the guard lets it in", async (t) => {
  const { served, guards, handled, finished } = watched();
  const gateway = await startGateway(t, { routes: [served] });
  for (const bytes of [head("POST"), `${head("POST", "Content-Length: 9")}12345`]) {
    const client = await gateway.dial();
    client.send(bytes);
    await until(() => guards.length === 1, "the guard");
    client.socket.destroy();
    await until(() => gateway.server.inFlight === 0, "the hang-up");
    assert.equal(finished.length, 0);
    guards.pop()?.admit("late");
    await until(() => finished.length === 1, "the end of the visit");
    assert.deepEqual(finished.splice(0), [{ context: "late", receivedBytes: bytes.endsWith("5") ? 5 : 0 }]);
  }
  assert.deepEqual([handled, gateway.faults], [[], []]);
});

test("a guard that never answers gets 504, and letting in afterwards starts nothing", async (t) => {
  const { served, guards, handled, finished } = watched();
  const gateway = await startGateway(t, { routes: [served], requestTimeoutMs: 100 });
  for (const body of ["", "12345"]) {
    const client = await gateway.dial();
    client.send(`${head("POST", `Content-Length: ${body.length}`)}${body}`);
    await client.until(/^HTTP\/1\.1 504 [\s\S]*timed_out/);
    guards.pop()?.admit("late");
    await until(() => finished.length === 1, "the end of the visit");
    assert.deepEqual(finished.splice(0), [{ context: "late", receivedBytes: body.length }]);
    client.socket.destroy();
  }
  assert.deepEqual([handled, gateway.faults], [[], []]);
});

test("every way in which a request can end finishes its visit once", async (t) => {
  const started: string[] = [];
  const finished: string[] = [];
  const note = (context: unknown): void => {
    finished.push(String(context));
  };
  const pending: Partial<Route> = {
    handle: ({ path }) => {
      started.push(path);
      return new Promise(() => {});
    },
  };
  const paths: Record<string, Partial<Route>> = {
    "/answered": {},
    "/later": { handle: async () => ({ status: 204 }) },
    "/thrown": {
      handle: () => {
        throw fail("task_not_found");
      },
    },
    "/large": { body: { kind: "buffer", limitBytes: 10 }, method: "POST" },
    "/streamed": { handle: () => ({ status: 200, body: { chunks: (async function* () {})() } }) },
    "/hung-up": pending,
    "/closing": pending,
  };
  const routes = Object.entries(paths).flatMap(([pattern, parts]) => [
    route({ ...parts, pattern, guard: () => pattern, finished: note }),
    route({ ...parts, pattern: `/async${pattern}`, guard: async () => `/async${pattern}`, finished: note }),
  ]);
  const gateway = await startGateway(t, { routes });
  for (const { method, pattern } of routes) {
    const client = await gateway.dial();
    const body = method === "POST" ? "Content-Length: 11\r\n\r\n12345678901" : "\r\n";
    client.send(`${method} ${pattern} HTTP/1.1\r\nHost: a\r\n${body}`);
    await until(
      () => started.includes(pattern) || /^HTTP\/1\.1 \d/.test(client.text),
      "the request to be served",
    );
    if (pattern.endsWith("/closing")) continue;
    client.socket.destroy();
    await until(() => finished.includes(pattern), `the end of ${pattern}`);
  }
  assert.equal(gateway.server.inFlight, 2);
  await gateway.server.close(20);
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.deepEqual(finished.toSorted(), routes.map(({ pattern }) => pattern).toSorted());
});

test("what a route throws at the end of a visit is told, and costs nobody an answer", async (t) => {
  const finished = (): never => {
    throw new Error("a bug");
  };
  const gateway = await startGateway(t, { routes: [route({ finished })] });
  assert.equal((await gateway.fetch("/")).text, "ok");
  assert.equal((await gateway.fetch("/")).text, "ok");
  assert.deepEqual(gateway.faults.map(String), ["Error: a bug", "Error: a bug"]);
});
