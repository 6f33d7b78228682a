/**
 * What a route sees of HTTP and of a WebSocket: plain data and small ports, nothing of the server library.
 *
 * `server.ts` implements these; everything else in the gateway is written against them.
 */

import type { ReadStream } from "node:fs";

/** The head of a request, copied out of the library: valid for ever. */
export interface RequestHead {
  /** Unique per request; also sent back as `X-Request-Id`. */
  readonly id: string;
  /** Upper case. */
  readonly method: string;
  /** Without the query string, percent-encoded as received. */
  readonly path: string;
  /** Parameters of the route's pattern, percent-decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Empty when it is asked for only after the request has ended. */
  readonly remoteAddress: string;
}

export interface Request extends RequestHead {
  /** The whole body; empty unless the route's policy is `buffer`. */
  readonly body: Buffer;
  /** The body as it arrives, with backpressure; only when the route's policy is `stream`. */
  readonly stream: AsyncIterable<Buffer>;
  /** Calls `listener` once if the client hangs up before the response is complete. */
  onHangUp(listener: () => void): void;
}

export interface Response {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | FileBody | StreamBody;
}

/** A file sent with backpressure; the server closes the stream in every case. */
export interface FileBody {
  readonly stream: ReadStream;
  readonly sizeBytes: number;
}

/**
 * A body whose length nobody knows before, sent while it is made.
 *
 * - Chunks are asked for one after the other, and not while 64 KiB wait: who reads slowly is written for slowly. A client that takes
 *   nothing for about ten seconds while something waits for it loses its connection.
 * - What is ready at the same moment leaves together. The head leaves with the first chunk; no deadline applies to either.
 * - The iterator's `return()` is called when the client hangs up, when the server closes and after an error, and without a
 *   `next()` before it when the body is not wanted (HEAD). A generator that is waiting only notices when its wait is over.
 * - An error before the first chunk is answered like one of the handler; a later one goes to `onFault` and cuts the connection, so
 *   that the client can tell an incomplete body from a complete one.
 */
export interface StreamBody {
  /** The bytes of a chunk must not change after it was handed over. */
  readonly chunks: AsyncIterable<string | Uint8Array>;
  /**
   * `finish` (the default): the rest may take the grace time that all requests in flight have, then it is cut. `end`: the body is
   * complete wherever it stops and is ended at once; for what would never end by itself.
   */
  readonly whenClosing?: "finish" | "end";
}

export type BodyPolicy =
  | { readonly kind: "none" }
  | { readonly kind: "buffer"; readonly limitBytes: number }
  | { readonly kind: "stream"; readonly limitBytes: number };

export interface Route<Context = unknown> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Segments beginning with a colon are parameters: `/tasks/:id/cancel`. */
  readonly pattern: string;
  readonly body: BodyPolicy;
  /**
   * Runs on the head, before a byte of the body is read: who is calling, and may they? Its answer is handed to `handle`. A thrown
   * error or a rejection ends the request there; until a promise has settled the body stays unread, and of what has already arrived
   * nobody gets anything.
   */
  readonly guard: (head: RequestHead) => Promise<Context> | Context;
  readonly handle: (request: Request, context: Context) => Promise<Response> | Response;
  /** Once for each request that the guard let in, when all is over: answered, refused or hung up. */
  readonly finished?: (context: Context, receivedBytes: number) => void;
}

/** A {@link Route} whose context concerns nobody but itself: what a table of routes holds. */
export interface AnyRoute extends Omit<Route, "handle" | "finished"> {
  readonly handle: (request: Request, context: never) => Promise<Response> | Response;
  readonly finished?: (context: never, receivedBytes: number) => void;
}

/** One WebSocket, from open to close. */
export interface Socket {
  readonly remoteAddress: string;
  /** Bytes accepted by {@link SocketHandler.flush} that have not left the process. */
  readonly bufferedBytes: number;
  /** Asks for one call of {@link SocketHandler.flush} at the end of this turn of the event loop. */
  wake(): void;
  /** Sends a ping at the end of this turn; the peer echoes the payload. At most 125 bytes. */
  ping(payload: Uint8Array): void;
  /** Closes after what was flushed has been sent. Idempotent. */
  close(code: number, reason: string): void;
}

/** `full`: stop until {@link SocketHandler.writable}; the frame itself was taken. `closed`: it was not. */
export type WriteResult = "sent" | "full" | "closed";

/** What the link does with a socket. Handlers never write: they call `wake()` and wait for `flush`. */
export interface SocketHandler {
  /** A binary message, copied; text messages close the socket with 1003. */
  message(bytes: Uint8Array): void;
  pong(payload: Uint8Array): void;
  /** The moment to write: the socket is corked while this runs. */
  flush(write: (frame: Uint8Array) => WriteResult): void;
  /** The socket has room again after `full`. */
  writable(): void;
  /** The last call. */
  closed(code: number, reason: string): void;
}

export interface SocketRoute<Context = unknown> {
  readonly pattern: string;
  /** Offered to the client, which must have asked for it. */
  readonly subprotocol: string;
  readonly maxFrameBytes: number;
  /** Decides on the handshake; a thrown error refuses it with its HTTP status. */
  readonly guard: (head: RequestHead) => Context;
  readonly open: (socket: Socket, context: Context) => SocketHandler;
}

/** A {@link SocketRoute} whose context concerns nobody but itself. */
export interface AnySocketRoute extends Omit<SocketRoute, "open"> {
  readonly open: (socket: Socket, context: never) => SocketHandler;
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  /** PEM files. Absent: plain HTTP, for loopback only. */
  readonly tls?: { readonly keyFile: string; readonly certFile: string } | undefined;
  readonly routes: readonly AnyRoute[];
  readonly sockets: readonly AnySocketRoute[];
  /** Turns whatever a guard or a handler threw into a response. */
  readonly errorResponse: (error: unknown, requestId: string) => Response;
  /** Told what a socket handler or a hang-up listener threw: nobody else hears of it. */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * A request without an answer for this long gets 504; while its body is arriving, the time starts anew, as long as it has come at
   * 8 KiB a second on average after a first grace of the same length.
   */
  readonly requestTimeoutMs: number;
  /** Web pages that may call from a browser: origins as browsers send them, or `*`. Default: none. */
  readonly corsOrigins?: readonly string[] | undefined;
}

export interface HttpServer {
  readonly host: string;
  readonly port: number;
  /** Requests that are not over: without a complete answer, or still sending what nobody wants. */
  readonly inFlight: number;
  /**
   * New connections get this certificate from now on; those that are there keep theirs and are not disturbed.
   *
   * @throws `certificate_invalid` when it cannot be used: everything stays as it was. `config_invalid` without TLS.
   */
  replaceCertificate(tls: { readonly keyFile: string; readonly certFile: string }): void;
  /**
   * Stops accepting, ends the streams that have no end of their own, answers what is in flight, then closes every connection;
   * requests that are not finished after `graceMs` are cut.
   */
  close(graceMs: number): Promise<void>;
}
