/** The kinds of body that a response can have: what each is, who sends it, and what becomes of one that nobody gets. */

import type { BodyHost, BodySender } from "./body-sender.ts";
import type { EndlessStreams } from "./endless-streams.ts";
import type { FileBody, Response, StreamBody } from "./exchange.ts";
import { FileSender } from "./file-sender.ts";
import type { NativeResponse } from "./native.ts";
import { StreamSender } from "./stream-sender.ts";

type Body = Response["body"];

export function isFileBody(body: Body): body is FileBody {
  return typeof body === "object" && "stream" in body;
}

export function isStreamBody(body: Body): body is StreamBody {
  return typeof body === "object" && "chunks" in body;
}

/** Whether a response to GET with this status has a body. */
export function mayHaveBody({ status }: Response): boolean {
  return status !== 204 && status !== 304;
}

/** Sends what is not in memory as a whole; undefined for what is. */
export function openBody(
  body: Body,
  native: NativeResponse,
  host: BodyHost,
  endless: EndlessStreams,
): BodySender | undefined {
  if (isFileBody(body)) return new FileSender(native, body, host);
  if (isStreamBody(body)) return new StreamSender(native, body, host, endless);
  return undefined;
}

/** Gives back what stands behind a body that is not sent. */
export function discardBody(body: Body, host: Pick<BodyHost, "onFault">): void {
  if (isFileBody(body)) {
    body.stream.on("error", () => {});
    body.stream.destroy();
  } else if (isStreamBody(body)) {
    discardStream(body).catch((error: unknown) => host.onFault(error));
  }
}

async function discardStream({ chunks }: StreamBody): Promise<void> {
  await chunks[Symbol.asyncIterator]().return?.();
}
