/**
 * One connection, from open socket to closed: greeting, windows, heartbeats.
 *
 * | state    | leaves it                                                                                        |
 * | -------- | ------------------------------------------------------------------------------------------------ |
 * | greeting | `welcome` → online; anything else, or nothing for 10 s → closed                                  |
 * | online   | silence past the timeout, a malformed frame, `close`, the socket's end → closed                  |
 * | closed   | everything is ignored                                                                            |
 *
 * Nothing is written where it arises: messages wait in an outbox that is flushed once per turn of the event loop, so that what is
 * ready at one moment shares a frame and no frame is sent from inside a receive handler.
 */

import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { FrameBuilder, gatewayFrames } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import { CLOSE, MAX_FRAME_BYTES } from "@legacygpu/shared/protocol/version";
import { ReceiveWindow, SendWindow } from "@legacygpu/shared/protocol/window";
import type { FrameSocket } from "./network.ts";

export type Hello = MessageOf<AgentMessage, "hello">;
export type Welcome = MessageOf<GatewayMessage, "welcome">;
export type Telemetry = MessageOf<AgentMessage, "telemetry">;
/** What is left for the rest of the agent: the session answers `welcome`, `ack` and `heartbeat` itself. */
export type Order = Exclude<GatewayMessage, { type: "welcome" | "ack" | "heartbeat" }>;

export interface SessionHandlers {
  onWelcome(welcome: Welcome): void;
  onOrder(order: Order): void;
  telemetry(): Telemetry;
  /** We hung up, for this reason. Not called when the peer did: the socket's owner knows that. */
  onFault(error: LegacyGpuError): void;
}

interface Outgoing {
  readonly message: AgentMessage;
  readonly onDelivered: (() => void) | undefined;
}
interface Unconfirmed {
  readonly endBytes: number;
  readonly callbacks: readonly (() => void)[];
}

const WELCOME_TIMEOUT_MS = 10_000;
/** About what one flush encodes ahead of the window. */
const BATCH_BYTES = MAX_FRAME_BYTES;
const SMALL_MESSAGE_BYTES = 300;

export class Session {
  readonly #socket: FrameSocket;
  readonly #clock: Clock;
  readonly #handlers: SessionHandlers;
  readonly #builder = new FrameBuilder<AgentMessage>();
  readonly #sendWindow = new SendWindow();
  readonly #receiveWindow = new ReceiveWindow();
  #state: "greeting" | "online" | "closed" = "greeting";
  #outbox: Outgoing[] = [];
  /** Encoded, waiting for the window. */
  #frames: Uint8Array[] = [];
  #unconfirmed: Unconfirmed[] = [];
  #flushing: NodeJS.Immediate | undefined;
  #heardAt: number;
  #timers: Timer[] = [];

  constructor(socket: FrameSocket, hello: Hello, clock: Clock, handlers: SessionHandlers) {
    this.#socket = socket;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#heardAt = clock.monotonic();
    this.#timers.push(
      clock.after(WELCOME_TIMEOUT_MS, () => {
        this.#fault(
          CLOSE.heartbeatTimeout,
          fail("timed_out", "The gateway did not answer the greeting within 10 s."),
        );
      }),
    );
    this.send(hello);
  }

  get state(): "greeting" | "online" | "closed" {
    return this.#state;
  }

  /**
   * @param onDelivered called when the gateway has acknowledged the frame that carried the message; never when the connection ends before.
   */
  send(message: AgentMessage, onDelivered?: () => void): void {
    if (this.#state === "closed") return;
    this.#outbox.push({ message, onDelivered });
    this.#flushSoon();
  }

  receive(frame: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#heardAt = this.#clock.monotonic();
    this.#receiveWindow.received(frame.length);
    if (frame.length > MAX_FRAME_BYTES) {
      this.#fault(
        CLOSE.frameTooLarge,
        fail("link_frame_too_large", `A frame of ${frame.length} bytes arrived.`),
      );
      return;
    }
    try {
      for (const message of gatewayFrames.decode(frame).messages) this.#onMessage(message);
    } catch (error) {
      const malformed = error as LegacyGpuError;
      if (malformed.code !== "link_frame_malformed") throw error;
      this.#fault(CLOSE.malformed, malformed);
      return;
    }
    if (this.#receiveWindow.isAckDue) this.#flushSoon();
  }

  /** Sends what is waiting, then closes. */
  close(code: number, reason: string): void {
    if (this.#state === "closed") return;
    this.#flush();
    this.end();
    this.#socket.close(code, reason);
  }

  /** The socket is gone, or we are done with it. */
  end(): void {
    this.#state = "closed";
    for (const timer of this.#timers) timer.cancel();
    if (this.#flushing !== undefined) clearImmediate(this.#flushing);
    this.#outbox = [];
    this.#frames = [];
    this.#unconfirmed = [];
  }

  #onMessage(message: GatewayMessage): void {
    // A handler may have closed the session in the middle of a frame.
    if (this.#state === "closed") return;
    switch (message.type) {
      case "ack":
        this.#onAck(message.receivedBytes);
        return;
      case "heartbeat":
        return;
      case "welcome":
        this.#onWelcome(message);
        return;
      default:
        if (this.#state !== "online")
          throw fail("link_frame_malformed", `A \`${message.type}\` arrived before \`welcome\`.`);
        this.#handlers.onOrder(message);
    }
  }

  #onWelcome(welcome: Welcome): void {
    if (this.#state !== "greeting") return;
    this.#state = "online";
    for (const timer of this.#timers) timer.cancel();
    const { heartbeatIntervalMs, heartbeatTimeoutMs } = welcome;
    this.#timers = [every(this.#clock, Math.max(heartbeatIntervalMs, 50), () => this.#beat())];
    this.#watchSilence(heartbeatTimeoutMs);
    this.#handlers.onWelcome(welcome);
  }

  #beat(): void {
    this.send(this.#handlers.telemetry());
  }

  #watchSilence(timeoutMs: number): void {
    const leftMs = this.#heardAt + timeoutMs - this.#clock.monotonic();
    if (leftMs <= 0) {
      const message = `Nothing was heard from the gateway for ${timeoutMs / 1000} s.`;
      this.#fault(CLOSE.heartbeatTimeout, fail("link_closed", message, { timeoutMs }));
      return;
    }
    this.#timers[1] = this.#clock.after(leftMs, () => this.#watchSilence(timeoutMs));
  }

  #onAck(receivedBytes: number): void {
    if (!this.#sendWindow.acknowledge(receivedBytes))
      throw fail("link_frame_malformed", `An \`ack\` of ${receivedBytes} bytes cannot be right.`);
    while ((this.#unconfirmed[0]?.endBytes ?? Number.POSITIVE_INFINITY) <= receivedBytes)
      for (const callback of this.#unconfirmed.shift()?.callbacks ?? []) callback();
    if (this.#frames.length > 0 || this.#outbox.length > 0) this.#flushSoon();
  }

  #fault(code: number, error: LegacyGpuError): void {
    if (this.#state === "closed") return;
    this.end();
    this.#socket.close(code, error.message);
    this.#handlers.onFault(error);
  }

  #flushSoon(): void {
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#receiveWindow.isAckDue || (this.#outbox.length > 0 && this.#receiveWindow.hasUnreported)) {
      const receivedBytes = this.#receiveWindow.report();
      this.#outbox.unshift({ message: { type: "ack", receivedBytes }, onDelivered: undefined });
    }
    while (this.#sendWindow.isOpen && this.#state !== "closed") {
      if (this.#frames.length === 0) this.#encodeBatch();
      const frame = this.#frames.shift();
      if (frame === undefined) return;
      this.#sendWindow.sent(frame.length);
      this.#socket.send(frame);
    }
  }

  /** Messages → frames; the callbacks wait for the end of the batch, which is at or after the end of their own frame. */
  #encodeBatch(): void {
    const callbacks: (() => void)[] = [];
    let estimatedBytes = 0;
    let count = 0;
    for (const { message, onDelivered } of this.#outbox) {
      this.#builder.add(message);
      if (onDelivered !== undefined) callbacks.push(onDelivered);
      estimatedBytes += estimateBytes(message);
      count += 1;
      if (estimatedBytes >= BATCH_BYTES) break;
    }
    this.#outbox.splice(0, count);
    this.#frames = this.#builder.take();
    const batchBytes = this.#frames.reduce((sum, frame) => sum + frame.length, 0);
    if (callbacks.length > 0)
      this.#unconfirmed.push({ endBytes: this.#sendWindow.sentBytes + batchBytes, callbacks });
  }
}

function estimateBytes(message: AgentMessage): number {
  if (message.type !== "result" || message.output.kind !== "output") return SMALL_MESSAGE_BYTES;
  return message.output.tensors.reduce((sum, tensor) => sum + tensor.data.length, SMALL_MESSAGE_BYTES);
}
