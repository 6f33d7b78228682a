/**
 * Permission to fetch one blob from one agent for a while: `EXPIRY.MAC`, a hash (HMAC-SHA256) of digest and expiry.
 *
 * The agent that serves has made the key and given it to the gateway; the gateway makes tokens with it for those who may. Nobody has to be
 * asked when one is shown, and none outlives the agent's start.
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import type { Digest } from "../manifest.ts";

export const BLOB_TOKEN_KEY_BYTES = 32;

/** @param expiresAtMs by the gateway's clock, which every agent knows from its greeting */
export function mintBlobToken(key: Uint8Array, digest: Digest, expiresAtMs: number): string {
  return `${expiresAtMs}.${macOf(key, digest, expiresAtMs).toString("base64url")}`;
}

/** @param nowMs by the gateway's clock */
export function isBlobTokenValid(key: Uint8Array, digest: Digest, token: string, nowMs: number): boolean {
  const [, expiry, mac] = /^(\d{1,15})\.([\w-]{43})$/.exec(token) ?? [];
  if (expiry === undefined || mac === undefined || Number(expiry) <= nowMs) return false;
  return timingSafeEqual(macOf(key, digest, Number(expiry)), Buffer.from(mac, "base64url"));
}

function macOf(key: Uint8Array, digest: Digest, expiresAtMs: number): Buffer {
  return createHmac("sha256", key).update(`legacygpu blob\n${digest}\n${expiresAtMs}`).digest();
}
