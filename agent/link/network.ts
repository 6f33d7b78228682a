/**
 * The network as the agent uses it: one WebSocket to the gateway and HTTPS requests beside it.
 *
 * Only outgoing connections, through the site's proxy when there is one, with the gateway's CA pinned when it is private.
 */

import type { Readable } from "node:stream";
import type { Clock } from "@legacygpu/shared/clock";
import { type Dispatcher, request } from "undici";
import type { Credentials } from "./credentials.ts";
import { Dial, type FrameSocket, type SocketClosure, type SocketHandlers } from "./dial.ts";
import { isAboutDates } from "./failure.ts";
import { createDispatcher, trustIn } from "./https.ts";

export type { FrameSocket, SocketClosure, SocketHandlers } from "./dial.ts";

export interface NetworkOptions {
  /** https://host:port */
  readonly gateway: URL;
  readonly credentials: Credentials;
  readonly caPem?: string | undefined;
  /** `HTTPS_PROXY` and `NO_PROXY`, in either case, are honoured. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Asked when a certificate seems to be outside its dates: by how much this machine's clock is ahead of the gateway's. */
  readonly clockAheadMs?: () => Promise<number | undefined>;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable & { text(): Promise<string>; arrayBuffer(): Promise<ArrayBuffer> };
}

export interface HttpRequest {
  readonly method: "GET" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

const IDLE_TIMEOUT_MS = 30_000;
/** Transfers at a time: enough to fill a line, few enough to leave room for the link. */
const TRANSFER_CONNECTIONS = 8;

interface Dispatchers {
  /** Apart from the transfers, so that no queue of theirs delays a dial. */
  readonly link: Dispatcher;
  readonly transfers: Dispatcher;
}

export class Network {
  readonly #options: NetworkOptions;
  #caPem: string | undefined;
  #dispatchers: Dispatchers;
  /** Of an earlier trust, with what was under way. */
  readonly #retired: Dispatcher[] = [];

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#caPem = options.caPem;
    this.#dispatchers = this.#newDispatchers();
  }

  /** Whom it trusts now; undefined: the CAs that the system knows. */
  get caPem(): string | undefined {
    return this.#caPem;
  }

  /** From now on these CAs are pinned. What is under way ends as it began. */
  trust(caPem: string): void {
    if (caPem === this.#caPem) return;
    const { link, transfers } = this.#dispatchers;
    this.#retired.push(link, transfers);
    this.#caPem = caPem;
    this.#dispatchers = this.#newDispatchers();
  }

  /** Dials the agent link. */
  openSocket(handlers: SocketHandlers): FrameSocket {
    const { gateway, credentials, clock } = this.#options;
    const dispatcher = this.#dispatchers.link;
    return new Dial(
      { gateway, credentials, dispatcher, clock },
      {
        onOpen: () => handlers.onOpen(),
        onFrame: (frame) => handlers.onFrame(frame),
        onClosed: (closure) => void this.#tell(closure, handlers),
      },
    );
  }

  /** A credential that is not accepted is replaced once, where there can be another. */
  async request(path: string, given: HttpRequest): Promise<HttpReply> {
    const { credentials } = this.#options;
    const bearer = await credentials.bearer();
    const reply = await this.#send(path, given, bearer);
    if (reply.status !== 401 || !credentials.refused(bearer)) return reply;
    await reply.body.text();
    return this.#send(path, given, await credentials.bearer());
  }

  async close(): Promise<void> {
    const { link, transfers } = this.#dispatchers;
    await Promise.all([link, transfers, ...this.#retired].map((each) => each.destroy()));
  }

  async #tell(closure: SocketClosure, handlers: SocketHandlers): Promise<void> {
    const { clockAheadMs } = this.#options;
    if (clockAheadMs === undefined || !isAboutDates(closure.error)) return handlers.onClosed(closure);
    handlers.onClosed({ ...closure, clockAheadMs: await clockAheadMs() });
  }

  async #send(
    path: string,
    { method, headers, body, signal }: HttpRequest,
    bearer: string,
  ): Promise<HttpReply> {
    const reply = await request(new URL(path, this.#options.gateway), {
      method,
      dispatcher: this.#dispatchers.transfers,
      headers: { authorization: `Bearer ${bearer}`, ...headers },
      headersTimeout: IDLE_TIMEOUT_MS,
      bodyTimeout: IDLE_TIMEOUT_MS,
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: reply.statusCode, headers: reply.headers, body: reply.body };
  }

  #newDispatchers(): Dispatchers {
    const options = { tls: trustIn(this.#caPem), env: this.#options.env };
    return {
      link: createDispatcher(options),
      transfers: createDispatcher({ ...options, connections: TRANSFER_CONNECTIONS }),
    };
  }
}
