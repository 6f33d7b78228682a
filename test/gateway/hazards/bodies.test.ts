/** Bodies that are too large, too slow, or not what their head announced. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Request, Response } from "../../../gateway/http/exchange.ts";
import { route, startGateway, until } from "../http-server-fixture.ts";

const LIMIT_BYTES = 1000;

async function startEcho(t: TestContext) {
  const bodies: string[] = [];
  const handle = ({ body }: Request): Response => {
    bodies.push(body.toString("latin1"));
    return { status: 200, body: "ok" };
  };
  const body = { kind: "buffer", limitBytes: LIMIT_BYTES } as const;
  const gateway = await startGateway(t, {
    tls: undefined,
    routes: [route({ method: "POST", body, handle })],
  });
  return { gateway, bodies };
}

const post = (lines: string, body: string): string =>
  `POST / HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n\r\n${body}`;
const chunked = (body: string): string => post("Transfer-Encoding: chunked", body);
const chunk = (bytes: string): string => `${bytes.length.toString(16)}\r\n${bytes}\r\n`;

test("a body at the limit is taken, one byte more is 413, announced or in chunks", async (t) => {
  const { gateway, bodies } = await startEcho(t);
  const full = "x".repeat(LIMIT_BYTES);
  const cases: readonly [status: number, bytes: string][] = [
    [200, post(`Content-Length: ${LIMIT_BYTES}`, full)],
    [413, post(`Content-Length: ${LIMIT_BYTES + 1}`, `${full}x`)],
    [200, chunked(`${chunk(full.slice(1))}${chunk("x")}0\r\n\r\n`)],
    [413, chunked(`${chunk(full)}${chunk("x")}0\r\n\r\n`)],
    [413, chunked(`${chunk(full)}${chunk("x")}`)],
    [413, post("Content-Length: 99999999999999", "x")],
  ];
  for (const [status, bytes] of cases) {
    const client = await gateway.dial();
    client.send(bytes);
    await client.until(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*\\r\\n\\r\\n`));
    if (status === 413) assert.match(client.text, /"code":"body_too_large".*"limitBytes":1000/);
    client.socket.destroy();
  }
  assert.deepEqual(bodies, [full, full]);
});

test("chunks that are no chunks end the request", async (t) => {
  const { gateway, bodies } = await startEcho(t);
  for (const body of ["zz\r\nabc\r\n", "-1\r\nabc\r\n", "0x3\r\nabc\r\n", "fffffffffffffffff\r\nabc\r\n"]) {
    const client = await gateway.dial();
    client.send(chunked(body));
    await client.untilClosed();
    assert.match(client.text, /^HTTP\/1\.1 400 /, body);
  }
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.deepEqual([bodies, gateway.faults], [[], []]);
});

test("whatever the chunks were, their connection ends with the answer, so that nothing behind them is a request", async (t) => {
  // The library is lenient: it checks neither the bytes between two chunks nor the lines that it skips, and takes "g" for 16.
  const { gateway, bodies } = await startEcho(t);
  const cases: readonly [body: string, seen: string][] = [
    [`${chunk("abc")}0\r\n\r\n`, "abc"],
    ["3 ;extension=1\r\nabc\r\n0\r\n\r\n", "abc"],
    ["3\nabc\r\n0\n\r\n", "abc"],
    ["3\r\nabcXX0\r\n\r\n", "abc"],
    ["g\r\n0123456789abcdef\r\n0\r\n\r\n", "0123456789abcdef"],
    ["\r\n\r\n", ""],
  ];
  for (const [body, seen] of cases) {
    const client = await gateway.dial();
    client.send(chunked(body));
    await client.until(/^HTTP\/1\.1 200 [\s\S]*\r\n\r\nok/);
    assert.match(client.text, /Connection: close\r\n/);
    client.send(post("Content-Length: 8", "smuggled"));
    await client.untilClosed();
    assert.equal(bodies.pop(), seen);
    assert.deepEqual(bodies, []);
    assert.equal(client.text.match(/HTTP\/1\.1 /g)?.length, 1);
  }
});

test("what follows the last chunk is never served, and a size with an extension only hurts its sender", async (t) => {
  const { gateway, bodies } = await startEcho(t);
  // Trailers are not understood; the first request was not answered yet.
  const trailer = await gateway.dial();
  trailer.send(chunked(`${chunk("abc")}0\r\nX-Trailer: 1\r\n\r\n`));
  await trailer.untilClosed();
  const follower = await gateway.dial();
  follower.send(chunked("0\r\n\r\n") + post("Content-Length: 8", "smuggled"));
  await follower.untilClosed();
  // Taken for a chunk of 3 MiB and more.
  const extension = await gateway.dial();
  extension.send(chunked(`3;a=b\r\nabc\r\n0\r\n\r\n${"x".repeat(LIMIT_BYTES)}`));
  await extension.until(/^HTTP\/1\.1 413 /);
  extension.socket.destroy();
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.ok(bodies.every((body) => body === "abc" || body === ""));
});

test("a client that waits for 100 Continue gets it", async (t) => {
  const { gateway, bodies } = await startEcho(t);
  const client = await gateway.dial();
  client.send(post("Expect: 100-continue\r\nContent-Length: 3", ""));
  await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
  client.send("abc");
  await client.until(/HTTP\/1\.1 200 /);
  assert.deepEqual(bodies, ["abc"]);
  client.socket.destroy();
});

test("a body that drips gets 504 though it never stops, one that is slow but not that slow arrives", async (t) => {
  const handled: number[] = [];
  const handle = ({ body }: Request): Response => {
    handled.push(body.length);
    return { status: 200, body: "ok" };
  };
  const gateway = await startGateway(t, {
    tls: undefined,
    requestTimeoutMs: 200,
    routes: [route({ method: "POST", body: { kind: "buffer", limitBytes: 1e6 }, handle })],
  });
  const drip = async (bytes: string, times: number): Promise<string> => {
    const client = await gateway.dial();
    client.send(post(`Content-Length: ${bytes.length * times}`, ""));
    for (let sent = 0; sent < times && !client.text.includes("\r\n\r\n"); sent += 1) {
      client.send(bytes);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await client.until(/\r\n\r\n/);
    client.socket.destroy();
    return client.text;
  };
  // It never is silent for as long as the deadline.
  const [dripped, slow] = await Promise.all([drip("x", 400), drip("x".repeat(16_384), 30)]);
  assert.match(dripped, /^HTTP\/1\.1 504 [\s\S]*too slowly/);
  assert.match(slow, /^HTTP\/1\.1 200 /);
  assert.deepEqual(handled, [30 * 16_384]);
});
