/**
 * One connection of one agent, gateway side.
 *
 * States:
 *   greeting  open, nothing but `hello` is understood; closes itself when none comes
 *   online    the worker is in the registry
 *   closed    the socket is gone or going; whatever arrives is ignored
 *
 * Outgoing messages wait in an outbox until the end of the turn and leave as few frames. At most a window of bytes is on its way without an `ack`; what
 * exceeds it stays here, and `canSend` tells the scheduler to stop. Acks never wait for the window: two full windows would wait for each other.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import { agentFrames, FrameBuilder } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage, MessageOf, ModelRef } from "@legacygpu/shared/protocol/messages";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { ReceiveWindow, SendWindow } from "@legacygpu/shared/protocol/window";
import type { Socket, SocketHandler, WriteResult } from "../http/exchange.ts";
import { type LinkLoad, Pings, type RandomBytes } from "../registry/pings.ts";
import type { WorkerLink } from "../registry/worker.ts";
import { modelKey } from "../tasks/record.ts";

type Hello = MessageOf<AgentMessage, "hello">;
export type WorkerMessage = Exclude<AgentMessage, { type: "hello" | "ack" }>;

/** Small enough not to be noticed, large enough that a busy link never pays for it. */
const ACK_DELAY_MS = 50;

/** What a session tells its owner. */
export interface SessionEvents {
  /** Something has arrived, whatever it is; before anything is done about it. */
  heard(session: Session): void;
  /** The agent has introduced itself. */
  hello(session: Session, hello: Hello): void;
  message(session: Session, message: WorkerMessage): void;
  /** All messages of a frame have been handled, or there is room to send again. */
  idle(session: Session): void;
  pong(session: Session, payload: Uint8Array): void;
  unknownMessages(count: number): void;
  /** @param isFarewell the agent closed the link on purpose: it holds nothing that is still to come. */
  closed(session: Session, cause: string, isFarewell: boolean): void;
}

export interface SessionOptions {
  readonly sessionId: string;
  readonly keyId: string;
  readonly socket: Socket;
  readonly events: SessionEvents;
  readonly clock: Clock;
  /** For the pings. Default: those of the system. */
  readonly randomBytes?: RandomBytes | undefined;
}

export class Session implements SocketHandler, WorkerLink, LinkLoad {
  readonly sessionId: string;
  readonly keyId: string;
  readonly #socket: Socket;
  readonly #events: SessionEvents;
  readonly #clock: Clock;
  readonly #sendWindow = new SendWindow();
  readonly #receiveWindow = new ReceiveWindow();
  readonly #builder = new FrameBuilder<GatewayMessage>();
  readonly #announced = new Set<string>();
  readonly pings: Pings;
  #outbox: GatewayMessage[] = [];
  #frames: Uint8Array[] = [];
  #isSocketFull = false;
  #ackTimer: Timer | undefined;
  #isAckLate = false;
  #state: "greeting" | "online" | "closed" = "greeting";
  #closeCause: string | undefined;
  /** Monotonic time of the latest sign of life. */
  lastHeardMs: number;

  constructor({ sessionId, keyId, socket, events, clock, randomBytes }: SessionOptions) {
    this.sessionId = sessionId;
    this.keyId = keyId;
    this.#socket = socket;
    this.#events = events;
    this.#clock = clock;
    this.lastHeardMs = clock.monotonic();
    this.pings = new Pings({ clock, load: this, randomBytes });
  }

  get state(): "greeting" | "online" | "closed" {
    return this.#state;
  }

  get canSend(): boolean {
    return (
      this.#state === "online" && !this.#isSocketFull && this.#frames.length === 0 && this.#sendWindow.isOpen
    );
  }

  get unacknowledgedBytes(): number {
    return this.#sendWindow.unacknowledgedBytes;
  }

  get receivedBytes(): number {
    return this.#receiveWindow.receivedBytes;
  }

  send(message: GatewayMessage): void {
    if (this.#state === "closed") return;
    // An agent forgets the announcement with the model.
    if (message.type === "unload_model") this.#announced.delete(modelKey(message));
    this.#outbox.push(message);
    this.#socket.wake();
  }

  announce(model: ModelRef, how?: "preload"): void {
    const key = modelKey(model);
    if (how === undefined && this.#announced.has(key)) return;
    this.#announced.add(key);
    this.send({ type: "load_model", model, preload: how === "preload" });
  }

  ping(): void {
    if (this.#state !== "closed") this.#socket.ping(this.pings.next());
  }

  close(code: number, cause: string): void {
    if (this.#state === "closed") return;
    this.#closeCause = cause;
    this.#state = "closed";
    this.#socket.close(code, cause.slice(0, 120));
  }

  // ---- SocketHandler

  message(bytes: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#heard();
    this.#receiveWindow.received(bytes.length);
    try {
      const { messages, unknownCount } = agentFrames.decode(bytes);
      if (unknownCount > 0) this.#events.unknownMessages(unknownCount);
      for (const message of messages) this.#handle(message);
    } catch (error) {
      const known = asLegacyGpuError(error);
      this.close(known.code === "internal" ? 1011 : CLOSE.malformed, known.message);
      throw known;
    }
    if (this.#receiveWindow.isAckDue) this.#socket.wake();
    else this.#ackTimer ??= this.#clock.after(ACK_DELAY_MS, () => this.#ackLate());
    this.#events.idle(this);
  }

  pong(payload: Uint8Array): void {
    this.#heard();
    if (this.#state === "online") this.#events.pong(this, payload);
  }

  flush(write: (frame: Uint8Array) => WriteResult): void {
    this.#addAck(write);
    for (const message of this.#outbox) this.#builder.add(message);
    this.#outbox = [];
    this.#frames.push(...this.#builder.take());
    let sent = 0;
    while (sent < this.#frames.length && this.#sendWindow.isOpen && !this.#isSocketFull) {
      this.#write(this.#frames[sent] as Uint8Array, write);
      sent += 1;
    }
    this.#frames.splice(0, sent);
  }

  writable(): void {
    this.#isSocketFull = false;
    this.#resume();
  }

  closed(code: number, reason: string): void {
    this.#state = "closed";
    this.#ackTimer?.cancel();
    const cause = this.#closeCause ?? describeClose(code, reason);
    this.#events.closed(this, cause, this.#closeCause === undefined && code === CLOSE.normal);
  }

  // ---- inside

  #heard(): void {
    this.lastHeardMs = this.#clock.monotonic();
    this.#events.heard(this);
  }

  #handle(message: AgentMessage): void {
    if (this.#state === "greeting") {
      if (message.type !== "hello") throw fail("link_frame_malformed", "The first message must be `hello`.");
      this.#state = "online";
      this.#events.hello(this, message);
    } else if (message.type === "ack") {
      if (!this.#sendWindow.acknowledge(message.receivedBytes)) {
        throw fail("link_frame_malformed", "An `ack` for bytes that were never sent.");
      }
      this.#resume();
    } else if (message.type === "hello") {
      throw fail("link_frame_malformed", "A second `hello` on one connection.");
    } else {
      this.#events.message(this, message);
    }
  }

  #resume(): void {
    if (this.#frames.length > 0) this.#socket.wake();
    else this.#events.idle(this);
  }

  /** An agent keeps its results until they are acknowledged, and one that drains waits for it. */
  #ackLate(): void {
    this.#ackTimer = undefined;
    this.#isAckLate = this.#receiveWindow.hasUnreported;
    if (this.#isAckLate) this.#socket.wake();
  }

  /** With what is being sent anyway, or alone when the agent's window needs it. */
  #addAck(write: (frame: Uint8Array) => WriteResult): void {
    const isWorthwhile =
      this.#isAckLate ||
      this.#receiveWindow.isAckDue ||
      (this.#outbox.length > 0 && this.#receiveWindow.hasUnreported);
    if (!isWorthwhile) return;
    this.#isAckLate = false;
    const ack: GatewayMessage = { type: "ack", receivedBytes: this.#receiveWindow.report() };
    if (this.#frames.length === 0 && this.#sendWindow.isOpen) {
      this.#outbox.unshift(ack);
      return;
    }
    const alone = new FrameBuilder<GatewayMessage>();
    alone.add(ack);
    for (const frame of alone.take()) this.#write(frame, write);
  }

  #write(frame: Uint8Array, write: (frame: Uint8Array) => WriteResult): void {
    this.#sendWindow.sent(frame.length);
    if (write(frame) === "full") this.#isSocketFull = true;
  }
}

function describeClose(code: number, reason: string): string {
  const text = reason === "" ? "" : `: ${reason}`;
  if (code === CLOSE.goingAway || code === CLOSE.normal) return `closed by the agent${text}`;
  return code === 1006 ? "the connection broke" : `closed with code ${code}${text}`;
}
