/** For receivers of webhooks: is this message from the gateway, unchanged and fresh? Runs in Node and in a browser. */

import { type WebhookMessage, webhookMessageSchema } from "@legacygpu/shared/api/webhooks";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";

/** How far the sender's clock and the receiver's may be apart; also bounds how long a recorded message can be replayed. */
const TOLERANCE_SECONDS = 300;
const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;

export interface ReceivedWebhook {
  /** A `Headers` object, or what Node's HTTP server calls `headers`. */
  readonly headers:
    | { get(name: string): string | null }
    | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** As it came: a body that was parsed and written again is no longer the one that was signed. */
  readonly body: string | Uint8Array;
  /** `whsec_…`; several while a secret is being replaced. */
  readonly secret: string | readonly string[];
  /** The receiver's clock. Default: now. */
  readonly nowMs?: number;
}

/**
 * The message, when it can be believed. The same message may come more than once: `webhook-id` stays the same.
 *
 * @throws `auth_invalid`: answer with 401. `config_invalid` when a secret is not of the form `whsec_…`.
 */
export async function verifyWebhook({
  headers,
  body,
  secret,
  nowMs = Date.now(),
}: ReceivedWebhook): Promise<WebhookMessage> {
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  assertFresh(timestamp, nowMs);
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const signed = concat(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  const signatures = readSignatures(header(headers, "webhook-signature"));
  const secrets = typeof secret === "string" ? [secret] : secret;
  if (!(await anyFits(secrets, signatures, signed)))
    throw refuse("No signature fits: the secret is another one, or the body is not what was signed.");
  return parseMessage(bytes);
}

function header(headers: ReceivedWebhook["headers"], name: string): string {
  const value = typeof headers.get === "function" ? headers.get(name) : fieldOf(headers, name);
  if (typeof value === "string" && value !== "") return value;
  throw refuse(`The header ${name} is missing.`);
}

function fieldOf(headers: ReceivedWebhook["headers"], name: string): unknown {
  for (const [key, value] of Object.entries(headers)) if (key.toLowerCase() === name) return value;
  return undefined;
}

function assertFresh(timestamp: string, nowMs: number): void {
  if (!/^\d{1,12}$/.test(timestamp))
    throw refuse(`webhook-timestamp: "${timestamp}" is not a time in seconds.`);
  const ageSeconds = nowMs / 1000 - Number(timestamp);
  if (Math.abs(ageSeconds) <= TOLERANCE_SECONDS) return;
  const side = ageSeconds > 0 ? "old" : "in the future";
  throw refuse(
    `The message is ${Math.abs(Math.round(ageSeconds))} s ${side}; ${TOLERANCE_SECONDS} s are accepted.`,
  );
}

/** Signatures of other versions are for other receivers. */
function readSignatures(text: string): Uint8Array<ArrayBuffer>[] {
  const known = text.split(" ").filter((part) => /^v1,[A-Za-z0-9+/]{43}=$/.test(part));
  return known.map((part) => fromBase64(part.slice(3)));
}

async function anyFits(
  secrets: readonly string[],
  signatures: readonly Uint8Array<ArrayBuffer>[],
  signed: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  for (const secret of secrets) {
    const key = await crypto.subtle.importKey("raw", keyBytes(secret), algorithm, false, ["verify"]);
    // Compares in constant time.
    for (const signature of signatures)
      if (await crypto.subtle.verify("HMAC", key, signature, signed)) return true;
  }
  return false;
}

function keyBytes(secret: string): Uint8Array<ArrayBuffer> {
  const encoded = SECRET.exec(secret)?.[1];
  if (encoded === undefined) throw fail("config_invalid", "A webhook secret has the form whsec_ and base64.");
  return fromBase64(encoded);
}

function parseMessage(body: Uint8Array): WebhookMessage {
  try {
    return webhookMessageSchema.parse(JSON.parse(new TextDecoder().decode(body)));
  } catch (error) {
    throw fail("request_invalid", "The message is signed, but is none of this gateway's.", {}, error);
  }
}

function refuse(message: string): LegacyGpuError {
  return fail("auth_invalid", message);
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
