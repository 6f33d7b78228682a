/**
 * The limits at the door: rates and concurrency of keys, tenants and addresses, and daily quotas of bytes.
 *
 * A request is let in when every limit that concerns it has room, and only then is anything taken; so a refused one costs nothing. Without
 * limits the way through is one look-up, and the same visit serves all requests of a tenant. Workers are not held to the limits of callers:
 * what they fetch and bring is the work that was let in before.
 */

import type { Clock } from "@legacygpu/shared/clock";
import type { Limits, Visit } from "../auth/gatekeeper.ts";
import type { Principal } from "../auth/principal.ts";
import type { RequestHead } from "../http/exchange.ts";
import { announcedLength } from "../http/request.ts";
import { AddressLimits } from "./address-limits.ts";
import { Allowance, allowanceLimits, longest } from "./allowance.ts";
import { BoundedTable } from "./bounded-table.ts";
import { countedAddress } from "./counted-address.ts";
import type { CallerConfig, LimitsConfig } from "./limits-config.ts";
import { type RateLimitState, type Refusal, rateLimited, rateLimitHeaders } from "./refusal.ts";
import type { TenantQuotas } from "./tenant-quotas.ts";
import type { Account } from "./usage-ledger.ts";

export interface TrafficLimitsOptions {
  /** Monotonic for rates; days are counted on the wall clock. */
  readonly clock: Clock;
  readonly config: LimitsConfig;
  readonly quotas: TenantQuotas;
}

/** Asked by whatever restarts the gateway when they do not answer: never refused. */
const PROBES: ReadonlySet<string> = new Set(["/livez", "/livez/", "/readyz", "/readyz/"]);

/** Counts nothing. */
const UNCOUNTED: Visit = Object.freeze({ leave() {} });

export class TrafficLimits implements Limits {
  readonly #clock: Clock;
  readonly #quotas: TenantQuotas;
  readonly #strangers: AddressLimits;
  readonly #keys: BoundedTable<Allowance> | undefined;
  readonly #tenants: BoundedTable<Allowance> | undefined;
  readonly #addresses: BoundedTable<Allowance> | undefined;
  readonly #isAnyoneLimited: boolean;

  /** @throws `config_invalid` */
  constructor({ clock, config, quotas }: TrafficLimitsOptions) {
    const { perKey, perTenant, perAddress = {} } = config;
    this.#clock = clock;
    this.#quotas = quotas;
    this.#strangers = new AddressLimits(perAddress);
    this.#keys = allowances("perKey", "this key", perKey);
    this.#tenants = allowances("perTenant", "this tenant", perTenant);
    this.#addresses = allowances("perAddress", "this address", perAddress);
    this.#isAnyoneLimited = [this.#keys, this.#tenants, this.#addresses].some((table) => table !== undefined);
  }

  checkAddress(head: RequestHead): void {
    if (this.#strangers.mayRefuse) this.#strangers.checkFailures(head, this.#nowUs());
  }

  authenticationFailed(head: RequestHead): void {
    this.#strangers.failed(head, this.#nowUs());
  }

  openSocket(head: RequestHead): void {
    this.#strangers.openSocket(head, this.#nowUs());
  }

  enterUnknown(head: RequestHead): Visit {
    if (PROBES.has(head.path)) return UNCOUNTED;
    this.#strangers.enterUnauthenticated(head, this.#nowUs());
    return this.#addresses === undefined ? UNCOUNTED : this.#enterLimited(undefined, head);
  }

  enter(principal: Principal, head: RequestHead): Visit {
    if (principal.kind === "worker") return UNCOUNTED;
    if (this.#isAnyoneLimited || this.#quotas.limitsBytesOf(principal.tenant))
      return this.#enterLimited(principal, head);
    const account = this.#quotas.account(principal.tenant);
    account.add("requests", 1);
    return account;
  }

  /** @throws `rate_limited`, `quota_exceeded` */
  #enterLimited(principal: Principal | undefined, head: RequestHead): Visit {
    const nowUs = this.#nowUs();
    const body = announcedLength(head.headers);
    const holders = this.#holders(principal, head, nowUs);
    let refusal: Refusal | undefined;
    for (const holder of holders) refusal = longest(refusal, holder.refusal(body, nowUs));
    if (refusal !== undefined) throw rateLimited(refusal);
    const account = principal && this.#quotas.account(principal.tenant);
    if (account !== undefined) this.#quotas.requireBytes(account, body);
    const announcedBytes = body === "chunked" ? 0 : body;
    for (const holder of holders) holder.enter(announcedBytes, nowUs);
    account?.add("requests", 1);
    return new LimitedVisit({ clock: this.#clock, holders, account, announcedBytes }, nowUs);
  }

  #holders(principal: Principal | undefined, head: RequestHead, nowUs: number): Allowance[] {
    const holders: Allowance[] = [];
    if (principal !== undefined) {
      if (this.#keys !== undefined) holders.push(this.#keys.get(keyOf(principal), nowUs));
      if (this.#tenants !== undefined) holders.push(this.#tenants.get(principal.tenant, nowUs));
    }
    if (this.#addresses !== undefined)
      holders.push(this.#addresses.get(countedAddress(head.remoteAddress), nowUs));
    return holders;
  }

  #nowUs(): number {
    return microseconds(this.#clock);
  }
}

interface VisitParts {
  readonly clock: Clock;
  readonly holders: readonly Allowance[];
  readonly account: Account | undefined;
  readonly announcedBytes: number;
}

class LimitedVisit implements Visit {
  readonly #parts: VisitParts;
  readonly headers: Readonly<Record<string, string>> | undefined;
  #state: "inside" | "left" = "inside";

  constructor(parts: VisitParts, nowUs: number) {
    this.#parts = parts;
    if (parts.account !== undefined) parts.account.pendingBytes += parts.announcedBytes;
    const state = nearestToEmpty(parts.holders, nowUs);
    this.headers = state === undefined ? undefined : rateLimitHeaders(state);
  }

  leave(receivedBytes: number): void {
    if (this.#state === "left") return;
    this.#state = "left";
    const { clock, holders, account, announcedBytes } = this.#parts;
    const nowUs = microseconds(clock);
    for (const holder of holders) holder.leave(announcedBytes, receivedBytes, nowUs);
    if (account === undefined) return;
    account.pendingBytes -= announcedBytes;
    account.leave(receivedBytes);
  }
}

function nearestToEmpty(holders: readonly Allowance[], nowUs: number): RateLimitState | undefined {
  let nearest: RateLimitState | undefined;
  for (const holder of holders) {
    const state = holder.requestState(nowUs);
    if (state !== undefined && (nearest === undefined || state.remaining < nearest.remaining))
      nearest = state;
  }
  return nearest;
}

function allowances(
  name: string,
  holder: string,
  config: CallerConfig | undefined,
): BoundedTable<Allowance> | undefined {
  const limits = allowanceLimits(name, holder, config);
  if (limits === undefined) return undefined;
  return new BoundedTable((nowUs) => new Allowance(limits, nowUs));
}

/** What other issuers call their subjects must not use up what a key of ours may do. */
function keyOf({ kind, keyId }: Principal): string {
  return kind === "external" ? `external ${keyId}` : keyId;
}

function microseconds(clock: Clock): number {
  return Math.floor(clock.monotonic() * 1000);
}
