/**
 * One dial of the agent link: a credential, then a WebSocket with it; and once more when the gateway does not accept the first.
 *
 * | state   | holds                       | leaves it                                                                        |
 * | ------- | --------------------------- | -------------------------------------------------------------------------------- |
 * | asking  | nothing                     | a credential → dialing; none can be had, `destroy`, `close` → closed             |
 * | dialing | a WebSocket                 | its opening → open; refused for the first time → asking; its end → closed        |
 * | open    | a WebSocket                 | its end → closed                                                                 |
 * | closed  | nothing; it has been told   |                                                                                  |
 */

import type { Duplex } from "node:stream";
import type { Clock } from "@legacygpu/shared/clock";
import { AGENT_PATH, CLOSE, SUBPROTOCOL } from "@legacygpu/shared/protocol/version";
import { type Dispatcher, WebSocket } from "undici";
import type { Credentials } from "./credentials.ts";
import { askedWait } from "./retry-after.ts";

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
  /** The wait that this answer asked for. */
  readonly retryAfterMs?: number | undefined;
  /** What the system said, when the connection could not be made, or why there is no credential. */
  readonly error?: Error | undefined;
  /** How far this machine's clock is ahead of the gateway's, when the dates of a certificate made that a question. */
  readonly clockAheadMs?: number | undefined;
}

export interface FrameSocket {
  send(frame: Uint8Array): void;
  /** Says goodbye, and hangs up when the peer does not answer. */
  close(code: number, reason: string): void;
  /** Hangs up. */
  destroy(): void;
}

export interface DialOptions {
  readonly gateway: URL;
  readonly credentials: Credentials;
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
}

const CLOSE_GRACE_MS = 1000;
const NO_CLOSE_FRAME = 1006;

export class Dial implements FrameSocket {
  readonly #options: DialOptions;
  readonly #handlers: SocketHandlers;
  #state: "asking" | "dialing" | "open" | "closed" = "asking";
  #socket: WebSocket | undefined;
  #handshake = new Handshake();
  /** What is refused then was not refused for its age. */
  #isSecondTry = false;

  constructor(options: DialOptions, handlers: SocketHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    void this.#ask();
  }

  send(frame: Uint8Array): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(frame);
  }

  close(code: number, reason: string): void {
    if (this.#socket === undefined) {
      this.destroy();
      return;
    }
    this.#socket.close(code, reason.slice(0, 100));
    this.#options.clock.after(CLOSE_GRACE_MS, () => this.destroy());
  }

  destroy(): void {
    if (this.#socket === undefined) this.#end({ code: NO_CLOSE_FRAME, reason: "" });
    else if (this.#handshake.socket === undefined) this.#socket.close();
    else this.#handshake.socket.destroy();
  }

  async #ask(): Promise<void> {
    this.#state = "asking";
    try {
      const bearer = await this.#options.credentials.bearer();
      if (this.#isAsking) this.#connect(bearer);
    } catch (error) {
      this.#end({ code: NO_CLOSE_FRAME, reason: "", error: error as Error });
    }
  }

  /** Asked after a wait, in which `destroy` may have been called. */
  get #isAsking(): boolean {
    return this.#state === "asking";
  }

  #connect(bearer: string): void {
    this.#state = "dialing";
    const { gateway, dispatcher } = this.#options;
    const handshake = new Handshake();
    this.#handshake = handshake;
    const socket = new WebSocket(new URL(AGENT_PATH, gateway), {
      protocols: [SUBPROTOCOL],
      headers: { authorization: `Bearer ${bearer}` },
      dispatcher: dispatcher.compose(handshake.observe),
    });
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#state = "open";
      this.#handlers.onOpen();
    };
    socket.onmessage = ({ data }) => {
      // Text is never sent to us; an empty frame is malformed and is told so by the decoder.
      this.#handlers.onFrame(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0));
    };
    socket.onclose = ({ code, reason }) => {
      socket.onmessage = null;
      const { status: httpStatus, retryAfterMs, error } = handshake;
      this.#onEnd(bearer, { code, reason, httpStatus, retryAfterMs, error });
    };
    // The reason comes with `close`.
    socket.onerror = () => {};
  }

  #onEnd(bearer: string, closure: SocketClosure): void {
    this.#socket = undefined;
    if (isRefusal(closure) && !this.#isSecondTry && this.#options.credentials.refused(bearer)) {
      this.#isSecondTry = true;
      if (this.#state === "dialing") {
        void this.#ask();
        return;
      }
    }
    this.#end(closure);
  }

  #end(closure: SocketClosure): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#handlers.onClosed(closure);
  }
}

function isRefusal({ code, httpStatus }: SocketClosure): boolean {
  return httpStatus === 401 || httpStatus === 403 || code === CLOSE.unauthorized;
}

/**
 * What happens below a WebSocket's handshake. The WebSocket itself tells neither the status nor the error of one that failed, and it cannot
 * hang up on a peer that is silent.
 */
class Handshake {
  status: number | undefined;
  retryAfterMs: number | undefined;
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
        this.retryAfterMs = askedWait(status, headers).retryAfterMs;
        if (status === 401) {
          // The WebSocket would ask a second time with the same credential.
          controller.abort(new Error("The credential is not accepted."));
          return;
        }
        handler.onResponseStart?.(controller, status, headers, statusMessage);
      },
      onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
      onResponseEnd: (controller, trailers) => handler.onResponseEnd?.(controller, trailers),
      onResponseError: (controller, error) => {
        if (this.status === undefined) this.error ??= error;
        handler.onResponseError?.(controller, error);
      },
    });
}
