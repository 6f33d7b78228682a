/** Limits and usage over real TLS: what a caller sees of them. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { usageSchema } from "@legacygpu/shared/api/usage";
import { fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { Authenticator, type CredentialSource } from "../../gateway/auth/authenticator.ts";
import { Gatekeeper } from "../../gateway/auth/gatekeeper.ts";
import type { Principal } from "../../gateway/auth/principal.ts";
import { type Endpoint, errorResponse, json, toRoute } from "../../gateway/http/endpoint.ts";
import { usageEndpoints } from "../../gateway/http/resources/usage.ts";
import type { LimitsConfig } from "../../gateway/limits/limits-config.ts";
import { principal } from "../support/principals.ts";
import { type Gateway, type Reply, startGateway, until } from "./http-server-fixture.ts";
import { keyOf, LimitsRig } from "./limits-rig.ts";

const CALLERS: Readonly<Record<string, Principal>> = {
  alice: keyOf("acme", "alice"),
  eve: keyOf("other", "eve"),
  root: principal("root", "admin"),
  uploader: { ...principal("uploader", "models"), tenant: "acme" },
};

const keys: CredentialSource = {
  authenticate: (presented) => {
    const known = CALLERS[presented];
    if (known === undefined) throw fail("auth_invalid");
    return known;
  },
};

const ENDPOINTS: readonly Endpoint[] = [
  { method: "GET", pattern: "/work", scope: "read", handle: () => json(200, { done: true }) },
  { method: "GET", pattern: "/livez", handle: () => json(200, { live: true }) },
  { method: "GET", pattern: "/open", handle: () => json(200, { open: true }) },
];

/** Requests to `/slow` wait here until they are let go. */
class Gate {
  readonly #waiting: (() => void)[] = [];

  get waiting(): number {
    return this.#waiting.length;
  }

  readonly endpoint: Endpoint = {
    method: "POST",
    pattern: "/slow",
    scope: "submit",
    body: { kind: "buffer", limitBytes: 1000 },
    handle: async () => {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      return json(200, { done: true });
    },
  };

  letGo(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

interface Site {
  readonly gate: Gate;
  readonly rig: LimitsRig;
  readonly gateway: Gateway;
  get(path: string, key?: string): Promise<Reply>;
}

async function open(t: TestContext, config: LimitsConfig): Promise<Site> {
  const rig = new LimitsRig(config);
  const gate = new Gate();
  const authenticator = new Authenticator({
    keys,
    identities: keys,
    tokens: { authenticate: () => Promise.reject(fail("auth_invalid")) },
  });
  const gatekeeper = new Gatekeeper({
    clock: rig.clock,
    revocable: [],
    authenticator,
    limits: rig.limits,
    audit: { record() {} },
  });
  const gateway = await startGateway(t, {
    routes: [...ENDPOINTS, gate.endpoint, ...usageEndpoints(rig.quotas)].map((endpoint) =>
      toRoute(endpoint, gatekeeper),
    ),
    errorResponse: errorResponse(createLogger("test", "silent")),
  });
  const get = (path: string, key?: string): Promise<Reply> =>
    gateway.fetch(path, key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } });
  return { rig, gate, gateway, get };
}

const limitHeaders = ({ headers }: Reply): unknown[] =>
  ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"].map((name) => headers[name]);

test("a tenant that is over its rate gets 429 with the time to wait, recovers after it, and nobody else notices", async (t) => {
  const { rig, get } = await open(t, { perTenant: { requestsPerSecond: 0.5, requestBurst: 2 } });
  assert.deepEqual(limitHeaders(await get("/work", "alice")), ["2", "1", "2", undefined]);
  assert.deepEqual(limitHeaders(await get("/work", "alice")), ["2", "0", "4", undefined]);
  const refused = await get("/work", "alice");
  assert.equal(refused.status, 429);
  assert.deepEqual(limitHeaders(refused), ["2", "0", "4", "2"]);
  assert.equal(refused.headers["content-type"], "application/problem+json");
  const problem = JSON.parse(refused.text) as { code: string; details: Record<string, unknown> };
  assert.equal(problem.code, "rate_limited");
  assert.equal(problem.details.limit, "requests of this tenant");
  assert.equal(problem.details.retryAfterSeconds, 2);
  assert.equal((await get("/work", "eve")).status, 200);
  rig.clock.advance(2000);
  assert.deepEqual(limitHeaders(await get("/work", "alice")), ["2", "0", "4", undefined]);
  assert.equal((await get("/work", "alice")).status, 429);
});

test("without limits no header speaks of them", async (t) => {
  const { get } = await open(t, {});
  const reply = await get("/work", "alice");
  assert.equal(reply.status, 200);
  assert.deepEqual(limitHeaders(reply), [undefined, undefined, undefined, undefined]);
});

test("after too many wrong keys right ones are refused like wrong ones, until time has passed", async (t) => {
  const { rig, get } = await open(t, { perAddress: { failedAuthenticationsPerMinute: 3 } });
  for (let i = 0; i < 3; i += 1) assert.equal((await get("/work", "guess")).status, 401);
  const wrong = await get("/work", "guess");
  const right = await get("/work", "alice");
  assert.deepEqual([wrong.status, right.status], [429, 429]);
  assert.equal(right.headers["retry-after"], "20");
  const withoutId = ({ text }: Reply): object => ({ ...JSON.parse(text), request_id: "" });
  assert.deepEqual(withoutId(right), withoutId(wrong));
  assert.equal((await get("/livez")).status, 200);
  rig.clock.advance(20_000);
  assert.equal((await get("/work", "alice")).status, 200);
});

test("who shows no credential at all locks nobody out: a web page could make every browser of an office do that", async (t) => {
  const { get } = await open(t, {
    perAddress: {
      failedAuthenticationsPerMinute: 1,
      unauthenticatedRequestsPerSecond: 1,
      unauthenticatedRequestBurst: 3,
    },
  });
  for (let i = 0; i < 3; i += 1) assert.equal((await get("/work")).status, 401);
  assert.equal((await get("/work")).status, 429);
  assert.equal((await get("/work", "alice")).status, 200);
});

test("requests without a credential are limited by address, probes are not", async (t) => {
  const { get } = await open(t, {
    perAddress: { unauthenticatedRequestsPerSecond: 1, unauthenticatedRequestBurst: 2 },
  });
  const statuses = async (path: string): Promise<number[]> => {
    const replies = [await get(path), await get(path), await get(path)];
    return replies.map(({ status }) => status);
  };
  assert.deepEqual(await statuses("/open"), [200, 200, 429]);
  assert.deepEqual(await statuses("/livez"), [200, 200, 200]);
  assert.equal((await get("/work", "alice")).status, 200);
});

test("a request keeps its place until it is answered or its client has hung up, and its bytes are counted then", async (t) => {
  const { rig, gate, gateway, get } = await open(t, { perKey: { concurrentRequests: 1 } });
  const post = (body: string, signal?: AbortSignal): Promise<Reply> =>
    gateway.fetch("/slow", {
      method: "POST",
      headers: { authorization: "Bearer alice" },
      body,
      ...(signal === undefined ? {} : { signal }),
    });
  const bytes = (): number => rig.quotas.usage("acme").bytes.used;

  const answered = post("x".repeat(300));
  await until(() => gate.waiting === 1, "the request to be handled");
  const refused = await get("/work", "alice");
  assert.equal(refused.status, 429);
  assert.equal(refused.headers["retry-after"], "1");
  assert.equal((await get("/work", "eve")).status, 200);
  gate.letGo();
  assert.equal((await answered).status, 200);
  await until(() => bytes() === 300, "its bytes to be counted");

  const hangUp = new AbortController();
  const abandoned = post("x".repeat(50), hangUp.signal);
  await until(() => gate.waiting === 1, "the second request to be handled");
  hangUp.abort();
  await assert.rejects(abandoned);
  await until(() => bytes() === 350, "the end of the abandoned request");
  assert.equal((await get("/work", "alice")).status, 200);
  gate.letGo();
});

test("a tenant sees its own usage with the quota that holds for it", async (t) => {
  const { rig, get } = await open(t, { dailyQuotas: { tenants: { acme: { tasks: 10, gpuSeconds: 1.5 } } } });
  rig.quotas.chargeTasks({ tenant: "acme" }, 4);
  rig.quotas.taskRan("acme", 1250);
  await get("/work", "alice");
  const reply = await get("/usage", "alice");
  assert.equal(reply.status, 200);
  assert.deepEqual(usageSchema.parse(JSON.parse(reply.text)), {
    tenant: "acme",
    day: "2026-01-02",
    resets_at: "2026-01-03T00:00:00.000Z",
    tasks: { used: 4, limit: 10 },
    gpu_seconds: { used: 1.25, limit: 1.5 },
    bytes: { used: 0, limit: null },
    requests: { used: 2, limit: null },
  });
});

test("only administrators see the usage of another tenant", async (t) => {
  const { rig, get } = await open(t, {});
  rig.quotas.chargeTasks({ tenant: "acme" }, 4);
  const seen = await get("/usage?tenant=acme", "root");
  assert.equal(seen.status, 200);
  assert.equal(usageSchema.parse(JSON.parse(seen.text)).tasks.used, 4);
  assert.equal((await get("/usage?tenant=acme", "eve")).status, 403);
  assert.equal((await get("/usage", "uploader")).status, 403);
  assert.equal((await get("/usage")).status, 401);
  for (const query of ["tenant=", "tenant=a%00b", "tenant=a&tenant=b", `tenant=${"a".repeat(201)}`, "day=1"])
    assert.equal((await get(`/usage?${query}`, "root")).status, 400, query);
});
