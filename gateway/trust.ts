/**
 * Everything that decides who may do what, put together: credentials, limits, the door, the audit log. The part of the composition root
 * that `main.ts` hands the rest of the gateway from.
 */

import { fail } from "@legacygpu/shared/errors";
import type { Lifecycle } from "@legacygpu/shared/lifecycle";
import { AuditJournal } from "./audit/audit-journal.ts";
import { Authenticator } from "./auth/authenticator.ts";
import { Gatekeeper } from "./auth/gatekeeper.ts";
import { KeyRing } from "./auth/key-ring.ts";
import type { Principal } from "./auth/principal.ts";
import { Tokens } from "./auth/tokens/tokens.ts";
import type { Endpoint } from "./http/endpoint.ts";
import { isLoopback } from "./http/preflight.ts";
import { auditEndpoints } from "./http/resources/audit.ts";
import { authEndpoints } from "./http/resources/auth.ts";
import { enrolmentEndpoints } from "./http/resources/enrolment.ts";
import { joinTokenEndpoints } from "./http/resources/join-tokens.ts";
import { keyEndpoints } from "./http/resources/keys.ts";
import { usageEndpoints } from "./http/resources/usage.ts";
import { workerEndpoints } from "./http/resources/workers.ts";
import { TenantQuotas } from "./limits/tenant-quotas.ts";
import { TrafficLimits } from "./limits/traffic-limits.ts";
import { UsageLedger } from "./limits/usage-ledger.ts";
import type { GatewayOptions } from "./options.ts";
import type { DocumentStore } from "./store/task-store.ts";
import { Enrolment } from "./workers/enrolment.ts";

export interface Trust {
  readonly keys: KeyRing;
  readonly quotas: TenantQuotas;
  readonly gatekeeper: Gatekeeper;
  /** Whose links and streams end with their credential. */
  readonly revocable: readonly [KeyRing, Enrolment["workers"]];
  readonly audit: AuditJournal;
  /** Whether this worker id is taken by a worker that has enrolled and is not revoked. */
  readonly isEnrolled: (workerId: string) => boolean;
  /** Of workers that have enrolled and are not revoked. */
  readonly enrolledSites: () => string[];
  readonly endpoints: readonly Endpoint[];
}

export interface TrustParts {
  readonly options: GatewayOptions;
  readonly documents: DocumentStore;
  /** What agents pin now; undefined: nothing. */
  readonly caPem: () => string | undefined;
  readonly isConnected: (workerId: string) => boolean;
}

/** Everybody, where nobody is asked who he is. */
const ANYBODY: Principal = {
  kind: "client",
  keyId: "anybody",
  tenant: "anybody",
  name: "anybody on this machine",
  scopes: new Set(["admin", "submit", "read", "models"]),
};

/** @throws `config_invalid`, `audit_corrupt`, `store_corrupt`, `store_failed` */
export async function openTrust(
  { options, documents, caPem, isConnected }: TrustParts,
  lifecycle: Lifecycle,
): Promise<Trust> {
  const { home, clock, log, trust = {}, publicUrl } = options;
  const { limits = {}, workerApproval = "automatic", isAuthenticated = true } = trust;
  if (!isAuthenticated) requireLoopback(options.host);
  const audit = await AuditJournal.open({ folder: home.audit, clock, log });
  lifecycle.add("audit log", () => audit.close());
  const keys = await KeyRing.open(home.keysFile, clock, log);
  lifecycle.add("keys", () => keys.close());
  keys.configure(trust.keys ?? []);
  const tokens = await Tokens.open({
    file: home.signingKeysFile,
    keys,
    issuers: trust.issuers ?? [],
    clock,
    log,
  });
  lifecycle.add("access tokens", () => tokens.close());
  const enrolment = new Enrolment({
    documents,
    clock,
    audit,
    caPem,
    approval: workerApproval,
    isConnected,
    isKeyId: (id) => keys.principalOf(id) !== undefined,
  });
  const ledger = new UsageLedger({ clock, log, documents });
  lifecycle.add("usage", () => ledger.close());
  const quotas = new TenantQuotas({ clock, ledger, config: limits.dailyQuotas });
  const revocable = [keys, enrolment.workers] as const;
  const gatekeeper = new Gatekeeper({
    clock,
    authenticator: new Authenticator({
      keys,
      identities: enrolment.workers,
      tokens,
      anybody: isAuthenticated ? undefined : ANYBODY,
    }),
    revocable,
    limits: new TrafficLimits({ clock, config: limits, quotas }),
    audit,
  });
  const endpoints = [
    ...keyEndpoints({ keys, audit }),
    ...authEndpoints({ tokens, audit }),
    ...joinTokenEndpoints({ joinTokens: enrolment.joinTokens, audit, caPem, publicUrl }),
    ...workerEndpoints(enrolment),
    ...enrolmentEndpoints(enrolment),
    ...usageEndpoints(quotas),
    ...auditEndpoints(audit),
  ];
  const isEnrolled = (workerId: string): boolean => {
    const status = enrolment.workers.get(workerId)?.status;
    return status !== undefined && status !== "revoked";
  };
  const enrolledSites = (): string[] =>
    enrolment.workers.list().flatMap(({ site, status }) => (status === "revoked" ? [] : [site]));
  return { keys, quotas, gatekeeper, revocable, audit, isEnrolled, enrolledSites, endpoints };
}

function requireLoopback(host: string): void {
  if (isLoopback(host)) return;
  const message = `api.authentication.enabled: false is only for a gateway that nobody else reaches: listen on 127.0.0.1, not on ${host}.`;
  throw fail("config_invalid", message, { host });
}
