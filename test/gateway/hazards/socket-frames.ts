/** WebSockets as bytes: a handshake, frames of a client, and a handler that writes down what it is told. */

import type { Socket, SocketHandler, SocketRoute } from "../../../gateway/http/exchange.ts";
import type { Gateway, RawClient } from "../http-server-fixture.ts";

export const AGENT_PATH = "/agent";
export const SUBPROTOCOL = "legacygpu.test";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

/** The head of a handshake with one header replaced, added, or (when its value is undefined) left out. */
export function handshake(headers: Readonly<Record<string, string | undefined>> = {}): string {
  const all: Record<string, string | undefined> = {
    Host: "localhost",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) =>
    value === undefined ? "" : `${name}: ${value}\r\n`,
  );
  return `GET ${AGENT_PATH} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

export const HANDSHAKE = handshake();

export class Recorder implements SocketHandler {
  readonly socket: Socket;
  readonly messages: Uint8Array[] = [];
  readonly waiting: Uint8Array[] = [];
  pongs = 0;
  ended: { readonly code: number; readonly reason: string } | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
  }
  message(bytes: Uint8Array): void {
    this.messages.push(bytes);
  }
  pong(): void {
    this.pongs += 1;
  }
  flush(write: (frame: Uint8Array) => unknown): void {
    for (const frame of this.waiting.splice(0)) write(frame);
  }
  writable(): void {}
  closed(code: number, reason: string): void {
    this.ended = { code, reason };
  }
}

/** A route whose handlers the test can look at, in the order in which the sockets opened. */
export function recordedRoute(maxFrameBytes: number, recorders: Recorder[]): SocketRoute {
  return {
    pattern: AGENT_PATH,
    subprotocol: SUBPROTOCOL,
    maxFrameBytes,
    guard: () => undefined,
    open: (socket) => {
      const recorder = new Recorder(socket);
      recorders.push(recorder);
      return recorder;
    },
  };
}

export async function openSocket(gateway: Gateway): Promise<RawClient> {
  const client = await gateway.dial();
  client.send(HANDSHAKE);
  await client.until(/^HTTP\/1\.1 101 [\s\S]*\r\n\r\n/);
  client.received = client.received.subarray(client.text.indexOf("\r\n\r\n") + 4);
  return client;
}

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame of a client, with a mask of zeros. */
export function frame(opcode: number, payload: Uint8Array | string, isFinal = true): Buffer {
  const bytes = Buffer.from(payload);
  const length =
    bytes.length < 126 ? [0x80 | bytes.length] : [0x80 | 126, bytes.length >> 8, bytes.length & 0xff];
  return Buffer.concat([Buffer.from([(isFinal ? 0x80 : 0) | opcode, ...length, 0, 0, 0, 0]), bytes]);
}

/** The code of the close frame among short frames of the server. */
export function closeCodeIn(bytes: Buffer): number | undefined {
  for (let at = 0; at + 2 <= bytes.length; at += 2 + (bytes.readUInt8(at + 1) & 0x7f)) {
    const isClose = (bytes.readUInt8(at) & 0x0f) === OP.close;
    if (isClose && at + 4 <= bytes.length) return bytes.readUInt16BE(at + 2);
  }
  return undefined;
}
