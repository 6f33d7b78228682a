import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Visit } from "../../gateway/auth/gatekeeper.ts";
import type { LimitsConfig } from "../../gateway/limits/limits-config.ts";
import { principal } from "../support/principals.ts";
import { asked, detailsOf, head, keyOf, LimitsRig, refusalOf, withBody } from "./limits-rig.ts";

const ALICE = keyOf("acme", "alice");
const BOB = keyOf("acme", "bob");
const EVE = keyOf("other", "eve");

test("without limits nothing is refused, no address is asked for, and one visit serves all requests of a tenant", () => {
  const rig = new LimitsRig();
  const before = asked.count;
  const visits = new Set<Visit>();
  for (let i = 0; i < 10_000; i += 1) {
    rig.limits.checkAddress(head());
    visits.add(rig.limits.enter(ALICE, withBody(1e9)));
  }
  assert.equal(visits.size, 1);
  assert.equal(asked.count, before);
  assert.equal([...visits][0]?.headers, undefined);
});

test("a key has its burst, then its rate, and other keys do not notice", () => {
  const rig = new LimitsRig({ perKey: { requestsPerSecond: 2, requestBurst: 5 } });
  const alice = (): unknown => rig.limits.enter(ALICE, head());
  assert.equal(rig.letIn(20, alice), 5);
  assert.equal(
    rig.letIn(20, () => rig.limits.enter(BOB, head())),
    5,
  );
  rig.clock.advance(1000);
  assert.equal(rig.letIn(20, alice), 2);
  rig.clock.advance(60_000);
  assert.equal(rig.letIn(20, alice), 5);
});

test("keys of a tenant share what the tenant may do, and a refused request costs neither", () => {
  const rig = new LimitsRig({
    perKey: { requestsPerSecond: 1, requestBurst: 4 },
    perTenant: { requestsPerSecond: 1, requestBurst: 6 },
  });
  assert.equal(
    rig.letIn(4, () => rig.limits.enter(ALICE, head())),
    4,
  );
  assert.equal(
    rig.letIn(9, () => rig.limits.enter(BOB, head())),
    2,
  );
  assert.equal(detailsOf(() => rig.limits.enter(BOB, head())).limit, "requests of this tenant");
  assert.equal(
    rig.letIn(9, () => rig.limits.enter(EVE, head())),
    4,
  );
  // Were the tenant's refusals charged to the key, Bob would have none left.
  rig.clock.advance(2000);
  assert.equal(
    rig.letIn(9, () => rig.limits.enter(BOB, head())),
    2,
  );
});

test("a refusal says which limit, and after its retry time the request gets in", () => {
  const rig = new LimitsRig({
    perKey: { requestsPerSecond: 0.4, requestBurst: 3 },
    perTenant: { requestsPerSecond: 100 },
  });
  const enter = (): unknown => rig.limits.enter(ALICE, head());
  rig.letIn(3, enter);
  const refusal = refusalOf(enter);
  assert.equal(refusal?.code, "rate_limited");
  assert.deepEqual(refusal.details, {
    limit: "requests of this key",
    allowed: 3,
    retryAfterSeconds: 3,
    rateLimit: { limit: 3, remaining: 0, resetSeconds: 8 },
  });
  assert.match(refusal.message, /requests of this key.* in 3 s/);
  rig.clock.advance(3000);
  assert.equal(refusalOf(enter), undefined);
});

test("of several limits the one that lasts longest is told of", () => {
  const rig = new LimitsRig({
    perKey: { requestsPerSecond: 1, requestBurst: 1 },
    perTenant: { requestsPerSecond: 0.1, requestBurst: 1 },
  });
  rig.limits.enter(ALICE, head());
  const { limit, retryAfterSeconds } = detailsOf(() => rig.limits.enter(ALICE, head()));
  assert.deepEqual({ limit, retryAfterSeconds }, { limit: "requests of this tenant", retryAfterSeconds: 10 });
});

test("what is let in is told how much is left of the limit that is nearest to its end", () => {
  const rig = new LimitsRig({
    perKey: { requestsPerSecond: 1, requestBurst: 10 },
    perTenant: { requestsPerSecond: 2, requestBurst: 12 },
  });
  const headers = (remaining: number, limit: number, reset: number): Record<string, string> => ({
    "ratelimit-limit": String(limit),
    "ratelimit-remaining": String(remaining),
    "ratelimit-reset": String(reset),
  });
  assert.deepEqual(rig.limits.enter(ALICE, head()).headers, headers(9, 10, 1));
  for (let i = 0; i < 4; i += 1) rig.limits.enter(BOB, head());
  assert.deepEqual(rig.limits.enter(ALICE, head()).headers, headers(6, 12, 3));
  const onlyBytes = new LimitsRig({ perKey: { bytesPerSecond: 1000 } });
  assert.equal(onlyBytes.limits.enter(ALICE, head()).headers, undefined);
});

test("announced bytes are counted at the door, and what did not come is given back", () => {
  const rig = new LimitsRig({ perKey: { bytesPerSecond: 1000, byteBurst: 5000 } });
  const visit = rig.limits.enter(ALICE, withBody(5000));
  assert.equal(detailsOf(() => rig.limits.enter(ALICE, withBody(1))).limit, "bytes of this key");
  visit.leave(2000);
  assert.equal(
    refusalOf(() => rig.limits.enter(ALICE, withBody(3000))),
    undefined,
  );
  assert.equal(detailsOf(() => rig.limits.enter(ALICE, withBody(2500))).retryAfterSeconds, 3);
});

test("a body of unknown length is paid for when it has come", () => {
  const rig = new LimitsRig({ perKey: { bytesPerSecond: 1000, byteBurst: 5000 } });
  const chunked = head({ headers: { "transfer-encoding": "chunked" } });
  rig.limits.enter(ALICE, chunked).leave(9000);
  assert.equal(detailsOf(() => rig.limits.enter(ALICE, chunked)).retryAfterSeconds, 5);
  assert.equal(
    refusalOf(() => rig.limits.enter(ALICE, head())),
    undefined,
    "it has no body",
  );
  rig.clock.advance(4001);
  assert.equal(
    refusalOf(() => rig.limits.enter(ALICE, chunked)),
    undefined,
  );
});

test("a body that is larger than the burst gets in when nothing is owed, and is paid for afterwards", () => {
  const rig = new LimitsRig({ perKey: { bytesPerSecond: 1000, byteBurst: 5000 } });
  rig.limits.enter(ALICE, withBody(20_000)).leave(20_000);
  assert.equal(detailsOf(() => rig.limits.enter(ALICE, withBody(1))).retryAfterSeconds, 16);
});

test("requests under way are limited by key and by tenant, and every end makes room for one", () => {
  const rig = new LimitsRig({ perKey: { concurrentRequests: 2 }, perTenant: { concurrentRequests: 3 } });
  const first = rig.limits.enter(ALICE, head());
  rig.limits.enter(ALICE, head());
  assert.deepEqual(
    detailsOf(() => rig.limits.enter(ALICE, head())),
    {
      limit: "concurrent requests of this key",
      allowed: 2,
      retryAfterSeconds: 1,
    },
  );
  rig.limits.enter(BOB, head());
  assert.equal(detailsOf(() => rig.limits.enter(BOB, head())).limit, "concurrent requests of this tenant");
  first.leave(0);
  first.leave(0);
  assert.equal(
    rig.letIn(5, () => rig.limits.enter(ALICE, head())),
    1,
  );
});

test("time alone does not make room for concurrent requests", () => {
  const rig = new LimitsRig({ perKey: { concurrentRequests: 1 } });
  rig.limits.enter(ALICE, head());
  rig.clock.advance(3_600_000);
  // Others come, so that the table looks at what it may forget.
  for (let i = 0; i < 100; i += 1) rig.limits.enter(keyOf("other", `key-${i}`), head()).leave(0);
  assert.ok(refusalOf(() => rig.limits.enter(ALICE, head())));
});

test("workers are not held to the limits of callers", () => {
  const rig = new LimitsRig({
    perKey: { requestsPerSecond: 1, concurrentRequests: 1 },
    perTenant: { requestsPerSecond: 1 },
    dailyQuotas: { default: { bytes: 10 } },
  });
  const worker = { ...principal("box", "worker"), kind: "worker" as const };
  assert.equal(
    rig.letIn(50, () => rig.limits.enter(worker, withBody(1000)).leave(1000)),
    50,
  );
  assert.equal(rig.quotas.usage("box").requests.used, 0);
});

test("a subject of another issuer cannot use up what a key of the same name may do", () => {
  const rig = new LimitsRig({ perKey: { requestsPerSecond: 1, requestBurst: 2 } });
  const twin = { ...keyOf("theirs", ALICE.keyId), kind: "external" as const };
  assert.equal(
    rig.letIn(9, () => rig.limits.enter(twin, head())),
    2,
  );
  assert.equal(
    rig.letIn(9, () => rig.limits.enter(ALICE, head())),
    2,
  );
});

test("limits that are there by default can be taken away", () => {
  const rig = new LimitsRig({
    perAddress: {
      failedAuthenticationsPerMinute: null,
      newSocketsPerSecond: null,
      unauthenticatedRequestsPerSecond: null,
    },
  });
  for (let i = 0; i < 2000; i += 1) rig.limits.authenticationFailed(head());
  const all = (): void => {
    rig.limits.checkAddress(head());
    rig.limits.openSocket(head());
    rig.limits.enterUnknown(head());
  };
  assert.equal(rig.letIn(2000, all), 2000);
});

test("a configuration that means nothing is refused by name", () => {
  const wrong: readonly [LimitsConfig, RegExp][] = [
    [{ perKey: { requestsPerSecond: 0 } }, /perKey\.requestsPerSecond/],
    [{ perKey: { requestBurst: 5 } }, /perKey\.requestBurst/],
    [{ perTenant: { bytesPerSecond: 10, byteBurst: 1e12 } }, /perTenant\.bytesPerSecond/],
    [{ perTenant: { concurrentRequests: 0 } }, /perTenant\.concurrentRequests/],
    [{ perAddress: { newSocketsPerSecond: -1 } }, /perAddress\.newSocketsPerSecond/],
    [{ dailyQuotas: { default: { tasks: -1 } } }, /dailyQuotas\.default\.tasks/],
    [{ dailyQuotas: { tenants: { acme: { bytes: Number.NaN } } } }, /dailyQuotas\.tenants\.acme\.bytes/],
  ];
  for (const [config, message] of wrong)
    assert.throws(() => new LimitsRig(config), { code: "config_invalid", message });
});

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "enter"; readonly key: number; readonly bytes: number }
  | { readonly kind: "leave"; readonly received: number };

const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 2000 }) }),
    fc.record({
      kind: fc.constant("enter" as const),
      key: fc.integer({ min: 0, max: 2 }),
      bytes: fc.integer({ min: 0, max: 400 }),
    }),
    fc.record({ kind: fc.constant("leave" as const), received: fc.integer({ min: 0, max: 400 }) }),
  ),
  { maxLength: 120 },
);

interface Entered {
  readonly visit: Visit;
  readonly atMs: number;
  readonly key: number;
  /** As announced, and when it has left as received. */
  bytes: number;
}

test("whatever comes and goes, no key and no tenant gets more than its rate, its bytes and its places", () => {
  const perKey = { requestsPerSecond: 2, requestBurst: 3, concurrentRequests: 3 };
  const perTenant = { requestsPerSecond: 3, requestBurst: 5, bytesPerSecond: 500, byteBurst: 1000 };
  fc.assert(
    fc.property(steps, (given: readonly Step[]) => {
      const rig = new LimitsRig({ perKey, perTenant });
      const inside: Entered[] = [];
      const entered: Entered[] = [];
      for (const step of given) {
        if (step.kind === "wait") rig.clock.advance(step.ms);
        if (step.kind === "leave") {
          // Of a body with an announced length there never comes more.
          const leaving = inside.shift();
          if (leaving === undefined) continue;
          leaving.bytes = Math.min(step.received, leaving.bytes);
          leaving.visit.leave(leaving.bytes);
        }
        if (step.kind !== "enter") continue;
        const { key, bytes } = step;
        refusalOf(() => {
          const visit = rig.limits.enter(keyOf("acme", `key-${key}`), withBody(bytes));
          const request = { visit, atMs: rig.clock.monotonic(), key, bytes };
          inside.push(request);
          entered.push(request);
        });
        const of = (wanted: number): number => inside.filter((visit) => visit.key === wanted).length;
        for (const wanted of [0, 1, 2]) assert.ok(of(wanted) <= perKey.concurrentRequests);
      }
      for (const [i, { atMs: from }] of entered.entries()) {
        for (const [j, { atMs: to }] of entered.entries()) {
          if (j < i) continue;
          const window = entered.slice(i, j + 1);
          const seconds = (to - from) / 1000;
          assert.ok(window.length <= 5 + 3 * seconds);
          assert.ok(window.reduce((sum, request) => sum + request.bytes, 0) <= 1000 + 500 * seconds);
          for (const wanted of [0, 1, 2])
            assert.ok(window.filter(({ key }) => key === wanted).length <= 3 + 2 * seconds);
        }
      }
      // When all have left and time has passed, everything is as in the beginning.
      for (const { visit, bytes } of inside) visit.leave(bytes);
      rig.clock.advance(60_000);
      assert.equal(
        rig.letIn(9, () => rig.limits.enter(keyOf("acme", "key-0"), withBody(300))),
        3,
      );
    }),
    { numRuns: 100 },
  );
});
