/** What a hostile peer can do with a WebSocket, and with the handshake for one. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { type RawClient, startGateway, until } from "../http-server-fixture.ts";
import {
  closeCodeIn,
  frame,
  handshake,
  OP,
  openSocket,
  type Recorder,
  recordedRoute,
} from "./socket-frames.ts";

const LIMIT_BYTES = 64 * 1024;

async function startRecorder(t: TestContext) {
  const recorders: Recorder[] = [];
  const gateway = await startGateway(t, { tls: undefined, sockets: [recordedRoute(LIMIT_BYTES, recorders)] });
  /** A socket that has just been opened, seen from both ends. */
  const open = async () => {
    const client = await openSocket(gateway);
    const recorder = recorders.at(-1);
    assert.ok(recorder);
    return { client, recorder };
  };
  return { gateway, recorders, open };
}

async function untilEnded(recorder: Recorder): Promise<number | undefined> {
  await until(() => recorder.ended !== undefined, "the handler to be told of the end");
  return recorder.ended?.code;
}

test("a handshake that is not one of an agent is refused with a reason, and its connection closed", async (t) => {
  const { gateway, recorders } = await startRecorder(t);
  const refused: readonly [status: number, head: string][] = [
    [403, handshake({ Origin: "https://localhost" })],
    [403, handshake({ Origin: "null" })],
    [400, handshake({ "Sec-WebSocket-Version": "12" })],
    [400, handshake({ "Sec-WebSocket-Version": undefined })],
    [400, handshake({ "Sec-WebSocket-Protocol": "legacygpu.test2" })],
    [400, handshake({ "Sec-WebSocket-Protocol": undefined })],
    [400, handshake({ "Content-Length": "3" })],
    [400, handshake({ "Transfer-Encoding": "chunked" })],
    [400, handshake({ Host: "a, b" })],
    [431, handshake({ Authorization: `Bearer ${"a".repeat(9000)}` })],
    [400, handshake({ "Sec-WebSocket-Key": undefined })],
  ];
  for (const [status, head] of refused) {
    const client = await gateway.dial();
    client.send(head);
    await client.until(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*\\r\\n\\r\\n`));
    if (head.includes("Sec-WebSocket-Key")) await client.untilClosed();
    client.socket.destroy();
  }
  await until(() => gateway.server.inFlight === 0, "all requests to be over");
  assert.deepEqual([recorders, gateway.faults], [[], []]);
});

test("a guard that refuses a handshake leaves no socket behind", async (t) => {
  const recorders: Recorder[] = [];
  const guard = (): never => {
    throw fail("rate_limited", "Too fast.", { retryAfterSeconds: 3 });
  };
  const gateway = await startGateway(t, { sockets: [{ ...recordedRoute(100, recorders), guard }] });
  const client = await gateway.dial();
  client.send(handshake());
  await client.until(/^HTTP\/1\.1 429 [\s\S]*rate_limited/);
  await client.untilClosed();
  assert.equal(gateway.server.inFlight, 0);
  assert.deepEqual(recorders, []);
});

test("compression is offered in vain, and a compressed frame ends the socket", async (t) => {
  const { gateway, recorders } = await startRecorder(t);
  const client = await gateway.dial();
  client.send(handshake({ "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits" }));
  await client.until(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\n/);
  assert.doesNotMatch(client.text, /Sec-WebSocket-Extensions/i);
  const compressed = frame(OP.binary, "abc");
  compressed.writeUInt8(compressed.readUInt8(0) | 0x40, 0);
  client.send(compressed);
  await client.untilClosed();
  assert.equal(recorders[0]?.messages.length, 0);
  assert.equal(recorders[0]?.ended?.code, 1006);
});

test("a frame over the limit closes the socket before it is complete, and the handler is told", async (t) => {
  const { open } = await startRecorder(t);
  const exact = await open();
  exact.client.send(frame(OP.binary, Buffer.alloc(LIMIT_BYTES - 1)));
  await until(() => exact.recorder.messages.length === 1, "the frame");
  exact.client.socket.destroy();
  for (const announced of [LIMIT_BYTES + 1, 2 ** 31, 2 ** 40]) {
    const { client, recorder } = await open();
    const head = Buffer.alloc(14);
    head.writeUInt8(0x82, 0);
    head.writeUInt8(0x80 | 127, 1);
    head.writeBigUInt64BE(BigInt(announced), 2);
    client.send(Buffer.concat([head, Buffer.from("abc")]));
    await client.untilClosed();
    assert.equal(await untilEnded(recorder), 1006);
    assert.equal(recorder.messages.length, 0);
  }
});

test("a message in fragments without end is cut off at the limit of a frame", async (t) => {
  const { open } = await startRecorder(t);
  const { client, recorder } = await open();
  const one = frame(OP.continuation, "x", false);
  client.send(frame(OP.binary, "x", false));
  client.send(Buffer.alloc(one.length * (LIMIT_BYTES + 10), one));
  await client.untilClosed();
  assert.equal(await untilEnded(recorder), 1006);
  assert.equal(recorder.messages.length, 0);
});

test("a million empty fragments are one message, and others are served meanwhile", async (t) => {
  const { gateway, open } = await startRecorder(t);
  const { client, recorder } = await open();
  const empty = frame(OP.continuation, "", false);
  client.send(frame(OP.binary, "a", false));
  client.send(Buffer.alloc(empty.length * 1_000_000, empty));
  client.send(frame(OP.continuation, "b"));
  assert.equal((await gateway.fetch("/nowhere")).status, 404);
  await until(() => recorder.messages.length === 1, "the message");
  assert.equal(Buffer.from(recorder.messages[0] ?? []).toString(), "ab");
  client.socket.destroy();
});

test("a flood of pings or pongs is ended with 1008, some of them are not", async (t) => {
  const { open } = await startRecorder(t);
  for (const opcode of [OP.ping, OP.pong]) {
    const { client, recorder } = await open();
    const few = frame(opcode, "beat");
    client.send(Buffer.alloc(few.length * 50, few));
    client.send(frame(OP.binary, "still here"));
    await until(() => recorder.messages.length === 1, "a message after some of them");
    client.send(Buffer.alloc(few.length * 100_000, few));
    assert.equal(await untilEnded(recorder), 1008);
    await client.untilClosed();
    assert.ok(recorder.pongs <= 101);
    // Pings are answered by the library as they come: those answers are in front of the close frame, as far as it got out.
    assert.ok([1008, undefined].includes(closeCodeIn(client.received)));
  }
});

test("a peer that sends pings and reads no answer is cut off", async (t) => {
  const { open } = await startRecorder(t);
  const { client, recorder } = await open();
  client.socket.pause();
  const ping = frame(OP.ping, "x".repeat(125));
  client.send(Buffer.alloc(ping.length * 50_000, ping));
  const code = await untilEnded(recorder);
  assert.ok(code === 1008 || code === 1006, `ended with ${code}`);
  client.socket.destroy();
});

test("frames that break the protocol end the socket, and the handler is told", async (t) => {
  const { open } = await startRecorder(t);
  const broken: Readonly<Record<string, Buffer>> = {
    "an unknown kind of frame": frame(3, "abc"),
    "a continuation of nothing": frame(OP.continuation, "abc"),
    "a ping in fragments": frame(OP.ping, "abc", false),
    "a ping over 125 bytes": frame(OP.ping, "x".repeat(126)),
    "a reserved kind of control frame": frame(11, ""),
    "text that is not UTF-8": frame(OP.text, Buffer.from([0xff, 0xfe])),
    HTTP: Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
  };
  for (const [name, bytes] of Object.entries(broken)) {
    const { client, recorder } = await open();
    client.send(bytes);
    await client.untilClosed();
    assert.equal(await untilEnded(recorder), 1006, name);
    assert.equal(recorder.messages.length, 0, name);
  }
});

test("a message that begins inside of another continues it, within the same limit", async (t) => {
  // The library does not mind; whatever comes out has to pass the schema of the link anyway.
  const { open } = await startRecorder(t);
  const { client, recorder } = await open();
  client.send(Buffer.concat([frame(OP.binary, "a", false), frame(OP.binary, "b")]));
  await until(() => recorder.messages.length === 1, "the message");
  assert.equal(Buffer.from(recorder.messages[0] ?? []).toString(), "ab");
  const half = Buffer.alloc(LIMIT_BYTES / 2 + 1);
  client.send(Buffer.concat([frame(OP.binary, half, false), frame(OP.binary, half)]));
  assert.equal(await untilEnded(recorder), 1006);
  assert.equal(recorder.messages.length, 1);
});

test("a text message is refused with 1003", async (t) => {
  const { open } = await startRecorder(t);
  const { client, recorder } = await open();
  client.send(frame(OP.text, "hello"));
  assert.equal(await untilEnded(recorder), 1003);
  await client.untilClosed();
  assert.equal(closeCodeIn(client.received), 1003);
});

test("a frame that a handler keeps is still what arrived", async (t) => {
  const { open } = await startRecorder(t);
  const { client, recorder } = await open();
  const texts = Array.from({ length: 100 }, (_, index) => `frame ${index} ${"x".repeat(index)}`);
  for (const text of texts) client.send(frame(OP.binary, text));
  await until(() => recorder.messages.length === texts.length, "all frames");
  assert.deepEqual(
    recorder.messages.map((bytes) => Buffer.from(bytes).toString()),
    texts,
  );
  client.socket.destroy();
});

test("a peer that reads nothing is cut off at 1 MiB", async (t) => {
  const { open } = await startRecorder(t);
  const { client, recorder } = await open();
  client.socket.pause();
  let mostBytes = 0;
  await until(() => {
    mostBytes = Math.max(mostBytes, recorder.socket.bufferedBytes);
    for (let index = 0; index < 16; index += 1) recorder.waiting.push(Buffer.alloc(60_000));
    recorder.socket.wake();
    return recorder.ended !== undefined;
  }, "the socket to be cut");
  assert.equal(recorder.ended?.code, 1006);
  assert.ok(mostBytes < 1.2 * 1024 * 1024, `${mostBytes} bytes were buffered`);
  client.socket.destroy();
});

test("a peer that hangs up in the middle of a frame is forgotten", async (t) => {
  const { open, recorders } = await startRecorder(t);
  const bytes = Buffer.concat([frame(OP.binary, "abc"), frame(OP.ping, "x"), frame(OP.close, "")]);
  const clients: RawClient[] = [];
  for (const at of bytes.keys()) {
    const { client } = await open();
    client.send(bytes.subarray(0, at + 1));
    clients.push(client);
  }
  for (const client of clients) client.socket.destroy();
  for (const recorder of recorders) await untilEnded(recorder);
  assert.equal(recorders.length, bytes.length);
});
