/** Signs webhooks as Standard Webhooks lays down: HMAC-SHA256 over id, time and body, so that a receiver knows who speaks and when. */

import { createHmac, randomBytes } from "node:crypto";

const SECRET_PREFIX = "whsec_";
const SECRET_BYTES = 32;

export function newSecret(): string {
  return SECRET_PREFIX + randomBytes(SECRET_BYTES).toString("base64");
}

export interface Unsigned {
  /** The same with every try: receivers recognise by it what they have had already. */
  readonly id: string;
  /** Of this try. */
  readonly sentAtMs: number;
  readonly body: string;
}

/** @param secrets more than one while a secret is being replaced: a receiver accepts the message when any signature fits. */
export function signatureHeaders(
  { id, sentAtMs, body }: Unsigned,
  secrets: readonly string[],
): Record<string, string> {
  const timestamp = String(Math.floor(sentAtMs / 1000));
  const content = `${id}.${timestamp}.${body}`;
  const signatures = secrets.map((secret) => `v1,${hmac(secret, content)}`);
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signatures.join(" "),
  };
}

function hmac(secret: string, content: string): string {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), "base64");
  return createHmac("sha256", key).update(content).digest("base64");
}
