/**
 * The agent's link to its gateway, kept alive: dials, greets, and dials again.
 *
 * | state   | holds                                   | leaves it                                                              |
 * | ------- | --------------------------------------- | ---------------------------------------------------------------------- |
 * | idle    | nothing                                 | start → dialing                                                        |
 * | dialing | a socket that is not open, a timer      | open → linked; failure, the timer → waiting, or closed if it cannot heal |
 * | linked  | a session (greeting or online)          | its end → waiting, or closed if it cannot heal                         |
 * | waiting | a timer                                 | the timer → dialing                                                    |
 * | closed  | nothing                                 |                                                                        |
 *
 * After a link that served a while the first try is almost immediate, because the gateway waits about a second for us before it
 * gives our work to others. Later ones back off, up to a few seconds, from the time on that a gateway without room asked for. What a person
 * must heal is said once per cause, and tried again much more slowly.
 */

import { Backoff } from "@legacygpu/shared/backoff";
import type { Clock, Random, Timer } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { AgentMessage } from "@legacygpu/shared/protocol/messages";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { explainClosure, type FailureContext, type LinkFailure } from "./failure.ts";
import type { FrameSocket, SocketClosure, SocketHandlers } from "./network.ts";
import { delayAfterMs, isRepeated } from "./retry-after.ts";
import { type Hello, type Order, Session, type Telemetry, type Welcome } from "./session.ts";

export interface ConnectionOptions {
  readonly dial: (handlers: SocketHandlers) => FrameSocket;
  readonly context: FailureContext;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  hello(): Hello;
  telemetry(): Telemetry;
  onWelcome(welcome: Welcome): void;
  onOrder(order: Order): void;
  /** The link that was online is gone. */
  onLost(): void;
}

type LinkPhase = "idle" | "dialing" | "linked" | "waiting" | "closed";
export type LinkState = "idle" | "dialing" | "greeting" | "online" | "waiting" | "closed";

/** The cap is well within the lease for which a gateway that comes back keeps our work for us (15 s by default). */
const BACKOFF = { baseMs: 500, capMs: 5000 };
const PATIENCE_MS = 30_000;
/** An operator who has just started the box approves it in a moment; one who is not there, some time today. */
const APPROVAL = { firstMs: 10_000, growth: 1.3, capMs: 60_000 };
/** TCP, TLS and the answer to the upgrade; the first two have a limit of their own. */
const DIAL_TIMEOUT_MS = 20_000;
const QUICK_RETRY_MS = 250;
/** A link that lasted less may be lost for a reason that lasts; after a longer one the failures before it say nothing. */
const SERVED_AFTER_MS = 5000;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #backoff: Backoff;
  /** Settles when the link will not be tried again: with the reason, or undefined after `close`. */
  readonly closed: Promise<LegacyGpuError | undefined>;
  #settleClosed: (error: LegacyGpuError | undefined) => void = () => {};
  #state: LinkPhase = "idle";
  #socket: FrameSocket | undefined;
  #session: Session | undefined;
  /** Of dialing: it took too long. Of waiting: it is time to dial. */
  #timer: Timer | undefined;
  #onlineSince: number | undefined;
  #lastError: LegacyGpuError | undefined;
  #approvalPolls = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  get state(): LinkState {
    if (this.#state !== "linked") return this.#state;
    return this.#session?.state === "online" ? "online" : "greeting";
  }

  /** Why there is no link now, or why the last one ended. */
  get lastError(): LegacyGpuError | undefined {
    return this.#lastError;
  }

  start(): void {
    if (this.#state === "idle") this.#dial();
  }

  /** @returns false when there is no link to send it on; the caller decides whether it is worth keeping. */
  send(message: AgentMessage, onDelivered?: () => void): boolean {
    if (this.#session?.state !== "online") return false;
    this.#session.send(message, onDelivered);
    return true;
  }

  close(reason: string): void {
    if (this.#state === "closed") return;
    this.#timer?.cancel();
    this.#hangUp(reason);
    this.#transition("closed", reason);
    this.#settleClosed(undefined);
  }

  /** Trying again cannot help: `error` says why. */
  giveUp(error: LegacyGpuError): void {
    if (this.#state === "closed") return;
    this.#hangUp(error.code);
    this.#onEnd({ error, retry: "never" });
  }

  /** What the socket still says is no longer ours. */
  #hangUp(reason: string): void {
    const [session, socket] = [this.#session, this.#socket];
    this.#session = undefined;
    this.#socket = undefined;
    if (session !== undefined) session.close(CLOSE.normal, reason);
    else socket?.destroy();
  }

  #transition(to: LinkPhase, cause: string): void {
    const from = this.#state;
    this.#state = to;
    this.#options.log.debug({ from, to, cause }, "the link changed state");
  }

  #dial(): void {
    this.#transition("dialing", "a link is needed");
    const socket: FrameSocket = this.#options.dial({
      onOpen: () => this.#socket === socket && this.#onOpen(socket),
      onFrame: (frame) => this.#socket === socket && this.#session?.receive(frame),
      onClosed: (closure) => this.#socket === socket && this.#onClosed(closure),
    });
    this.#socket = socket;
    this.#timer = this.#options.clock.after(DIAL_TIMEOUT_MS, () => this.#onDialTimeout(socket));
  }

  #onDialTimeout(socket: FrameSocket): void {
    if (this.#socket !== socket || this.#state !== "dialing") return;
    const { host } = this.#options.context.gateway;
    const message = `${host} did not answer within ${DIAL_TIMEOUT_MS / 1000} s.`;
    this.#onEnd({ error: fail("gateway_unreachable", message), retry: "soon" });
    socket.destroy();
  }

  #onOpen(socket: FrameSocket): void {
    if (this.#state !== "dialing") return;
    this.#timer?.cancel();
    this.#transition("linked", "the socket is open");
    const { clock, hello, telemetry, onOrder } = this.#options;
    this.#session = new Session(socket, hello(), clock, {
      onWelcome: (welcome) => this.#onWelcome(welcome),
      onOrder,
      telemetry,
      onFault: (error) => this.#onEnd({ error, retry: "soon" }),
    });
  }

  #onWelcome(welcome: Welcome): void {
    this.#onlineSince = this.#options.clock.monotonic();
    this.#lastError = undefined;
    this.#options.log.info({ session: welcome.sessionId }, "connected to the gateway");
    this.#options.onWelcome(welcome);
  }

  #onClosed(closure: SocketClosure): void {
    if (this.#state !== "dialing" && this.#state !== "linked") return;
    this.#session?.end();
    if (closure.code === CLOSE.normal || closure.code === CLOSE.goingAway) this.#backoff.reset();
    this.#onEnd(explainClosure(closure, this.#options.context));
  }

  #onEnd(failure: LinkFailure): void {
    this.#socket = undefined;
    this.#session = undefined;
    this.#timer?.cancel();
    const onlineMs = this.#takeOnlineMs();
    if (onlineMs !== undefined) this.#options.onLost();
    // `onLost` may have closed us.
    if (this.#state === "closed") return;
    if (failure.retry === "never") {
      this.#lastError = failure.error;
      this.#options.log.error({ err: failure.error }, "the link is given up");
      this.#transition("closed", failure.error.code);
      this.#settleClosed(failure.error);
      return;
    }
    const delayMs = this.#delayMs(failure, onlineMs);
    this.#logLoss(failure, delayMs);
    this.#transition("waiting", failure.error.code);
    this.#timer = this.#options.clock.after(delayMs, () => this.#dial());
  }

  #takeOnlineMs(): number | undefined {
    const since = this.#onlineSince;
    this.#onlineSince = undefined;
    return since === undefined ? undefined : this.#options.clock.monotonic() - since;
  }

  #delayMs(failure: LinkFailure, onlineMs: number | undefined): number {
    const { random } = this.#options;
    if (failure.retry === "approval") return this.#approvalDelayMs();
    this.#approvalPolls = 0;
    if (failure.retry === "patient") return PATIENCE_MS * (0.5 + random() / 2);
    if (onlineMs === undefined || onlineMs < SERVED_AFTER_MS)
      return delayAfterMs(failure.error, this.#backoff);
    this.#backoff.reset();
    return random() * QUICK_RETRY_MS;
  }

  #approvalDelayMs(): number {
    const { firstMs, growth, capMs } = APPROVAL;
    const delayMs = Math.min(firstMs * growth ** Math.min(this.#approvalPolls, 30), capMs);
    this.#approvalPolls += 1;
    return delayMs * (0.9 + this.#options.random() / 5);
  }

  /** A gateway that stays away is one line, not one for each try. */
  #logLoss({ error, retry }: LinkFailure, delayMs: number): void {
    const isNews = !isRepeated(this.#lastError, error);
    this.#lastError = error;
    const level = !isNews ? "debug" : retry === "patient" ? "error" : "warn";
    this.#options.log[level](
      { code: error.code, details: error.details, retryInMs: Math.round(delayMs) },
      error.message,
    );
  }
}
