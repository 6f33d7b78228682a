/** Limits with everything real behind them, on a clock that stands still, and requests that come from any address. */

import assert from "node:assert/strict";
import { asLegacyGpuError, type LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import type { Principal } from "../../gateway/auth/principal.ts";
import type { RequestHead } from "../../gateway/http/exchange.ts";
import type { LimitsConfig } from "../../gateway/limits/limits-config.ts";
import { TenantQuotas } from "../../gateway/limits/tenant-quotas.ts";
import { TrafficLimits } from "../../gateway/limits/traffic-limits.ts";
import { UsageLedger } from "../../gateway/limits/usage-ledger.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { principal } from "../support/principals.ts";

/** Noon of a day, UTC. */
export const NOON = Date.UTC(2026, 0, 2, 12);

interface HeadWishes {
  readonly path?: string;
  readonly address?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** How often somebody asked where a request comes from. */
export const asked = { count: 0 };

export function head({ path = "/tasks", address = "192.0.2.1", headers = {} }: HeadWishes = {}): RequestHead {
  return {
    id: "request",
    method: "POST",
    path,
    params: {},
    query: new URLSearchParams(),
    headers: new Map(Object.entries(headers)),
    get remoteAddress() {
      asked.count += 1;
      return address;
    },
  };
}

export const withBody = (bytes: number): RequestHead =>
  head({ headers: { "content-length": String(bytes) } });

/** A key of a tenant that may have several. */
export function keyOf(tenant: string, keyId = `${tenant}-key`): Principal {
  return { ...principal(keyId, "submit", "read"), tenant };
}

export class LimitsRig {
  readonly clock: ManualClock;
  readonly documents: MemoryDocuments;
  readonly ledger: UsageLedger;
  readonly quotas: TenantQuotas;
  readonly limits: TrafficLimits;

  constructor(
    config: LimitsConfig = {},
    { clock = new ManualClock(NOON), documents = new MemoryDocuments() } = {},
  ) {
    this.clock = clock;
    this.documents = documents;
    this.ledger = new UsageLedger({ clock, documents, log: createLogger("test", "silent") });
    this.quotas = new TenantQuotas({ clock, ledger: this.ledger, config: config.dailyQuotas });
    this.limits = new TrafficLimits({ clock, config, quotas: this.quotas });
  }

  /** How many of `count` requests get in at this moment; the others are refused with `rate_limited`. */
  letIn(count: number, enter: () => unknown): number {
    let entered = 0;
    for (let i = 0; i < count; i += 1) {
      if (refusalOf(enter) === undefined) entered += 1;
    }
    return entered;
  }
}

/** Undefined when it is let in. */
export function refusalOf(enter: () => unknown): LegacyGpuError | undefined {
  try {
    enter();
    return undefined;
  } catch (error) {
    const known = asLegacyGpuError(error);
    assert.match(known.code, /^(rate_limited|quota_exceeded)$/, String(known.cause ?? known));
    return known;
  }
}

/** Of a refusal that must be there. */
export function detailsOf(enter: () => unknown): Readonly<Record<string, unknown>> {
  const refusal = refusalOf(enter);
  assert.ok(refusal, "it was let in");
  return refusal.details;
}
