/** Heads that are malformed, ambiguous or too large: what each of them gets, byte by byte. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { RequestHead } from "../../../gateway/http/exchange.ts";
import { type Gateway, type RawClient, route, startGateway, until } from "../http-server-fixture.ts";

const KIB = 1024;

/** Without TLS: the parser is the same, and connections cost less. */
async function startWatched(t: TestContext) {
  const seen: RequestHead[] = [];
  const handle = (request: RequestHead) => {
    seen.push(request);
    return { status: 200, body: "ok" };
  };
  const body = { kind: "buffer", limitBytes: 1000 } as const;
  const gateway = await startGateway(t, {
    tls: undefined,
    routes: [route({ handle }), route({ method: "POST", body, handle })],
  });
  return { gateway, seen };
}

async function send(gateway: Gateway, bytes: string): Promise<RawClient> {
  const client = await gateway.dial();
  client.socket.write(Buffer.from(bytes, "latin1"));
  return client;
}

/** The first line of what comes back, once the connection is closed or an answer has come. */
async function answerTo(gateway: Gateway, bytes: string): Promise<string> {
  const client = await send(gateway, bytes);
  await until(() => client.text.includes("\r\n\r\n") || client.state === "closed", "an answer");
  client.socket.destroy();
  return /^HTTP\/1\.1 (\d+)/.exec(client.text)?.[1] ?? "cut";
}

const HOST = "Host: localhost\r\n";
const get = (lines: string): string => `GET / HTTP/1.1\r\n${HOST}${lines}\r\n`;
const post = (lines: string, body: string): string => `POST / HTTP/1.1\r\n${HOST}${lines}\r\n${body}`;

test("a head that is not HTTP/1.1 to the letter is refused or ignored, and never served", async (t) => {
  const { gateway, seen } = await startWatched(t);
  const cases: Readonly<Record<string, readonly [expected: string, bytes: string]>> = {
    "HTTP/1.0": ["505", `GET / HTTP/1.0\r\n${HOST}\r\n`],
    "HTTP/2 in the open": ["505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "a TLS hello without TLS": ["505", `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${"a".repeat(40)}`],
    "an absolute target": ["505", `GET http://localhost/ HTTP/1.1\r\n${HOST}\r\n`],
    "the target of CONNECT": ["505", `CONNECT localhost:443 HTTP/1.1\r\n${HOST}\r\n`],
    "the target *": ["505", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`],
    "a control character in the path": ["505", `GET /\x01 HTTP/1.1\r\n${HOST}\r\n`],
    "NUL in the path": ["505", `GET /\0 HTTP/1.1\r\n${HOST}\r\n`],
    "a space in the path": ["505", `GET / / HTTP/1.1\r\n${HOST}\r\n`],
    "lines that end with LF alone": ["505", "GET / HTTP/1.1\nHost: localhost\n\n"],
    "no Host": ["400", "GET / HTTP/1.1\r\nX: a\r\n\r\n"],
    "two Hosts": ["400", get("Host: other\r\n")],
    "a list of Hosts": ["400", "GET / HTTP/1.1\r\nHost: localhost, other\r\n\r\n"],
    "two Hosts at an unknown address": ["400", `GET /x HTTP/1.1\r\n${HOST}Host: other\r\n\r\n`],
  };
  for (const [name, [expected, bytes]] of Object.entries(cases)) {
    assert.equal(await answerTo(gateway, bytes), expected, name);
  }
  assert.deepEqual(seen, []);
});

test("folded lines and control characters in a header get no answer, and its bytes are never served", async (t) => {
  // The library takes them for the beginning of something; `slow-clients.test.ts` shows that it does not wait for ever.
  const { gateway, seen } = await startWatched(t);
  const lines = [
    "X: a\r\n folded\r\n",
    "X: a\0b\r\n",
    "X: a\x01b\r\n",
    "X: a\rb\r\n",
    "X: a\nContent-Length: 3\r\n",
    "X : a\r\n",
    "X\xff: a\r\n",
    "Transfer-Encoding : chunked\r\n",
  ];
  const clients = await Promise.all(lines.map((line) => send(gateway, get(line))));
  // By the time of this answer, what was sent before has been read.
  assert.equal(await answerTo(gateway, get("")), "200");
  for (const [index, client] of clients.entries()) {
    assert.equal(client.text, "", JSON.stringify(lines[index]));
    client.socket.destroy();
  }
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.equal(seen.length, 1);
});

test("a length that can be read in two ways is refused, and nothing behind it is taken for a request", async (t) => {
  const { gateway, seen } = await startWatched(t);
  const smuggled = `GET / HTTP/1.1\r\n${HOST}\r\n`;
  const cases: Readonly<Record<string, readonly [lines: string, body: string]>> = {
    "two lengths": ["Content-Length: 3\r\nContent-Length: 4\r\n", "abc"],
    "the same length twice": ["Content-Length: 3\r\nContent-Length: 3\r\n", "abc"],
    "a list of lengths": ["Content-Length: 3, 3\r\n", "abc"],
    "an empty length": ["Content-Length:\r\n", ""],
    "a length with a sign": ["Content-Length: +3\r\n", "abc"],
    "a negative length": ["Content-Length: -3\r\n", "abc"],
    "a hexadecimal length": ["Content-Length: 0x3\r\n", "abc"],
    "a length beyond all numbers": ["Content-Length: 99999999999999999999\r\n", "abc"],
    "a length beside chunks": ["Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    "a length beside an empty coding": ["Content-Length: 3\r\nTransfer-Encoding:\r\n", "abc"],
    "a coding before chunked": ["Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"],
    "a coding after chunked": ["Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"],
    "another coding": ["Transfer-Encoding: identity\r\n", "0\r\n\r\n"],
    "two codings": ["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"],
    "an empty coding": ["Transfer-Encoding:\r\n", ""],
  };
  for (const path of ["/", "/nowhere"]) {
    for (const [name, [lines, body]] of Object.entries(cases)) {
      const client = await send(gateway, post(lines, body).replace("/", path));
      await client.until(/^HTTP\/1\.1 400 [\s\S]*\r\n\r\n/);
      client.send(smuggled);
      await client.untilClosed();
      assert.equal(client.text.match(/HTTP\/1\.1 /g)?.length, 1, name);
    }
  }
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.deepEqual([seen, gateway.faults], [[], []]);
});

test("a name that is empty hides the headers behind it: no body is seen, and no second request", async (t) => {
  // The library stops there. A body that was meant is then taken for a request that comes too early.
  const { gateway, seen } = await startWatched(t);
  const client = await send(gateway, post(": a\r\nContent-Length: 34\r\n", `GET / HTTP/1.1\r\n${HOST}\r\n`));
  await client.untilClosed();
  assert.deepEqual(
    seen.map(({ method, headers }) => [method, headers.has("content-length")]),
    [["POST", false]],
  );
});

test("a head of 15 KiB is served in one piece or in many, one over 16 KiB gets 431", async (t) => {
  const { gateway, seen } = await startWatched(t);
  const large = get(`X: ${"a".repeat(15 * KIB)}\r\n`);
  assert.equal(await answerTo(gateway, large), "200");
  const client = await gateway.dial();
  client.socket.setNoDelay(true);
  for (let at = 0; at < large.length; at += 1000) {
    client.send(large.slice(at, at + 1000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await client.until(/\r\n\r\nok$/);
  client.socket.destroy();
  assert.equal(seen.length, 2);
  assert.equal(seen[1]?.headers.get("x")?.length, 15 * KIB);

  const long = "a".repeat(17 * KIB);
  assert.equal(await answerTo(gateway, get(`X: ${long}\r\n`)), "431");
  assert.equal(await answerTo(gateway, `GET /${long} HTTP/1.1\r\n${HOST}\r\n`), "431");
  assert.equal(await answerTo(gateway, get("X: a\r\n".repeat(97))), "200");
  assert.equal(await answerTo(gateway, get("X: a\r\n".repeat(98))), "431");
  // More than the socket takes: whether the answer or the reset arrives first is the network's choice.
  assert.match(await answerTo(gateway, get(`X: ${"a".repeat(8 * KIB * KIB)}\r\n`)), /^(431|cut)$/);
  assert.equal(seen.length, 3);
});

test("a credential of 8 KiB reaches the guard, a longer one gets 431 and says why", async (t) => {
  const { gateway, seen } = await startWatched(t);
  assert.equal(await answerTo(gateway, get(`Authorization: ${"a".repeat(8 * KIB)}\r\n`)), "200");
  for (const path of ["/", "/nowhere"]) {
    const client = await send(
      gateway,
      get(`Authorization: ${"a".repeat(8 * KIB + 1)}\r\n`).replace("/", path),
    );
    await client.until(/^HTTP\/1\.1 431 [\s\S]*"code":"headers_too_large".*"limitBytes":8192/);
    await client.untilClosed();
  }
  assert.equal(seen.length, 1);
});

test("a second request before the first is answered costs the connection, and is never served", async (t) => {
  const { gateway, seen } = await startWatched(t);
  const client = await send(gateway, get("X: first\r\n") + get("X: second\r\n"));
  await client.untilClosed();
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.equal(client.text, "");
  assert.ok(seen.every(({ headers }) => headers.get("x") === "first"));
  // One after the other they are served.
  const patient = await send(gateway, get(""));
  await patient.until(/ok$/);
  patient.send(get(""));
  await patient.until(/ok[\s\S]*ok$/);
  patient.socket.destroy();
});

test("unknown methods and addresses are answered", async (t) => {
  const { gateway } = await startWatched(t);
  assert.equal(await answerTo(gateway, `BREW / HTTP/1.1\r\n${HOST}\r\n`), "405");
  assert.equal(await answerTo(gateway, `get / HTTP/1.1\r\n${HOST}\r\n`), "405");
  assert.equal(await answerTo(gateway, `GET /nowhere HTTP/1.1\r\n${HOST}\r\n`), "404");
  assert.equal(await answerTo(gateway, `BREW /nowhere HTTP/1.1\r\n${HOST}\r\n`), "404");
  assert.equal(await answerTo(gateway, `GET /\xfc\x80 HTTP/1.1\r\n${HOST}\r\n`), "404");
});
