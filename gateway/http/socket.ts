/**
 * One WebSocket of an agent, from open to close.
 *
 * | state     | what holds                                                    | leaves by                            |
 * | --------- | ------------------------------------------------------------- | ------------------------------------ |
 * | `open`    | frames go both ways                                           | `close()`, a fault, the peer, a drop |
 * | `closing` | a close was asked for; frames received are thrown away        | the next flush, the peer             |
 * | `closed`  | the library has taken the socket back, the handler was told   | never                                |
 *
 * Nothing is written but in {@link GatewaySocket.flush}, which the outbox calls at the end of the turn.
 */

import { LegacyGpuError } from "@legacygpu/shared/errors";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import type { Socket, SocketHandler, WriteResult } from "./exchange.ts";
import type { NativeSocket } from "./native.ts";
import type { Outbox, Sender } from "./outbox.ts";

/** Frames over this are dropped and the socket with them; only a peer that has stopped reading gets there. */
export const MAX_BUFFERED_BYTES = 1024 * 1024;

/** A full socket is writable again from here on. */
const ROOM_BELOW_BYTES = 64 * 1024;

/** Pings and pongs per second. Heartbeats need a handful; each ping costs an answer, which the library sends by itself. */
const MAX_CONTROL_FRAMES = 100;
const CONTROL_WINDOW_MS = 1000;

const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_POLICY = 1008;
const CLOSE_INTERNAL = 1011;
/** The reason of a close frame has 123 bytes. */
const MAX_REASON_BYTES = 123;

export interface SocketHost {
  readonly outbox: Outbox;
  socketClosed(socket: GatewaySocket): void;
  onFault(error: unknown): void;
}

export class GatewaySocket implements Socket, Sender {
  readonly remoteAddress: string;
  readonly #host: SocketHost;
  readonly #native: NativeSocket;
  #handler: SocketHandler | undefined;
  #state: "open" | "closing" | "closed" = "open";
  #turn: "idle" | "queued" = "idle";
  #flow: "clear" | "full" | "dropped" = "clear";
  #pings: Uint8Array[] = [];
  #controlFrames = 0;
  #controlWindowEndsAtMs = 0;
  #farewell = { code: CLOSE_INTERNAL, reason: "" };

  constructor(host: SocketHost, native: NativeSocket, remoteAddress: string) {
    this.#host = host;
    this.#native = native;
    this.remoteAddress = remoteAddress;
  }

  /** Calls `open` once, as the handler of everything that follows. */
  start(open: (socket: Socket) => SocketHandler): void {
    this.#guarded(() => {
      this.#handler = open(this);
    });
  }

  get bufferedBytes(): number {
    return this.#state === "closed" ? 0 : this.#native.getBufferedAmount();
  }

  wake(): void {
    if (this.#turn === "queued" || this.#state === "closed") return;
    this.#turn = "queued";
    this.#host.outbox.add(this);
  }

  ping(payload: Uint8Array): void {
    if (this.#state !== "open") return;
    this.#pings.push(payload);
    this.wake();
  }

  close(code: number, reason: string): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    this.#farewell = { code, reason: Buffer.from(reason).subarray(0, MAX_REASON_BYTES).toString() };
    this.wake();
  }

  flush(): void {
    this.#turn = "idle";
    if (this.#state === "closed") return;
    this.#native.cork(() => this.#guarded(() => this.#writeAll()));
    if (this.#flow === "dropped") this.#native.close();
    else if (this.#isClosing()) this.#native.end(this.#farewell.code, this.#farewell.reason);
  }

  // What the library reports

  message(bytes: ArrayBuffer, isBinary: boolean): void {
    if (this.#state !== "open") return;
    if (!isBinary) this.close(CLOSE_UNSUPPORTED_DATA, "Only binary messages are understood here.");
    else this.#guarded(() => this.#handler?.message(Buffer.from(new Uint8Array(bytes))));
  }

  /** The library has answered it already. */
  pinged(): void {
    this.#countControlFrame();
  }

  pong(payload: ArrayBuffer): void {
    this.#countControlFrame();
    if (this.#state !== "open") return;
    this.#guarded(() => this.#handler?.pong(Buffer.from(new Uint8Array(payload))));
  }

  drained(): void {
    if (this.#state !== "open" || this.#flow !== "full" || this.bufferedBytes > ROOM_BELOW_BYTES) return;
    this.#flow = "clear";
    this.#guarded(() => this.#handler?.writable());
  }

  closed(code: number, reason: string): void {
    this.#state = "closed";
    this.#pings = [];
    this.#host.socketClosed(this);
    this.#guarded(() => this.#handler?.closed(code, reason));
  }

  // Inside

  /** The state as it is now; the compiler would go on believing what was tested before a call. */
  #isClosing(): boolean {
    return this.#state === "closing";
  }

  #countControlFrame(): void {
    const nowMs = performance.now();
    if (nowMs >= this.#controlWindowEndsAtMs) {
      this.#controlWindowEndsAtMs = nowMs + CONTROL_WINDOW_MS;
      this.#controlFrames = 0;
    }
    this.#controlFrames += 1;
    if (this.#controlFrames > MAX_CONTROL_FRAMES) this.close(CLOSE_POLICY, "Too many pings and pongs.");
  }

  #writeAll(): void {
    const pings = this.#pings;
    this.#pings = [];
    for (const payload of pings) this.#native.ping(payload);
    this.#handler?.flush((frame) => this.#write(frame));
  }

  #write(frame: Uint8Array): WriteResult {
    if (this.#state === "closed" || this.#flow === "dropped") return "closed";
    const status = this.#native.send(frame, true, false);
    if (status === 1) return "sent";
    this.#flow = status === 0 ? "full" : "dropped";
    return status === 0 ? "full" : "closed";
  }

  /** A handler that throws loses its socket, not the process. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!isProtocolError(error)) this.#host.onFault(error);
      this.close(closeCodeOf(error), error instanceof LegacyGpuError ? error.message : "Internal error.");
    }
  }
}

function isProtocolError(error: unknown): boolean {
  return closeCodeOf(error) !== CLOSE_INTERNAL;
}

function closeCodeOf(error: unknown): number {
  if (!(error instanceof LegacyGpuError)) return CLOSE_INTERNAL;
  if (error.code === "link_frame_malformed") return CLOSE.malformed;
  if (error.code === "link_frame_too_large") return CLOSE.frameTooLarge;
  return CLOSE_INTERNAL;
}
