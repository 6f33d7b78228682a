/**
 * Joins a gateway with a join token: finds out whether it is the right one, then gives it the public half of this box's key.
 *
 * Joining can be repeated. A box that has joined with a token does not do so again, and one that asked and never saw the answer (its line
 * broke, it was switched off) asks whether it is in before it believes that its token was used by somebody else.
 */

import { hash, type KeyObject } from "node:crypto";
import { hostname } from "node:os";
import type { Enrolled } from "@legacygpu/shared/api/enrolment";
import { Backoff } from "@legacygpu/shared/backoff";
import { type Clock, type Random, sleep } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { JoinToken } from "@legacygpu/shared/join-token";
import type { Logger } from "@legacygpu/shared/log";
import { isForeignCertificate } from "../link/failure.ts";
import { delayAfterMs, isRepeated } from "../link/retry-after.ts";
import { GatewayApi } from "./gateway-api.ts";
import type { Enrolment, IdentityStore } from "./identity-store.ts";
import { proveIdentity, publicKeyOf } from "./proof.ts";
import { fetchPinnedCa, untrusted } from "./trust.ts";

export interface JoinOptions {
  readonly token: JoinToken;
  /** The wanted worker id. */
  readonly workerId: string;
  readonly store: IdentityStore;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Ends the waiting for a gateway that cannot be reached. */
  readonly signal?: AbortSignal | undefined;
}

const BACKOFF = { baseMs: 1000, capMs: 30_000 };
const MAX_HOST_CHARS = 253;

/**
 * @throws `gateway_untrusted`, `clock_wrong`, `certificate_invalid`, `worker_id_in_use`, `auth_invalid` when the token is not accepted;
 * after `signal` also why the gateway could not be reached.
 */
export async function joinGateway(options: JoinOptions): Promise<Enrolment> {
  const { store, log, clock, signal } = options;
  const stored = await store.readEnrolment();
  if (stored?.tokenHash === hashOf(options.token)) {
    log.info({ gateway: stored.gateway, workerId: stored.workerId }, "already joined with this token");
    return stored;
  }
  const backoff = new Backoff(BACKOFF, options.random);
  for (let said: LegacyGpuError | undefined; ; ) {
    try {
      return await joinOnce(options, stored);
    } catch (error) {
      const reason = asLegacyGpuError(error);
      const { retryable, code, message, details } = reason;
      if (!retryable || code === "worker_id_in_use" || signal?.aborted) throw error;
      if (!isRepeated(said, reason)) log.warn({ code, details }, message);
      said = reason;
      await sleep(clock, delayAfterMs(reason, backoff), signal);
      if (signal?.aborted) throw error;
    }
  }
}

function hashOf({ secret }: JoinToken): string {
  return hash("sha256", secret, "base64url");
}

async function joinOnce(options: JoinOptions, before: Enrolment | undefined): Promise<Enrolment> {
  const { token, store, env, clock, log } = options;
  const gateway = new URL(new URL(token.url).origin);
  const isPinned = token.pins.length > 0;
  const caPem = isPinned ? await fetchPinnedCa({ gateway, env }, token.pins) : undefined;
  const api = new GatewayApi({ gateway, caPem: () => caPem, env, clock });
  const enrolled = await askToJoin(api, options, before).catch((error: LegacyGpuError) => {
    throw isPinned && isForeignCertificate(error) ? untrusted(gateway.origin, error) : error;
  });
  const enrolment: Enrolment = {
    gateway: gateway.origin,
    workerId: enrolled.worker_id,
    site: enrolled.site,
    pins: [...token.pins],
    ...(caPem === undefined ? {} : { caPem }),
    tokenHash: hashOf(token),
    isRevoked: false,
  };
  await store.writeEnrolment(enrolment);
  const { status } = enrolled;
  log.info({ gateway: gateway.origin, workerId: enrolment.workerId, status }, "joined the gateway");
  return enrolment;
}

type Membership = Pick<Enrolled, "worker_id" | "site" | "status">;

async function askToJoin(
  api: GatewayApi,
  options: JoinOptions,
  before: Enrolment | undefined,
): Promise<Membership> {
  const { token, store, workerId } = options;
  const tokenHash = hashOf(token);
  const hasAskedBefore = await store.isJoining(tokenHash);
  // What was made for this very joining is not the key that was revoked.
  const mayKeepKey = hasAskedBefore || !before?.isRevoked;
  const key = (mayKeepKey ? await store.readKey() : undefined) ?? (await store.createKey());
  await store.beginJoining(tokenHash);
  try {
    return await enrol(api, options, key);
  } catch (error) {
    const refusal = asLegacyGpuError(error);
    if (hasAskedBefore && isRefusal(refusal)) {
      const membership = await membershipOf(api, key, workerId);
      if (membership !== undefined) return membership;
    }
    if (!refusal.retryable) await store.endJoining();
    throw isTokenRefusal(refusal) ? tokenRefused(refusal) : refusal;
  }
}

/** With a fresh key when the gateway has revoked the one that is there. */
async function enrol(
  api: GatewayApi,
  { token, workerId, store }: JoinOptions,
  key: KeyObject,
): Promise<Enrolled> {
  const host = hostname().slice(0, MAX_HOST_CHARS);
  const ask = (each: KeyObject): Promise<Enrolled> =>
    api.enrol(token.secret, { worker_id: workerId, public_key: publicKeyOf(each), host });
  try {
    return await ask(key);
  } catch (error) {
    if (asLegacyGpuError(error).code !== "worker_revoked") throw error;
    return ask(await store.createKey());
  }
}

/** @returns undefined when the gateway does not know `workerId` with this key. */
async function membershipOf(
  api: GatewayApi,
  key: KeyObject,
  workerId: string,
): Promise<Membership | undefined> {
  try {
    const { site } = await proveIdentity({ api, key, workerId });
    return { worker_id: workerId, site, status: "approved" };
  } catch (error) {
    const { code } = asLegacyGpuError(error);
    if (code === "worker_not_approved") return { worker_id: workerId, site: "", status: "pending" };
    if (code === "auth_invalid" || code === "worker_revoked") return undefined;
    throw error;
  }
}

function isRefusal(error: LegacyGpuError): boolean {
  return isTokenRefusal(error) || error.code === "worker_id_in_use";
}

function isTokenRefusal({ code }: LegacyGpuError): boolean {
  return code === "auth_invalid" || code === "auth_missing" || code === "join_token_not_found";
}

function tokenRefused(refusal: LegacyGpuError): LegacyGpuError {
  const message = `The gateway does not accept this join token: it is unknown, expired, used up or revoked. Make another with \`legacygpu join-token create\`. The gateway said: ${refusal.message}`;
  return fail("auth_invalid", message, { ...refusal.details, credential: "join_token" }, refusal);
}
