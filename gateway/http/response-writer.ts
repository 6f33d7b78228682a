/** Writes responses. Every function here must run corked, from the outbox. */

import { STATUS_CODES } from "node:http";
import type { Response } from "./exchange.ts";
import type { NativeResponse } from "./native.ts";
import { isFileBody, isStreamBody, mayHaveBody } from "./response-body.ts";
import { ownHeader, writeSecurityHeaders } from "./security-headers.ts";

/** What the head says besides the handler's own headers. */
export interface Framing {
  readonly requestId: string;
  /** For web pages of other origins; undefined while there are none. */
  readonly crossOrigin: Response["headers"];
  readonly isHead: boolean;
  /** Close the connection after this response. */
  readonly isLast: boolean;
}

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  let line = statusLines.get(status);
  if (line === undefined) {
    line = `${status} ${STATUS_CODES[status] ?? "Unknown"}`;
    statusLines.set(status, line);
  }
  return line;
}

/** A line break in a header would let its author write headers, or a second response, of his own. */
const UNSAFE_IN_HEADER = /[\r\n\0]/;

export function hasSafeHeaders(response: Response): boolean {
  for (const name in response.headers) {
    if (UNSAFE_IN_HEADER.test(name) || UNSAFE_IN_HEADER.test(response.headers[name] ?? "")) return false;
  }
  return true;
}

function writeHead(native: NativeResponse, { status, headers }: Response, framing: Framing): void {
  native.writeStatus(statusLine(status));
  native.writeHeader("X-Request-Id", framing.requestId);
  let own = 0;
  for (const name in headers) {
    own |= ownHeader(name);
    native.writeHeader(name, headers[name] ?? "");
  }
  writeSecurityHeaders(native, own);
  const { crossOrigin } = framing;
  for (const name in crossOrigin) native.writeHeader(name, crossOrigin[name] ?? "");
}

/** The usual case: everything at once, and the response is complete. */
export function writeWhole(native: NativeResponse, response: Response, framing: Framing): void {
  writeHead(native, response, framing);
  const hasBody = mayHaveBody(response);
  if (hasBody && !framing.isHead) {
    native.end(inMemory(response.body), framing.isLast);
    return;
  }
  // The library's own ways to say a length without a body leave the response unfinished, or announce NaN.
  if (hasBody && !isStreamBody(response.body))
    native.writeHeader("Content-Length", String(sizeOf(response.body)));
  if (framing.isLast) native.writeHeader("Connection", "close");
  native.endWithoutBody();
}

/** The head before a file or a stream; its last lines, which say how the body is framed, come with the first bytes of that. */
export function writeOpenHead(native: NativeResponse, response: Response, framing: Framing): void {
  writeHead(native, response, framing);
  if (framing.isLast) native.writeHeader("Connection", "close");
}

/**
 * A response that is complete for the client while the library still takes it for unfinished, so that we keep receiving
 * (and throwing away) what the client is still sending, and can close the connection when it has stopped.
 *
 * Ending it and closing at once would reset the connection, and the client would lose the answer. The library compares the
 * bytes written with the total of the *last* call: with a total that is never reached it does not end the response.
 */
export function writeUnended(native: NativeResponse, response: Response, framing: Framing): void {
  writeHead(native, response, framing);
  native.writeHeader("Connection", "close");
  // A total of 0 would end it.
  const body = sizeOf(response.body) === 0 ? "\n" : inMemory(response.body);
  const size = sizeOf(body);
  native.tryEnd("", size);
  if (!framing.isHead) native.tryEnd(body, size + 1);
}

function inMemory(body: Response["body"]): string | Uint8Array {
  return body === undefined || isFileBody(body) || isStreamBody(body) ? "" : body;
}

function sizeOf(body: Response["body"]): number {
  if (body === undefined || isStreamBody(body)) return 0;
  if (typeof body === "string") return Buffer.byteLength(body);
  return isFileBody(body) ? body.sizeBytes : body.byteLength;
}
