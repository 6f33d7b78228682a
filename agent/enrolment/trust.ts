/**
 * How a box comes to trust a gateway of which it knows only what its join token says: the hash of the public key of its CA.
 *
 * The CA's certificate must be fetched before any connection can be verified, so this file makes the one unverified connection of the
 * whole code base. It is safe for these reasons, and may do nothing that would take one of them away:
 *
 * - It sends `GET /ca.pem` and nothing else: no credential, no name, no body. Whoever answers learns that somebody asked.
 * - Of the answer it takes only self-signed certificates of CAs whose public key has a pinned hash. The signature is checked, so
 *   that every byte of such a certificate was written by the owner of the pinned key: it does not matter who brought it.
 * - The connection is closed then. What is secret goes over a new one, verified in the normal way with that CA alone, for the normal
 *   name; and no TLS session is shared with it, which would carry the missing verification over.
 * - From the same answer it takes the time of day, and that only for a sentence: it decides whether the error says that the clock of this
 *   machine is wrong, never whether a certificate is accepted.
 */

import type { X509Certificate } from "node:crypto";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { pinOf } from "@legacygpu/shared/join-token";
import { certificatesIn } from "@legacygpu/shared/pem";
import { explainError } from "../link/failure.ts";
import { type ExchangeReply, exchange } from "../link/https.ts";
import { askedWait } from "../link/retry-after.ts";

type Env = Readonly<Record<string, string | undefined>>;

export interface Unverified {
  /** `https://HOST:PORT` */
  readonly gateway: URL;
  readonly env: Env;
}

const CA_PATH = "/ca.pem";

/**
 * @param pins of the join token.
 * @returns the certificates of these CAs, in PEM.
 * @throws `gateway_untrusted` when none of them is served; `gateway_unreachable`.
 */
export async function fetchPinnedCa(from: Unverified, pins: readonly string[]): Promise<string> {
  const reply = await fetchUnverified(from);
  const origin = from.gateway.origin;
  if (reply.status !== 200) {
    const message = `${origin} answered HTTP ${reply.status} where the certificate of its CA was expected. Is this the gateway's address?`;
    throw fail("gateway_unreachable", message, {
      gateway: origin,
      status: reply.status,
      ...askedWait(reply.status, reply.headers),
    });
  }
  const trusted = readCertificates(reply.text).filter((each) => isPinnedCa(each, pins));
  if (trusted.length === 0) throw untrusted(origin);
  return trusted.map(String).join("");
}

/** By how much `clock` is ahead of the gateway's; undefined when the gateway does not say. Good for words only. */
export async function clockAheadMs(from: Unverified, clock: Clock): Promise<number | undefined> {
  try {
    const { date } = (await fetchUnverified(from)).headers;
    const gatewayMs = typeof date === "string" ? Date.parse(date) : Number.NaN;
    return Number.isNaN(gatewayMs) ? undefined : clock.now() - gatewayMs;
  } catch {
    return undefined;
  }
}

/** @param origin of what answered. */
export function untrusted(origin: string, cause?: unknown): Error {
  const message = `${origin} is not the gateway that the join token names: somebody is in between, or the token is of another gateway. Nothing secret was sent. Check the address, and make a new join token if the gateway has a new CA.`;
  return fail("gateway_untrusted", message, { gateway: origin }, cause);
}

async function fetchUnverified({ gateway, env }: Unverified): Promise<ExchangeReply> {
  try {
    return await exchange(new URL(CA_PATH, gateway), {
      method: "GET",
      env,
      tls: { rejectUnauthorized: false },
    });
  } catch (error) {
    throw explainError({ error: error as Error }, { gateway }).error;
  }
}

function readCertificates(pem: string): X509Certificate[] {
  try {
    return certificatesIn(pem);
  } catch {
    return [];
  }
}

function isPinnedCa(certificate: X509Certificate, pins: readonly string[]): boolean {
  return certificate.ca && pins.includes(pinOf(certificate)) && certificate.verify(certificate.publicKey);
}
