/** How this box gets into its gateway: with a worker key that it was given, or as a worker that joined. */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { workerIdentity } from "../identity.ts";
import { type Credentials, workerKey } from "../link/credentials.ts";
import { type CheckedOptions, parseGatewayUrl } from "../options.ts";
import { type Enrolment, IdentityStore } from "./identity-store.ts";
import { joinGateway } from "./join.ts";
import { openMembership } from "./membership.ts";

export interface Access {
  readonly gateway: URL;
  readonly workerId: string;
  /** As of now: the gateway may give another. */
  readonly site: string;
  /** Whom to trust; undefined: the CAs that the system knows. */
  readonly caPem: string | undefined;
  readonly credentials: Credentials;
  /** It has an identity, not a worker key. */
  readonly isEnrolled: boolean;
  /** Begins to renew what wears out. */
  start(handlers: AccessHandlers): void;
  close(): void;
}

export interface AccessHandlers {
  /** The CAs to trust from now on. */
  onTrust(caPem: string): void;
  /** There is no way in any more. */
  onRefused(error: LegacyGpuError): void;
}

/**
 * Joins first when there is a token that this box has not joined with.
 *
 * @throws `config_invalid`, `auth_missing`; with a join token whatever keeps the box from joining.
 */
export async function openAccess(options: CheckedOptions): Promise<Access> {
  const { join, key, stateDir, env, clock, random, log, signal } = options;
  if (join === undefined && key !== undefined) return keyAccess(options, key);
  const store = new IdentityStore(stateDir);
  const stored = await store.readEnrolment();
  if (join === undefined) return openMembership(joinedBefore(stored), store, options);
  const workerId = options.workerId ?? stored?.workerId ?? (await workerIdentity(stateDir, undefined));
  const enrolment = await joinGateway({ token: join, workerId, store, env, clock, random, log, signal });
  return openMembership(enrolment, store, options);
}

async function keyAccess(options: CheckedOptions, key: string): Promise<Access> {
  const { url, caPem, stateDir, site } = options;
  if (url === undefined) throw fail("config_invalid", "A worker key needs the gateway's address (wss://…).");
  return {
    gateway: parseGatewayUrl(url),
    workerId: await workerIdentity(stateDir, options.workerId),
    site,
    caPem,
    credentials: workerKey(key),
    isEnrolled: false,
    start: () => {},
    close: () => {},
  };
}

function joinedBefore(stored: Enrolment | undefined): Enrolment {
  if (stored !== undefined) return stored;
  const message =
    "This box has joined no gateway: give it a join token (`lgj_…`), or a worker key (`lgw_…`) and the gateway's address.";
  throw fail("auth_missing", message);
}
