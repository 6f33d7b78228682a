/** Compressed bodies: what a client sends is inflated up to a limit, what it gets is deflated if it says that it likes that. */

import { promisify } from "node:util";
import { constants, deflate, gunzip, gzip, inflate } from "node:zlib";
import { fail } from "@legacygpu/shared/errors";
import { notSupported } from "./refusal.ts";

/** Below the size of a packet nothing is gained. */
const MIN_BYTES = 1024;
/** Tensors hardly get smaller at the higher levels, and the time is the caller's. */
const LEVEL = constants.Z_BEST_SPEED;
const ACCEPTED = "gzip, deflate";

type Coding = "gzip" | "deflate";
const COMPRESS = { gzip: promisify(gzip), deflate: promisify(deflate) };
const DECOMPRESS = { gzip: promisify(gunzip), deflate: promisify(inflate) };

/**
 * @param coding the header `Content-Encoding`
 * @throws `request_malformed`, `body_too_large`; a {@link Refusal} for another coding
 */
export function decompressed(
  body: Buffer,
  coding: string | undefined,
  limitBytes: number,
): Buffer | Promise<Buffer> {
  const name = coding?.trim().toLowerCase() ?? "";
  if (name === "" || name === "identity") return body;
  if (name !== "gzip" && name !== "deflate") {
    const text = `Content-Encoding '${coding}' is not supported; use gzip or deflate`;
    throw notSupported(text, { "accept-encoding": ACCEPTED });
  }
  return inflated(body, name, limitBytes);
}

async function inflated(body: Buffer, coding: Coding, limitBytes: number): Promise<Buffer> {
  try {
    return await DECOMPRESS[coding](body, { maxOutputLength: limitBytes });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ERR_BUFFER_TOO_LARGE") {
      const text = `The request body is over the limit of ${limitBytes} bytes when it is decompressed.`;
      throw fail("body_too_large", text, { limitBytes });
    }
    throw fail("request_malformed", `The body is not ${coding} as Content-Encoding says: ${message}`);
  }
}

export interface Compressible {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** @param accepted the header `Accept-Encoding` */
export function compressed(
  answer: Compressible,
  accepted: string | undefined,
): Compressible | Promise<Compressible> {
  if (accepted === undefined || answer.body.length < MIN_BYTES) return answer;
  const coding = preferredCoding(accepted);
  if (coding === undefined) return answer;
  return COMPRESS[coding](answer.body, { level: LEVEL }).then((body) => ({
    ...answer,
    headers: { ...answer.headers, "content-encoding": coding, vary: "Accept-Encoding" },
    body,
  }));
}

/** The best of what the client weighs (`gzip;q=0.5, deflate`), and not below what it says of `identity`. Undefined: neither. */
export function preferredCoding(accepted: string): Coding | undefined {
  const weights = new Map<string, number>();
  for (const part of accepted.split(",")) {
    const [name = "", ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const weight = parameters.find((text) => text.startsWith("q="))?.slice(2);
    if (name !== "") weights.set(name, weight === undefined ? 1 : Number(weight));
  }
  const weightOf = (coding: Coding): number => weights.get(coding) ?? weights.get("*") ?? 0;
  const best: Coding = weightOf("gzip") >= weightOf("deflate") ? "gzip" : "deflate";
  const isWanted = weightOf(best) > 0 && weightOf(best) >= (weights.get("identity") ?? 0);
  return isWanted ? best : undefined;
}
