/**
 * All agent connections: handshake, heartbeats, round-trip times, and the way of each message to registry and scheduler.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { every } from "@legacygpu/shared/clock";
import { toWireError } from "@legacygpu/shared/errors";
import { SortableIds } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import type { AgentMessage, GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import {
  AGENT_PATH,
  CLOSE,
  MAX_FRAME_BYTES,
  PROTOCOL_VERSION,
  SUBPROTOCOL,
} from "@legacygpu/shared/protocol/version";
import type { Gatekeeper, Revocable } from "../auth/gatekeeper.ts";
import type { Principal } from "../auth/principal.ts";
import type { Socket, SocketRoute } from "../http/exchange.ts";
import type { Counters } from "../metrics.ts";
import { BlobLocations } from "../models/locations.ts";
import type { RandomBytes } from "../registry/pings.ts";
import type { Registry } from "../registry/registry.ts";
import type { ModelStateMessage, Worker } from "../registry/worker.ts";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { AttemptOutputs } from "./attempt-outputs.ts";
import { Session, type SessionEvents, type WorkerMessage } from "./session.ts";

/** An agent that connects and says nothing is closed. */
const HELLO_TIMEOUT_MS = 10_000;
/** How often it is looked whose ping is due: not all at once, or they would wait for each other. */
const PING_CHECK_MS = 100;
/** Silence is noticed this much after the timeout at most. */
const SILENCE_CHECK_MS = 1000;
const BLOB_SWEEP_MS = 1000;

export interface HubOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** The keys, and the enrolled workers: their links end with them. */
  readonly revocable: readonly Revocable[];
  readonly gatekeeper: Pick<Gatekeeper, "admitWorker">;
  /** Whether a worker id belongs to a worker that has enrolled: whoever comes with a key must take another. Default: none does. */
  readonly isEnrolled?: ((workerId: string) => boolean) | undefined;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly counters: Counters;
  readonly outputs: AttemptOutputs;
  /** Told of what workers say of models, after it has been noted with the worker. */
  readonly onModelState?: ((worker: Worker, message: ModelStateMessage) => void) | undefined;
  /** Told of what agents answer to operators. */
  readonly operations?: AgentOperations | undefined;
  /** For the pings, so that no agent can answer one that it has not received. Default: those of the system. */
  readonly randomBytes?: RandomBytes | undefined;
  /** Told of every ping, and of every sign of life. */
  readonly health?: LinkHealth | undefined;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
}

/** What an agent says because an operator asked for it. */
export type OperationMessage = MessageOf<AgentMessage, "upgrade_state" | "probed" | "log_lines">;

/** Who asks agents on behalf of operators, and waits for their answers. */
export interface AgentOperations {
  heard(worker: Worker, message: OperationMessage): void;
}

/** Who watches whether workers are alive. */
export interface LinkHealth {
  /** A ping is on its way to it. */
  pinged(worker: Worker): void;
  /** Something has come from it: a message, an acknowledgement, the answer to a ping. */
  heard(worker: Worker): void;
}

export class Hub implements SessionEvents {
  readonly #options: HubOptions;
  readonly #sessions = new Map<Session, Worker | undefined>();
  readonly #principals = new WeakMap<Session, Principal>();
  readonly #ids = new SortableIds();
  readonly #locations: BlobLocations;
  readonly #timers: readonly Timer[];

  constructor(options: HubOptions) {
    this.#options = options;
    const { clock, heartbeatIntervalMs } = options;
    this.#locations = new BlobLocations({ clock });
    this.#timers = [
      every(clock, heartbeatIntervalMs, () => this.#beat()),
      every(clock, PING_CHECK_MS, () => this.#pingThoseDue()),
      every(clock, BLOB_SWEEP_MS, () => this.#locations.sweep()),
      every(clock, Math.min(SILENCE_CHECK_MS, heartbeatIntervalMs), () => this.#endSilent()),
    ];
    for (const source of options.revocable) source.onRevoked((keyId) => this.#closeRevoked(keyId));
  }

  get route(): SocketRoute<Principal> {
    return {
      pattern: AGENT_PATH,
      subprotocol: SUBPROTOCOL,
      maxFrameBytes: MAX_FRAME_BYTES,
      guard: (head) => this.#options.gatekeeper.admitWorker(head),
      open: (socket, principal) => this.#open(socket, principal),
    };
  }

  /** Whether a worker has a file on its disk. */
  holdsFile(workerId: string, digest: string): boolean {
    return this.#locations.holds(workerId, digest);
  }

  /** Tells every agent to come back elsewhere or later, and closes the links. */
  close(): void {
    for (const timer of this.#timers) timer.cancel();
    for (const session of this.#sessions.keys())
      session.close(CLOSE.goingAway, "the gateway is shutting down");
  }

  // ---- SessionEvents

  heard(session: Session): void {
    const worker = this.#sessions.get(session);
    if (worker === undefined) return;
    this.#options.registry.noteHeard(worker);
    this.#options.health?.heard(worker);
  }

  hello(session: Session, hello: MessageOf<AgentMessage, "hello">): void {
    if (!hello.protocol.includes(PROTOCOL_VERSION)) {
      const offered = hello.protocol.join(", ");
      session.close(
        CLOSE.protocolUnsupported,
        `this gateway speaks protocol ${PROTOCOL_VERSION}, the agent ${offered}`,
      );
      return;
    }
    const mistake = this.#mistakeIn(session, hello);
    if (mistake !== undefined) {
      const { workerId, site } = hello;
      this.#options.log.warn({ keyId: session.keyId, workerId, site }, `an agent was refused: ${mistake}`);
      session.close(CLOSE.unauthorized, mistake);
      return;
    }
    this.#options.scheduler.together(() => this.#greet(session, hello));
  }

  message(session: Session, message: WorkerMessage): void {
    const worker = this.#sessions.get(session);
    if (worker === undefined) return;
    const { scheduler, registry } = this.#options;
    switch (message.type) {
      case "accepted":
        scheduler.accepted(worker, message.token);
        break;
      case "result":
        this.#result(worker, message);
        break;
      case "failed":
        scheduler.failed(worker, message.token, message.error);
        break;
      case "released":
        scheduler.released(worker, message.token, message.timings);
        break;
      case "model_state":
        registry.modelState(worker, message);
        this.#options.onModelState?.(worker, message);
        break;
      case "telemetry":
        this.#report(worker, message);
        break;
      case "blob_server":
        this.#locations.serves(worker.id, message);
        break;
      case "blob_state":
        this.#locations.heard(worker.id, message);
        worker.blobProgress.heard(message, this.#options.clock.monotonic());
        break;
      case "upgrade_state":
      case "probed":
      case "log_lines":
        this.#options.operations?.heard(worker, message);
        break;
      case "goodbye":
        registry.giveUp(worker, `goodbye: ${message.reason}`);
        break;
      default:
        message satisfies never;
    }
  }

  idle(session: Session): void {
    const { scheduler } = this.#options;
    const worker = this.#sessions.get(session);
    if (worker !== undefined) scheduler.dispatching.roomAgain(worker);
    scheduler.dispatch();
  }

  pong(session: Session, payload: Uint8Array): void {
    const sample = session.pings.answered(payload);
    if (sample === undefined) this.#options.counters.unknownPongs += 1;
    else this.#sessions.get(session)?.path.ponged(sample);
  }

  unknownMessages(count: number): void {
    this.#options.counters.unknownMessages += count;
  }

  closed(session: Session, cause: string, isFarewell: boolean): void {
    const worker = this.#sessions.get(session);
    this.#sessions.delete(session);
    if (worker !== undefined) this.#locations.depart(worker.id, session);
    if (worker === undefined || worker.link !== session) return;
    if (isFarewell || worker.state === "DRAINING") this.#options.registry.giveUp(worker, cause);
    else this.#options.registry.linkLost(worker, cause);
  }

  // ---- inside

  #open(socket: Socket, principal: Principal): Session {
    const { clock } = this.#options;
    const session: Session = new Session({
      sessionId: `session_${this.#ids.next(clock.now())}`,
      keyId: principal.keyId,
      socket,
      events: this,
      clock,
      randomBytes: this.#options.randomBytes,
    });
    this.#sessions.set(session, undefined);
    this.#principals.set(session, principal);
    clock.after(HELLO_TIMEOUT_MS, () => {
      if (session.state === "greeting") session.close(CLOSE.heartbeatTimeout, "no `hello` within 10 s");
    });
    return session;
  }

  /** An agent may only be who its credential says that it is. Nothing of what it says is repeated to it: a close reason is short. */
  #mistakeIn(
    session: Session,
    { workerId, site }: Pick<MessageOf<AgentMessage, "hello">, "workerId" | "site">,
  ): string | undefined {
    const principal = this.#principals.get(session);
    if (principal?.workerId !== undefined && principal.workerId !== workerId)
      return `this identity is for worker ${principal.workerId} alone`;
    if (principal?.sites !== undefined && !principal.sites.has(site))
      return `this credential is for workers at ${[...principal.sites].join(", ")}`;
    if (principal?.workerId === undefined && this.#options.isEnrolled?.(workerId) === true)
      return `worker id ${workerId} belongs to a worker that has joined with a token`;
    return undefined;
  }

  #greet(session: Session, hello: MessageOf<AgentMessage, "hello">): void {
    const { registry, scheduler } = this.#options;
    const previous = this.#sessionOf(hello.workerId);
    const arrival = registry.arrive(hello, session);
    if (arrival.kind === "taken") {
      session.close(CLOSE.workerIdInUse, `worker id ${hello.workerId} is in use by another live agent`);
      return;
    }
    const { worker } = arrival;
    this.#sessions.set(session, worker);
    if (previous !== undefined) {
      this.#sessions.set(previous, undefined);
      previous.close(CLOSE.replaced, "the agent has connected again");
    }
    const digests = hello.models.map(({ file }) => file);
    this.#locations.arrive({ workerId: worker.id, site: hello.site, digests, link: session });
    const keep = scheduler.claim(worker, hello.held);
    session.send(this.#welcome(session, keep));
    this.#ping(session);
    const kept = new Set(keep);
    const forgotten = [...worker.tokens].filter((token) => !kept.has(token));
    scheduler.lost(worker, forgotten, "the link broke before it received the task");
  }

  #welcome(session: Session, keep: number[]): GatewayMessage {
    const { clock, heartbeatIntervalMs, heartbeatTimeoutMs } = this.#options;
    return {
      type: "welcome",
      protocol: PROTOCOL_VERSION,
      sessionId: session.sessionId,
      serverTimeMs: clock.now(),
      heartbeatIntervalMs,
      heartbeatTimeoutMs,
      keep,
      sharesBlobs: true,
    };
  }

  #result(worker: Worker, message: MessageOf<AgentMessage, "result">): void {
    const { scheduler, outputs } = this.#options;
    if (message.output.kind === "output") {
      scheduler.completed(worker, message.token, message.output, message.timings);
      return;
    }
    try {
      scheduler.completed(worker, message.token, outputs.take(message.token), message.timings);
    } catch (error) {
      scheduler.failed(worker, message.token, toWireError(error));
    }
  }

  #beat(): void {
    const { clock, scheduler } = this.#options;
    for (const session of this.#sessions.keys()) {
      if (session.state !== "online") continue;
      session.send({ type: "heartbeat", serverTimeMs: clock.now() });
    }
    // A worker that failed to load a model is allowed to try again after a while: time alone can make a task runnable.
    scheduler.dispatch();
  }

  /** Their leases are over. */
  #endSilent(): void {
    const { clock, registry, heartbeatTimeoutMs } = this.#options;
    for (const [session, worker] of this.#sessions) {
      if (clock.monotonic() - session.lastHeardMs <= heartbeatTimeoutMs) continue;
      const cause = `silent for ${heartbeatTimeoutMs} ms`;
      session.close(CLOSE.heartbeatTimeout, cause);
      if (worker !== undefined) registry.giveUp(worker, cause);
    }
  }

  #pingThoseDue(): void {
    for (const session of this.#sessions.keys())
      if (session.state === "online" && session.pings.isDue) this.#ping(session);
  }

  #ping(session: Session): void {
    session.ping();
    const worker = this.#sessions.get(session);
    if (worker !== undefined) this.#options.health?.pinged(worker);
  }

  #report(worker: Worker, message: MessageOf<AgentMessage, "telemetry">): void {
    const { running, queued, cpuPercent, rssBytes } = message;
    worker.reported = { running, queued, cpuPercent, rssBytes, atMs: this.#options.clock.monotonic() };
  }

  #closeRevoked(keyId: string): void {
    for (const [session, worker] of this.#sessions) {
      if (session.keyId !== keyId) continue;
      session.close(CLOSE.unauthorized, "the key was revoked");
      if (worker !== undefined) this.#options.registry.giveUp(worker, "its key was revoked");
    }
  }

  #sessionOf(workerId: string): Session | undefined {
    for (const [session, worker] of this.#sessions) if (worker?.id === workerId) return session;
    return undefined;
  }
}
