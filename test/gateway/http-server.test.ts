import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "node:tls";
import { type ErrorCode, fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { Request, RequestHead, Response } from "../../gateway/http/exchange.ts";
import { listen } from "../../gateway/http/server.ts";
import { gate, RawClient, route, startGateway, until } from "./http-server-fixture.ts";

const get = (path: string, ...headers: string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers.map((line) => `${line}\r\n`).join("")}\r\n`;

const isCode = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof LegacyGpuError);
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

test("a handler sees the request as it was sent", async (t) => {
  const seen: RequestHead[] = [];
  const addresses: string[] = [];
  const handle = async (request: RequestHead) => {
    // Anything but a copy would be gone by now.
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(request);
    if (seen.length === 1) addresses.push(request.remoteAddress);
    return { status: 201, headers: { "X-Thing": "1" }, body: "made" };
  };
  const gateway = await startGateway(t, { routes: [route({ pattern: "/things/:id/parts/:part", handle })] });
  const reply = await gateway.fetch("/things/a%2Fb%20c/parts/7?x=1&y=%C3%BC", {
    headers: { "X-Custom": "value", Twice: ["a", "b"] },
  });
  const [head] = seen;
  assert.ok(head);
  assert.equal(head.method, "GET");
  assert.equal(head.path, "/things/a%2Fb%20c/parts/7");
  assert.deepEqual(head.params, { id: "a/b c", part: "7" });
  assert.deepEqual(
    [...head.query],
    [
      ["x", "1"],
      ["y", "ü"],
    ],
  );
  assert.equal(head.headers.get("x-custom"), "value");
  assert.equal(head.headers.get("twice"), "a, b");
  assert.equal(reply.status, 201);
  assert.equal(reply.headers["x-thing"], "1");
  assert.equal(reply.headers["x-request-id"], head.id);
  assert.equal(reply.text, "made");
  const next = await gateway.fetch("/things/1/parts/2");
  assert.notEqual(next.headers["x-request-id"], head.id);
  // Once asked for it is known for ever, otherwise not after the end.
  assert.deepEqual(
    [...addresses, ...seen.map(({ remoteAddress }) => remoteAddress)],
    ["127.0.0.1", "127.0.0.1", ""],
  );
  assert.equal((await gateway.fetch("/things/%zz/parts/7")).status, 400);
});

test("a last slash makes no difference", async (t) => {
  const gateway = await startGateway(t, {
    routes: [route({ pattern: "/v2/" }), route({ pattern: "/v2/health" }), route()],
  });
  for (const path of ["/", "/v2", "/v2/", "/v2/health", "/v2/health/"]) {
    assert.equal((await gateway.fetch(path)).status, 200, path);
  }
});

test("unknown paths, unknown methods, OPTIONS and HEAD are answered", async (t) => {
  const gateway = await startGateway(t, {
    routes: [route({ pattern: "/a/:id" }), route({ pattern: "/a/:id", method: "DELETE" })],
  });
  const missing = await gateway.fetch("/nowhere");
  assert.equal(missing.status, 404);
  assert.match(missing.text, /route_not_found/);
  assert.equal((await gateway.fetch("/a/")).status, 404);
  const wrong = await gateway.fetch("/a/1", { method: "PUT", body: "some body" });
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.allow, "GET, DELETE, HEAD, OPTIONS");
  const options = await gateway.fetch("/a/1", { method: "OPTIONS" });
  assert.equal(options.status, 204);
  assert.equal(options.headers.allow, "GET, DELETE, HEAD, OPTIONS");
  const client = await gateway.dial();
  client.send(get("/a/1").replace("GET", "HEAD"));
  await client.until(/\r\n\r\n/);
  assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n[\s\S]*Content-Length: 2\r\n[\s\S]*\r\n\r\n$/);
  client.send(get("/a/1"));
  await client.until(/\r\n\r\nok$/);
  client.socket.destroy();
});

test("what a guard or a handler throws becomes a response", async (t) => {
  const thrower = (error: unknown) => (): never => {
    throw error;
  };
  let handled = 0;
  const gateway = await startGateway(t, {
    routes: [
      route({
        pattern: "/guard",
        guard: thrower(fail("auth_missing")),
        handle: () => {
          handled += 1;
          return { status: 200 };
        },
      }),
      route({ pattern: "/sync", handle: thrower(fail("task_not_found")) }),
      route({ pattern: "/async", handle: async () => thrower(new Error("a bug"))() }),
      route({
        pattern: "/split",
        handle: () => ({ status: 200, headers: { Location: "/x\r\nSet-Cookie: a=b" } }),
      }),
    ],
  });
  assert.equal((await gateway.fetch("/guard")).status, 401);
  assert.equal((await gateway.fetch("/sync")).status, 404);
  assert.equal((await gateway.fetch("/async")).status, 500);
  const split = await gateway.fetch("/split");
  assert.equal(split.status, 500);
  assert.equal(split.headers["set-cookie"], undefined);
  assert.equal(handled, 0);
});

test("a handler without an answer gets 504, and its late answer is dropped", async (t) => {
  const late = gate<Response>();
  const gateway = await startGateway(t, {
    requestTimeoutMs: 100,
    routes: [route({ pattern: "/late", handle: () => late.promise }), route()],
  });
  const client = await gateway.dial();
  client.send(get("/late"));
  await client.until(/^HTTP\/1\.1 504 [\s\S]*timed_out/);
  late.open({ status: 200, body: "late" });
  client.received = Buffer.alloc(0);
  client.send(get("/"));
  await client.until(/\r\n\r\nok$/);
  assert.doesNotMatch(client.text, /late/);
  client.socket.destroy();
});

test("a hang-up is told once, and only when it comes before the answer", async (t) => {
  const answer = gate<Response>();
  let hangUps = 0;
  let lateListeners = 0;
  const requests: Request[] = [];
  const gateway = await startGateway(t, {
    routes: [
      route({
        handle: (request) => {
          requests.push(request);
          request.onHangUp(() => {
            hangUps += 1;
          });
          return requests.length === 1 ? { status: 200, body: "ok" } : answer.promise;
        },
      }),
    ],
  });
  const client = await gateway.dial();
  client.send(get("/"));
  await client.until(/ok$/);
  client.send(get("/"));
  await until(() => requests.length === 2, "the second request");
  client.socket.destroy();
  await until(() => hangUps === 1, "the hang-up");
  requests[1]?.onHangUp(() => {
    lateListeners += 1;
  });
  await until(() => lateListeners === 1, "a listener that comes late");
  answer.open({ status: 200, body: "to nobody" });
  await gateway.fetch("/").catch(() => {});
  assert.equal(hangUps, 1);
  assert.deepEqual(gateway.faults, []);
});

test("clients that hang up at any byte of a request do no harm", async (t) => {
  const gateway = await startGateway(t, {
    routes: [
      route({
        method: "POST",
        pattern: "/a/:id",
        body: { kind: "buffer", limitBytes: 1000 },
        handle: async ({ body }) => {
          await new Promise((resolve) => setImmediate(resolve));
          return { status: 200, body };
        },
      }),
    ],
  });
  const bytes = Buffer.from("POST /a/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345678");
  const chunked = Buffer.from(
    "POST /a/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  );
  for (const request of [bytes, chunked]) {
    const clients = await Promise.all(Array.from(request.keys(), () => gateway.dial()));
    for (const [index, client] of clients.entries()) {
      client.send(request.subarray(0, index + 1));
      if (index % 2 === 0) client.socket.end();
      else client.socket.destroy();
    }
    for (const client of clients) await client.untilClosed();
  }
  const reply = await gateway.fetch("/a/1", { method: "POST", body: "alive" });
  assert.equal(reply.text, "alive");
  assert.deepEqual(gateway.faults, []);
});

test("a port in use, an address of another machine and bad certificates are explained", async (t) => {
  const gateway = await startGateway(t);
  const { options } = gateway;
  assert.ok(options.tls);
  const { tls } = options;
  await assert.rejects(
    listen({ ...options, port: gateway.server.port }),
    isCode("port_in_use", new RegExp(`^Port ${gateway.server.port} on 127\\.0\\.0\\.1 is in use\\.`)),
  );
  const foreign = createServer();
  await new Promise<void>((resolve) => foreign.listen(0, "127.0.0.1", resolve));
  const address = foreign.address();
  assert.ok(address !== null && typeof address === "object");
  await assert.rejects(listen({ ...options, port: address.port }), isCode("port_in_use", /is in use/));
  await new Promise((resolve) => foreign.close(resolve));
  await assert.rejects(
    listen({ ...options, host: "192.0.2.1" }),
    isCode("config_invalid", /^192\.0\.2\.1 is not/),
  );

  const garbage = join(tls.keyFile, "..", "garbage.pem");
  await writeFile(garbage, "no certificate");
  const attempts = [
    { certFile: garbage, file: garbage },
    { keyFile: garbage, file: garbage },
    { certFile: "/nowhere.pem", file: "/nowhere.pem" },
  ];
  for (const { file, ...files } of attempts) {
    await assert.rejects(
      listen({ ...options, tls: { ...tls, ...files } }),
      isCode("certificate_invalid", new RegExp(file)),
    );
  }
  const other = await startGateway(t);
  const keyFile = other.options.tls?.keyFile ?? "";
  await assert.rejects(
    listen({ ...options, tls: { ...tls, keyFile } }),
    isCode("certificate_invalid", new RegExp(`The key in ${keyFile} is not the one`)),
  );
});

test("TLS below 1.2 is refused, plain HTTP works without certificates", async (t) => {
  const gateway = await startGateway(t);
  const old = connect({
    host: "127.0.0.1",
    port: gateway.server.port,
    ca: gateway.caPem,
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT:@SECLEVEL=0",
  });
  await assert.rejects(
    new Promise((resolve, reject) => {
      old.once("secureConnect", resolve);
      old.once("error", reject);
    }),
  );
  const plain = await startGateway(t, { tls: undefined, routes: [route()] });
  const reply = await fetch(`http://127.0.0.1:${plain.server.port}/`);
  assert.equal(await reply.text(), "ok");
});

test("close() lets a request finish, refuses new ones and ends every connection", async (t) => {
  const answer = gate<Response>();
  let asked = 0;
  const handle = () => {
    asked += 1;
    return answer.promise;
  };
  const gateway = await startGateway(t, { routes: [route({ pattern: "/slow", handle }), route()] });
  const { server } = gateway;
  const [busy, idle] = [await gateway.dial(), await gateway.dial()];
  busy.send(get("/slow"));
  idle.send(get("/"));
  await until(() => asked === 1, "the request");
  await idle.until(/ok$/);
  idle.received = Buffer.alloc(0);
  const closed = server.close(10_000);
  assert.equal(server.close(0), closed);
  await assert.rejects(RawClient.dial(server.port, gateway.caPem));
  idle.send(get("/"));
  await idle.until(/^HTTP\/1\.1 503 [\s\S]*gateway_draining/);
  assert.match(idle.text, /Connection: close\r\n/);
  await idle.untilClosed();
  answer.open({ status: 200, body: "finished" });
  await busy.until(/Connection: close\r\n[\s\S]*finished$/);
  await closed;
  await busy.untilClosed();
});

test("close() cuts what is not finished in time", async (t) => {
  let hangUps = 0;
  let asked = 0;
  const gateway = await startGateway(t, {
    routes: [
      route({
        handle: (request) => {
          asked += 1;
          request.onHangUp(() => {
            hangUps += 1;
          });
          return new Promise(() => {});
        },
      }),
    ],
  });
  const client = await gateway.dial();
  client.send(get("/"));
  await until(() => asked === 1, "the request");
  await gateway.server.close(20);
  await client.untilClosed();
  assert.equal(hangUps, 1);
});
