/**
 * The network as the agent uses it: one WebSocket to the gateway and HTTPS requests beside it. The only importer of undici.
 *
 * Only outgoing connections, through the site's proxy when there is one, with the gateway's CA pinned when it is private.
 */

import type { Duplex, Readable } from "node:stream";
import type { Clock } from "@legacygpu/shared/clock";
import { AGENT_PATH, SUBPROTOCOL } from "@legacygpu/shared/protocol/version";
import { Agent, type Dispatcher, EnvHttpProxyAgent, request, WebSocket } from "undici";

export interface NetworkOptions {
  /** https://host:port */
  readonly gateway: URL;
  readonly key: string;
  readonly caPem?: string | undefined;
  /** `HTTPS_PROXY` and `NO_PROXY`, in either case, are honoured. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

export interface SocketHandlers {
  onOpen(): void;
  onFrame(frame: Uint8Array): void;
  /** Once. */
  onClosed(closure: SocketClosure): void;
}

export interface SocketClosure {
  /** The close code of the peer, 1006 when there was none. */
  readonly code: number;
  readonly reason: string;
  /** The answer to the handshake when it was not the wanted one. */
  readonly httpStatus?: number | undefined;
  /** What the system said, when the connection could not be made. */
  readonly error?: Error | undefined;
}

export interface FrameSocket {
  send(frame: Uint8Array): void;
  /** Says goodbye, and hangs up when the peer does not answer. */
  close(code: number, reason: string): void;
  /** Hangs up. */
  destroy(): void;
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

const CONNECT_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const CLOSE_GRACE_MS = 1000;
/** Transfers at a time: enough to fill a line, few enough to leave room for the link. */
const TRANSFER_CONNECTIONS = 8;

export class Network {
  readonly #options: NetworkOptions;
  /** Apart from the transfers, so that no queue of theirs delays a dial. */
  readonly #linkDispatcher: Dispatcher;
  readonly #transferDispatcher: Dispatcher;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#linkDispatcher = createDispatcher(options, {});
    this.#transferDispatcher = createDispatcher(options, { connections: TRANSFER_CONNECTIONS });
  }

  /** Dials the agent link. */
  openSocket(handlers: SocketHandlers): FrameSocket {
    const { gateway, key, clock } = this.#options;
    const handshake = new Handshake();
    const socket = new WebSocket(new URL(AGENT_PATH, gateway), {
      protocols: [SUBPROTOCOL],
      headers: { authorization: `Bearer ${key}` },
      dispatcher: this.#linkDispatcher.compose(handshake.observe),
    });
    socket.binaryType = "arraybuffer";
    socket.onopen = () => handlers.onOpen();
    socket.onmessage = ({ data }) => {
      // Text is never sent to us; an empty frame is malformed and is told so by the decoder.
      handlers.onFrame(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0));
    };
    socket.onclose = ({ code, reason }) => {
      socket.onmessage = null;
      handlers.onClosed({ code, reason, httpStatus: handshake.status, error: handshake.error });
    };
    // The reason comes with `close`.
    socket.onerror = () => {};
    const destroy = (): void => {
      if (handshake.socket === undefined) socket.close();
      else handshake.socket.destroy();
    };
    return {
      send: (frame) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(frame);
      },
      close: (code, reason) => {
        socket.close(code, reason.slice(0, 100));
        clock.after(CLOSE_GRACE_MS, destroy);
      },
      destroy,
    };
  }

  async request(path: string, { method, headers, body, signal }: HttpRequest): Promise<HttpReply> {
    const reply = await request(new URL(path, this.#options.gateway), {
      method,
      dispatcher: this.#transferDispatcher,
      headers: { authorization: `Bearer ${this.#options.key}`, ...headers },
      headersTimeout: IDLE_TIMEOUT_MS,
      bodyTimeout: IDLE_TIMEOUT_MS,
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: reply.statusCode, headers: reply.headers, body: reply.body };
  }

  async close(): Promise<void> {
    await Promise.all([this.#linkDispatcher.destroy(), this.#transferDispatcher.destroy()]);
  }
}

function createDispatcher({ caPem, env }: NetworkOptions, limits: { connections?: number }): Dispatcher {
  const tls = caPem === undefined ? {} : { ca: caPem };
  const options = { ...limits, connect: { timeout: CONNECT_TIMEOUT_MS, ...tls } };
  const proxy = env.HTTPS_PROXY || env.https_proxy;
  if (!proxy) return new Agent(options);
  const noProxy = env.NO_PROXY || env.no_proxy || "";
  // An empty `httpProxy` keeps undici from looking into the environment by itself.
  return new EnvHttpProxyAgent({ ...options, httpProxy: "", httpsProxy: proxy, noProxy, requestTls: tls });
}

/**
 * What happens below a WebSocket's handshake. The WebSocket itself tells neither the status nor the error of one that failed, and it cannot
 * hang up on a peer that is silent.
 */
class Handshake {
  status: number | undefined;
  error: Error | undefined;
  socket: Duplex | undefined;

  readonly observe: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
    dispatch(options, {
      onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
      onRequestUpgrade: (controller, status, headers, socket) => {
        this.socket = socket;
        // Small frames must not wait for the acknowledgement of earlier ones.
        (socket as { setNoDelay?: (on: boolean) => void }).setNoDelay?.(true);
        handler.onRequestUpgrade?.(controller, status, headers, socket);
      },
      onResponseStart: (controller, status, headers, statusMessage) => {
        this.status = status;
        handler.onResponseStart?.(controller, status, headers, statusMessage);
      },
      onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
      onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
      onResponseError: (controller, error) => {
        this.error ??= error;
        handler.onResponseError?.(controller, error);
      },
    });
}
