import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import type { Socket, SocketHandler, SocketRoute, WriteResult } from "../../gateway/http/exchange.ts";
import { type Gateway, type RawClient, startGateway, until } from "./http-server-fixture.ts";

const FRAME_BYTES = 64 * 1024;

/** Answers every frame with itself. */
class Echo implements SocketHandler {
  readonly socket: Socket;
  readonly waiting: Uint8Array[] = [];
  readonly results: WriteResult[] = [];
  readonly pongs: string[] = [];
  writableCalls = 0;
  ended: { code: number; reason: string } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
  }
  message(bytes: Uint8Array): void {
    this.waiting.push(bytes);
    this.socket.wake();
  }
  pong(payload: Uint8Array): void {
    this.pongs.push(Buffer.from(payload).toString());
  }
  flush(write: (frame: Uint8Array) => WriteResult): void {
    for (const frame of this.waiting.splice(0)) this.results.push(write(frame));
  }
  writable(): void {
    this.writableCalls += 1;
  }
  closed(code: number, reason: string): void {
    this.ended = { code, reason };
  }
}

function socketRoute(parts: Partial<SocketRoute> = {}): SocketRoute {
  return {
    pattern: "/agent",
    subprotocol: "legacygpu.test",
    maxFrameBytes: FRAME_BYTES,
    guard: () => undefined,
    open: (socket) => new Echo(socket),
    ...parts,
  };
}

/** A gateway whose only socket route makes handlers that the test can look at. */
async function startEcho(t: Parameters<typeof startGateway>[0], make = (socket: Socket) => new Echo(socket)) {
  const handlers: Echo[] = [];
  const open = (socket: Socket): Echo => {
    const handler = make(socket);
    handlers.push(handler);
    return handler;
  };
  const gateway = await startGateway(t, { sockets: [socketRoute({ open })] });
  return { gateway, handlers };
}

const HANDSHAKE = {
  Host: "localhost",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
  "Sec-WebSocket-Protocol": "other, legacygpu.test",
};

async function handshake(gateway: Gateway, headers: Record<string, string> = {}): Promise<RawClient> {
  const client = await gateway.dial();
  const lines = Object.entries({ ...HANDSHAKE, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(`GET /agent HTTP/1.1\r\n${lines.join("")}\r\n`);
  await client.until(/\r\n\r\n/);
  return client;
}

async function openSocket(gateway: Gateway): Promise<RawClient> {
  const client = await handshake(gateway);
  assert.match(client.text, /^HTTP\/1\.1 101 /);
  assert.match(client.text, /Sec-WebSocket-Protocol: legacygpu\.test\r\n/);
  client.received = client.received.subarray(client.text.indexOf("\r\n\r\n") + 4);
  return client;
}

const OP = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame of a client, with a mask of zeros. */
function frame(opcode: number, payload: Buffer): Buffer {
  const length =
    payload.length < 126 ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 0xff];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...length, 0, 0, 0, 0]), payload]);
}

/** Frames of the server: short ones and those with a 16-bit or 64-bit length. */
function parseFrames(bytes: Buffer): { opcode: number; payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = bytes.readUInt8(at + 1) & 0x7f;
    const headBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (at + headBytes > bytes.length) break;
    const size =
      short === 127
        ? Number(bytes.readBigUInt64BE(at + 2))
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : short;
    if (at + headBytes + size > bytes.length) break;
    const payload = bytes.subarray(at + headBytes, at + headBytes + size);
    frames.push({ opcode: bytes.readUInt8(at) & 0x0f, payload });
    at += headBytes + size;
  }
  return frames;
}

async function closeFrame(client: RawClient): Promise<{ code: number; reason: string }> {
  let payload: Buffer | undefined;
  await until(() => {
    payload = parseFrames(client.received).find(({ opcode }) => opcode === OP.close)?.payload;
    return payload !== undefined;
  }, "a close frame");
  assert.ok(payload);
  return { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() };
}

test("frames are echoed, one connection after the other", async (t) => {
  const { gateway, handlers } = await startEcho(t);
  for (const text of ["first", "second"]) {
    const client = await openSocket(gateway);
    client.send(frame(OP.binary, Buffer.from(text)));
    await until(() => parseFrames(client.received).length === 1, "the echo");
    assert.equal(parseFrames(client.received)[0]?.payload.toString(), text);
    client.socket.destroy();
  }
  await until(() => handlers.every(({ ended }) => ended?.code === 1006), "both sockets to be closed");
});

test("more than 512 KiB of frames waiting at once, each of them answered, loses nothing", async (t) => {
  // With `write` called from `message` instead of from the outbox, the library drops what it has read and not yet delivered:
  // 15 of these frames come back, and the connection ends with 1006.
  const { gateway, handlers } = await startEcho(t);
  const client = await openSocket(gateway);
  const count = 256;
  const frames = Array.from({ length: count }, (_, index) => {
    const payload = Buffer.alloc(16 * 1024);
    payload.writeUInt32BE(index);
    return frame(OP.binary, payload);
  });
  client.send(Buffer.concat(frames));
  await until(() => parseFrames(client.received).length === count || client.state === "closed", "all echoes");
  const order = parseFrames(client.received).map(({ payload }) => payload.readUInt32BE(0));
  assert.deepEqual(
    order,
    Array.from({ length: count }, (_, index) => index),
  );
  assert.equal(handlers[0]?.ended, undefined);
  client.socket.destroy();
});

test("handshakes are refused with a reason", async (t) => {
  const guard = (): never => {
    throw fail("auth_invalid");
  };
  const gateway = await startGateway(t, {
    sockets: [socketRoute({ guard }), socketRoute({ pattern: "/open" })],
  });
  const cases = [
    { headers: { Origin: "https://example.com" }, status: 403, code: "auth_forbidden" },
    { headers: { "Sec-WebSocket-Protocol": "other" }, status: 400, code: "request_invalid" },
    { headers: { "Sec-WebSocket-Version": "8" }, status: 400, code: "request_invalid" },
    { headers: {}, status: 401, code: "auth_invalid" },
  ];
  for (const { headers, status, code } of cases) {
    const client = await handshake(gateway, headers);
    await client.until(/\}$/);
    assert.match(client.text, new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.match(client.text, /X-Request-Id: \w+\r\n/);
    assert.match(client.text, new RegExp(`"code":"${code}"`));
    client.socket.destroy();
  }
  const plain = await gateway.fetch("/open");
  assert.equal(plain.status, 400);
  assert.match(plain.text, /WebSocket handshake/);
});

test("a text message, a frame over the limit and a handler that throws each cost one socket", async (t) => {
  const { gateway, handlers } = await startEcho(t, (socket) => {
    const handler = new Echo(socket);
    handler.message = (bytes) => {
      const text = Buffer.from(bytes).toString();
      if (text === "bug") throw new Error("a bug");
      throw fail(text === "large" ? "link_frame_too_large" : "link_frame_malformed", `${text} seen`);
    };
    return handler;
  });
  const cases = [
    { sent: frame(OP.text, Buffer.from("text")), code: 1003, reason: /binary/ },
    { sent: frame(OP.binary, Buffer.from("bug")), code: 1011, reason: /^Internal error/ },
    { sent: frame(OP.binary, Buffer.from("odd")), code: 4400, reason: /odd seen/ },
    { sent: frame(OP.binary, Buffer.from("large")), code: 4413, reason: /large seen/ },
  ];
  for (const { sent, code, reason } of cases) {
    const client = await openSocket(gateway);
    client.send(sent);
    const close = await closeFrame(client);
    assert.equal(close.code, code);
    assert.match(close.reason, reason);
    await client.untilClosed();
    assert.equal(handlers.at(-1)?.ended?.code, code);
  }
  const tooLarge = await openSocket(gateway);
  tooLarge.send(Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 2, 0, 0]), Buffer.alloc(4)]));
  await tooLarge.untilClosed();
  assert.deepEqual(gateway.faults.map(String), ["Error: a bug"]);
});

test("pings go out with the turn and their echo comes back", async (t) => {
  const { gateway, handlers } = await startEcho(t);
  const client = await openSocket(gateway);
  handlers[0]?.socket.ping(Buffer.from("beat"));
  await until(() => parseFrames(client.received)[0]?.opcode === OP.ping, "a ping");
  assert.equal(parseFrames(client.received)[0]?.payload.toString(), "beat");
  client.send(frame(OP.pong, Buffer.from("beat")));
  await until(() => handlers[0]?.pongs.length === 1, "the pong");
  assert.deepEqual(handlers[0]?.pongs, ["beat"]);
  client.socket.destroy();
});

test("what was queued before close() arrives before the close frame, and nothing is sent after it", async (t) => {
  const { gateway, handlers } = await startEcho(t);
  const client = await openSocket(gateway);
  const [handler] = handlers;
  assert.ok(handler);
  handler.waiting.push(Buffer.alloc(40_000, 1), Buffer.from("last"));
  handler.socket.close(4410, "replaced");
  handler.socket.close(1000, "too late to change");
  assert.deepEqual(await closeFrame(client), { code: 4410, reason: "replaced" });
  assert.deepEqual(
    parseFrames(client.received).map(({ payload }) => payload.length),
    [40_000, 4, 2 + "replaced".length],
  );
  await until(() => handler.ended !== undefined, "closed() to be called");
  handler.waiting.push(Buffer.from("never"));
  handler.socket.wake();
  handler.socket.ping(Buffer.from("never"));
  assert.equal(handler.socket.bufferedBytes, 0);
  await client.untilClosed();
  assert.deepEqual(gateway.faults, []);
});

test("a slow reader is told to be full, then writable, and loses nothing", async (t) => {
  const { gateway, handlers } = await startEcho(t);
  const client = await openSocket(gateway);
  const [handler] = handlers;
  assert.ok(handler);
  client.socket.pause();
  let sent = 0;
  await until(() => {
    if (handler.results.at(-1) === "full") return true;
    handler.waiting.push(Buffer.alloc(60_000));
    handler.socket.wake();
    sent += 1;
    return false;
  }, "the socket to be full");
  assert.ok(handler.socket.bufferedBytes > 0);
  assert.equal(handler.writableCalls, 0);
  client.socket.resume();
  await until(() => handler.writableCalls === 1, "writable()");
  await until(() => parseFrames(client.received).length === handler.results.length, "every frame");
  assert.ok(handler.results.length >= sent - 1);
  assert.ok(!handler.results.includes("closed"));
  client.socket.destroy();
});

test("a reader that has stopped is cut off at 1 MiB, and what it was sent is bounded", async (t) => {
  const { gateway, handlers } = await startEcho(t);
  const client = await openSocket(gateway);
  const [handler] = handlers;
  assert.ok(handler);
  client.socket.pause();
  let most = 0;
  await until(() => {
    most = Math.max(most, handler.socket.bufferedBytes);
    for (let index = 0; index < 8; index += 1) handler.waiting.push(Buffer.alloc(60_000));
    handler.socket.wake();
    return handler.ended !== undefined;
  }, "the socket to be cut");
  assert.equal(handler.ended?.code, 1006);
  assert.ok(handler.results.includes("closed"));
  assert.ok(most < 1.2 * 1024 * 1024, `${most} bytes were buffered`);
  client.socket.destroy();
});

test("a graceful close says 1001 to every socket", async (t) => {
  const { gateway, handlers } = await startEcho(t);
  const clients = [await openSocket(gateway), await openSocket(gateway)];
  await gateway.server.close(1000);
  for (const client of clients) {
    assert.equal((await closeFrame(client)).code, 1001);
    await client.untilClosed();
  }
  assert.deepEqual(
    handlers.map(({ ended }) => ended?.code),
    [1001, 1001],
  );
});
