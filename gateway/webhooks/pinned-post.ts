/** One POST to addresses that were checked, over a connection of its own. No redirect is followed and no proxy asked. */

import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { LookupFunction } from "node:net";
import type { Target } from "./address-guard.ts";

/** Enough for any receiver to finish what it says; nobody reads it. */
const MAX_RESPONSE_BYTES = 64 * 1024;

export interface PinnedPost {
  readonly target: Target;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The only CA that is trusted. Absent: those that Node trusts. */
  readonly caPem?: string | undefined;
  readonly signal: AbortSignal;
}

export interface PostReply {
  readonly status: number;
  readonly retryAfter: string | undefined;
}

/** @throws what the network throws, when there is no answer. */
export function pinnedPost({ target, headers, body, caPem, signal }: PinnedPost): Promise<PostReply> {
  const { url, addresses } = target;
  const { request: open } = url.protocol === "https:" ? https : http;
  const tls = caPem === undefined ? {} : { ca: caPem };
  // The name stays in `Host`, in SNI and in the check of the certificate; only its resolution is taken away.
  const options = { method: "POST", headers, lookup: pinnedTo(addresses), agent: false, signal, ...tls };
  return new Promise((resolve, reject) => {
    let reply: PostReply | undefined;
    // What counts is the status: whatever happens to the rest of the answer changes nothing.
    const end = (error: Error): void => (reply === undefined ? reject(error) : resolve(reply));
    const request = open(url, options, (response) => {
      reply = { status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"] };
      drain(response);
    });
    request.on("error", end);
    request.on("close", () => end(new Error("the connection was closed without an answer")));
    request.end(body);
  });
}

function drain(response: IncomingMessage): void {
  let receivedBytes = 0;
  response.on("error", () => {});
  response.on("data", (chunk: Buffer) => {
    receivedBytes += chunk.length;
    if (receivedBytes > MAX_RESPONSE_BYTES) response.destroy();
  });
}

function pinnedTo(addresses: Target["addresses"]): LookupFunction {
  return (host, options, callback) => {
    if (options.all === true) return callback(null, [...addresses]);
    const [first] = addresses;
    if (first === undefined) return callback(new Error(`${host} has no address`), "", 0);
    callback(null, first.address, first.family);
  };
}
