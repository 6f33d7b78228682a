/** Clients that are gone after any byte of a request, of every kind there is. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { TLSSocket } from "node:tls";
import type { Response, Route } from "../../../gateway/http/exchange.ts";
import { type RawClient, route, startGateway, until } from "../http-server-fixture.ts";
import { HANDSHAKE, type Recorder, recordedRoute } from "./socket-frames.ts";

/** So many clients at a time. */
const CLIENTS = 32;

const requests = {
  GET: "GET /get?x=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer abc\r\n\r\n",
  "POST of JSON":
    'POST /json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"a":[1,2,3]} ',
  "POST in chunks":
    "POST /json HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n2\r\n67\r\n0\r\n\r\n",
  "PUT of a stream":
    "PUT /stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n12345678901234567890",
  "PUT that is refused":
    "PUT /refused HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n12345678901234567890",
  "WebSocket handshake": `${HANDSHAKE}\x82\x83\0\0\0\0abc`,
} as const;

/** Every route twice: with a guard that answers at once, and with one that takes its time. */
function routes(visits: { in: number; out: number }): Route[] {
  const soon = () => new Promise((resolve) => setImmediate(resolve));
  const parts: Partial<Route>[] = [
    { pattern: "/get" },
    { method: "POST", pattern: "/json", body: { kind: "buffer", limitBytes: 100 } },
    { method: "PUT", pattern: "/refused", body: { kind: "buffer", limitBytes: 1 } },
    {
      method: "PUT",
      pattern: "/stream",
      body: { kind: "stream", limitBytes: 100 },
      handle: async ({ stream }): Promise<Response> => {
        for await (const _ of stream) await soon();
        return { status: 200, body: "ok" };
      },
    },
  ];
  const finished = () => {
    visits.out += 1;
  };
  const letIn = () => {
    visits.in += 1;
  };
  return parts.flatMap(({ pattern = "/", ...more }) => [
    route({ ...more, pattern, guard: letIn, finished }),
    route({
      ...more,
      pattern: `/later${pattern}`,
      guard: async () => {
        await soon();
        letIn();
      },
      finished,
    }),
  ]);
}

async function leave(client: RawClient, how: number): Promise<void> {
  if (how === 0) client.socket.end();
  else if (how === 1 || client.socket instanceof TLSSocket) client.socket.destroy();
  else client.socket.resetAndDestroy();
  await client.untilClosed();
}

async function abortEverywhere(t: TestContext, withTls: boolean): Promise<void> {
  const visits = { in: 0, out: 0 };
  const sockets: Recorder[] = [];
  const gateway = await startGateway(t, {
    ...(withTls ? {} : { tls: undefined }),
    routes: routes(visits),
    sockets: [recordedRoute(1000, sockets)],
  });
  // With TLS each connection costs a thousand times a byte: there, only some of the places.
  const step = withTls ? 7 : 1;
  const places = Object.values(requests).flatMap((text) =>
    [text, text.replace(" /", " /later/")].flatMap((variant) => {
      const bytes = Buffer.from(variant, "latin1");
      return Array.from({ length: Math.ceil(bytes.length / step) }, (_, index) =>
        bytes.subarray(0, 1 + index * step),
      );
    }),
  );
  assert.ok(places.length > (withTls ? 150 : 1000));
  let next = 0;
  const leaveEach = async (): Promise<void> => {
    for (let at = next++; at < places.length; at = next++) {
      const client = await gateway.dial();
      client.send(places[at] ?? "");
      if (at % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      await leave(client, at % 3);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, leaveEach));
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  await until(() => visits.in === visits.out, "every visit to end");
  await until(() => sockets.every(({ ended }) => ended !== undefined), "every socket to be closed");
  assert.ok(visits.in > 0);
  assert.deepEqual(gateway.faults, []);

  const body = randomBytes(50).toString("hex");
  assert.equal((await gateway.fetch("/json", { method: "POST", body })).status, 200);
}

test("clients that hang up at any byte of any kind of request do no harm", (t) => abortEverywhere(t, false));

test("clients that hang up at many bytes of a request over TLS do no harm", (t) => abortEverywhere(t, true));

test("clients that hang up at any byte of an answer do no harm", async (t) => {
  const answer = "x".repeat(300_000);
  let out = 0;
  const finished = () => {
    out += 1;
  };
  const chunks = async function* () {
    for (let at = 0; at < answer.length; at += 10_000) yield answer.slice(at, at + 10_000);
  };
  const gateway = await startGateway(t, {
    routes: [
      route({ pattern: "/whole", handle: () => ({ status: 200, body: answer }), finished }),
      route({ pattern: "/chunks", handle: () => ({ status: 200, body: { chunks: chunks() } }), finished }),
    ],
  });
  let asked = 0;
  for (const path of ["/whole", "/chunks"]) {
    for (const bytes of [1, 100, 20_000, 200_000]) {
      const client = await gateway.dial();
      client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
      asked += 1;
      await until(() => client.received.length >= bytes, "the beginning of the answer");
      await leave(client, 2);
    }
  }
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.equal(out, asked);
  assert.deepEqual(gateway.faults, []);
});
