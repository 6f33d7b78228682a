/** Copies a request out of the library while that is allowed, and refuses heads that two readers could take for different requests. */

import { fail } from "@legacygpu/shared/errors";
import type { Request } from "./exchange.ts";
import type { NativeRequest } from "./native.ts";

type Params = Readonly<Record<string, string>>;

const NO_PARAMS: Params = Object.freeze({});
const NO_BODY = Buffer.alloc(0);
const NO_STREAM: AsyncIterable<Buffer> = { [Symbol.asyncIterator]: async function* () {} };

export class IncomingRequest implements Request {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  params: Params = NO_PARAMS;
  readonly headers = new Map<string, string>();
  body: Buffer = NO_BODY;
  stream: AsyncIterable<Buffer> = NO_STREAM;
  readonly onHangUp: (listener: () => void) => void;
  readonly #readAddress: () => string;
  #address = "";
  readonly #queryText: string;
  #query: URLSearchParams | undefined;

  /** Must run inside the route handler: `native` is gone when that returns. */
  constructor(
    id: string,
    native: NativeRequest,
    readAddress: () => string,
    onHangUp: (listener: () => void) => void,
  ) {
    this.id = id;
    this.method = native.getCaseSensitiveMethod();
    this.path = native.getUrl();
    this.#queryText = native.getQuery();
    this.#readAddress = readAddress;
    this.onHangUp = onHangUp;
    native.forEach((name, value) => {
      this.#addHeader(name, value);
    });
  }

  /** Asked for when it is first needed: it is a system call. */
  get remoteAddress(): string {
    if (this.#address === "") this.#address = this.#readAddress();
    return this.#address;
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.#queryText);
    return this.#query;
  }

  #addHeader(name: string, value: string): void {
    const earlier = this.headers.get(name);
    this.headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
  }
}

/** Half of what the library takes as a head, so that the client is told what was too long rather than cut off. */
const CREDENTIAL_LIMIT_BYTES = 8 * 1024;

/** What the library lets pass. @throws `request_malformed`, `headers_too_large` */
export function checkHead(headers: ReadonlyMap<string, string>): void {
  // Two hosts: joined like every repeated header, and no host has a comma.
  if (headers.get("host")?.includes(",")) {
    throw fail("request_malformed", "Host may be sent once only, and names one host.");
  }
  if ((headers.get("authorization")?.length ?? 0) <= CREDENTIAL_LIMIT_BYTES) return;
  const limitBytes = CREDENTIAL_LIMIT_BYTES;
  const message = `The Authorization header is over the limit of ${limitBytes} bytes.`;
  throw fail("headers_too_large", message, { limitBytes });
}

/**
 * Announced length of the body; `chunked` when it is not announced.
 *
 * Two lengths, or a length beside a transfer coding, are how requests are smuggled past a proxy: refused. A repeated header
 * has its values joined, so it does not look like a number any more.
 */
export function announcedLength(headers: ReadonlyMap<string, string>): number | "chunked" {
  const length = headers.get("content-length");
  const coding = headers.get("transfer-encoding");
  if (coding === undefined) return length === undefined ? 0 : parseLength(length);
  if (length !== undefined) {
    throw fail("request_malformed", "Content-Length and Transfer-Encoding may not be sent together.");
  }
  if (coding.toLowerCase() === "chunked") return "chunked";
  throw fail("request_malformed", `Transfer-Encoding "${coding}" is not "chunked".`);
}

function parseLength(text: string): number {
  const length = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(length)) return length;
  throw fail("request_malformed", `Content-Length "${text}" is not one whole number.`);
}

/** The values that the library found for the parameters of the pattern, decoded. */
export function decodeParams(native: NativeRequest, names: readonly string[]): Params {
  if (names.length === 0) return NO_PARAMS;
  return Object.fromEntries(names.map((name, index) => [name, decode(native.getParameter(index) ?? "")]));
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw fail("request_malformed", `"${segment}" in the path is not valid percent-encoding.`, {}, cause);
  }
}
