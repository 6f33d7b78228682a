/** What the configuration says about connections and trust, in the gateway's own words. */

import type { Config } from "@legacygpu/shared/config";

export type TransportSettings = ReturnType<typeof transportOf>;
export type TrustSettings = ReturnType<typeof trustOf>;

export function transportOf({ tls, plainHttp, corsOrigins }: Config["api"]) {
  return { certificateFiles: tls, isPlainHttp: plainHttp, corsOrigins };
}

export function trustOf({ api, coordinator, limits }: Config) {
  const { enabled, keys, oidc } = api.authentication;
  return {
    isAuthenticated: enabled,
    keys,
    issuers: oidc.map(({ issuer, audience, jwks_uri, algorithms, scopes, tenant_claim }) => ({
      issuer,
      audience,
      jwksUri: jwks_uri,
      algorithms,
      scopes,
      tenantClaim: tenant_claim,
    })),
    limits: limitsOf(limits),
    workerApproval: coordinator.workerApproval,
  };
}

function limitsOf(given: Config["limits"]) {
  const { request_burst: requestBurst, tenants = {} } = given;
  return {
    perKey: {
      requestsPerSecond: given.requests_per_second_per_key,
      requestBurst,
      bytesPerSecond: given.bytes_per_second_per_key,
      concurrentRequests: given.concurrent_requests_per_key,
    },
    perTenant: {
      requestsPerSecond: given.requests_per_second_per_tenant,
      requestBurst,
      bytesPerSecond: given.bytes_per_second_per_tenant,
      concurrentRequests: given.concurrent_requests_per_tenant,
    },
    perAddress: {
      requestsPerSecond: given.requests_per_second_per_address,
      requestBurst,
      bytesPerSecond: given.bytes_per_second_per_address,
      failedAuthenticationsPerMinute: given.failed_authentications_per_minute,
      newSocketsPerSecond: given.new_sockets_per_second,
      unauthenticatedRequestsPerSecond: given.unauthenticated_requests_per_second,
    },
    dailyQuotas: {
      default: quotaOf(given),
      tenants: Object.fromEntries(Object.entries(tenants).map(([name, quota]) => [name, quotaOf(quota)])),
    },
  };
}

type GivenQuota = Pick<Config["limits"], "tasks_per_day" | "gpu_seconds_per_day" | "bytes_per_day">;

function quotaOf({ tasks_per_day, gpu_seconds_per_day, bytes_per_day }: GivenQuota) {
  return { tasks: tasks_per_day, gpuSeconds: gpu_seconds_per_day, bytes: bytes_per_day };
}
