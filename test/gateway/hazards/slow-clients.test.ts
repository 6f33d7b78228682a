/** Clients that send so slowly that they would hold a connection for ever. The windows of the library take ten seconds: all at once. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { RawClient, route, startGateway, until } from "../http-server-fixture.ts";

/** The windows of the library are ten seconds, which it counts in steps of four. */
const PATIENCE_MS = 30_000;

const NEVER = "the server to lose its patience";

/** Sends one byte after the other until the server has had enough. */
async function drip(client: RawClient, text: string, everyMs: number): Promise<void> {
  const timer = setInterval(() => client.send("x"), everyMs);
  client.send(text);
  try {
    await until(() => client.state === "closed", NEVER, PATIENCE_MS);
  } finally {
    clearInterval(timer);
  }
}

test("a head or a body that drips, and a connection that says nothing, do not last", async (t) => {
  let handled = 0;
  const handle = () => {
    handled += 1;
    return { status: 200, body: "ok" };
  };
  const gateway = await startGateway(t, {
    routes: [route({ handle }), route({ method: "POST", body: { kind: "buffer", limitBytes: 1e6 }, handle })],
  });
  const plain = await startGateway(t, { tls: undefined, routes: [route({ handle })] });
  const start = { head: "GET / HTTP/1.1\r\nHost: a\r\nX: ", body: "POST / HTTP/1.1\r\nHost: a\r\n" };
  const cases: readonly (readonly [text: string, everyMs: number])[] = [
    ["", 1_000_000],
    [start.head, 500],
    // Not refused at once by the library, but never complete either.
    [`${start.head}a\r\n folded\r\n\r\n`, 1_000_000],
    [`${start.body}Content-Length: 100000\r\n\r\n`, 500],
    [`${start.body}Transfer-Encoding: chunked\r\n\r\nff\r\n`, 500],
  ];
  const dripped = [gateway, plain].flatMap((server) =>
    cases.map(async ([text, everyMs]) => {
      const client = await server.dial();
      await drip(client, text, everyMs);
      assert.doesNotMatch(client.text, /HTTP\/1\.1 200/);
    }),
  );
  // Before its TLS handshake, of which it sends nothing or the beginning.
  const unproven = ["", "\x16\x03\x01"].map(async (text) => {
    await drip(await RawClient.dial(gateway.server.port, undefined), text, 1_000_000);
  });
  await Promise.all([...dripped, ...unproven]);
  await until(() => gateway.server.inFlight + plain.server.inFlight === 0, "all requests to be over");
  assert.equal(handled, 0);
});
