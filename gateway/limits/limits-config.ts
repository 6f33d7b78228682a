/** How much callers may do, as an operator writes it down. Everything is optional. */

export interface TrafficConfig {
  /** At least 0.001. */
  readonly requestsPerSecond?: number | undefined;
  /** How many may come at once after a pause. Default: as many as in a second. */
  readonly requestBurst?: number | undefined;
  /** Of request bodies. */
  readonly bytesPerSecond?: number | undefined;
  /** At most 9 GB. A larger body waits for a full bucket and is paid for afterwards. Default: as many as in a second. */
  readonly byteBurst?: number | undefined;
}

export interface CallerConfig extends TrafficConfig {
  /** Requests that have not been answered yet. */
  readonly concurrentRequests?: number | undefined;
}

/** Where there is a default, `null` means no limit. */
export interface AddressConfig extends TrafficConfig {
  /** Default 60. */
  readonly failedAuthenticationsPerMinute?: number | null | undefined;
  /** Default 200. */
  readonly newSocketsPerSecond?: number | null | undefined;
  /** Default 1000: a whole site behind one address connects again at the same moment. */
  readonly newSocketBurst?: number | undefined;
  /** Requests that need no credential. Default 50. */
  readonly unauthenticatedRequestsPerSecond?: number | null | undefined;
  /** Default 200. */
  readonly unauthenticatedRequestBurst?: number | undefined;
}

/** Of a tenant, for one day (UTC). `null`: no limit, where the default has one. */
export interface QuotaConfig {
  readonly tasks?: number | null | undefined;
  /** Time that models ran for it. */
  readonly gpuSeconds?: number | null | undefined;
  /** Of request bodies. */
  readonly bytes?: number | null | undefined;
}

export interface DailyQuotasConfig {
  /** Of every tenant. */
  readonly default?: QuotaConfig | undefined;
  /** By name of the tenant: what differs from the default. */
  readonly tenants?: Readonly<Record<string, QuotaConfig>> | undefined;
}

/** An absent limit does not limit; only addresses have defaults. */
export interface LimitsConfig {
  readonly perKey?: CallerConfig | undefined;
  readonly perTenant?: CallerConfig | undefined;
  readonly perAddress?: AddressConfig | undefined;
  readonly dailyQuotas?: DailyQuotasConfig | undefined;
}
