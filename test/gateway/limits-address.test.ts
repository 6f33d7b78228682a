/** What the door allows an address, whoever comes from it: requests, failures to authenticate, sockets. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestHead } from "../../gateway/http/exchange.ts";
import { asked, detailsOf, head, keyOf, LimitsRig, refusalOf } from "./limits-rig.ts";

const ALICE = keyOf("acme", "alice");
const EVE = keyOf("other", "eve");

test("an address has limits of its own, whoever comes from it", () => {
  const rig = new LimitsRig({ perAddress: { requestsPerSecond: 1, requestBurst: 3 } });
  const from = (address: string): RequestHead => head({ address });
  assert.equal(
    rig.letIn(2, () => rig.limits.enter(ALICE, from("2001:db8::1"))),
    2,
  );
  assert.equal(
    rig.letIn(5, () => rig.limits.enter(EVE, from("2001:db8::2"))),
    1,
  );
  assert.equal(
    detailsOf(() => rig.limits.enterUnknown(from("2001:db8::3"))).limit,
    "requests of this address",
  );
  assert.equal(
    rig.letIn(5, () => rig.limits.enter(EVE, from("2001:db8:0:1::2"))),
    3,
  );
});

test("who fails to authenticate too often is refused before the credential is looked at, and heals by time", () => {
  const rig = new LimitsRig({ perAddress: { failedAuthenticationsPerMinute: 6 } });
  const guesser = head({ address: "2001:db8::1" });
  const neighbour = head({ address: "2001:db8::ffff:1" });
  const stranger = head({ address: "2001:db8:1::1" });
  const check = (from: RequestHead) => (): void => rig.limits.checkAddress(from);
  for (let i = 0; i < 6; i += 1) {
    assert.equal(refusalOf(check(guesser)), undefined);
    rig.limits.authenticationFailed(guesser);
  }
  const { limit, retryAfterSeconds } = detailsOf(check(guesser));
  assert.deepEqual(
    { limit, retryAfterSeconds },
    { limit: "failed authentications from this address", retryAfterSeconds: 10 },
  );
  assert.ok(refusalOf(check(neighbour)), "it has the same /64");
  assert.equal(refusalOf(check(stranger)), undefined);
  rig.clock.advance(9_999);
  assert.ok(refusalOf(check(guesser)));
  rig.clock.advance(1);
  assert.equal(refusalOf(check(guesser)), undefined);
  rig.limits.authenticationFailed(guesser);
  assert.ok(refusalOf(check(guesser)));
});

test("many failures at once lengthen the wait, but not beyond one more burst", () => {
  const rig = new LimitsRig({ perAddress: { failedAuthenticationsPerMinute: 60 } });
  for (let i = 0; i < 10_000; i += 1) rig.limits.authenticationFailed(head());
  assert.equal(detailsOf(() => rig.limits.checkAddress(head())).retryAfterSeconds, 61);
});

test("while nobody is refused, no address is asked for", () => {
  const rig = new LimitsRig({ perAddress: { failedAuthenticationsPerMinute: 2 } });
  rig.limits.authenticationFailed(head());
  const checks = (): number => {
    const before = asked.count;
    for (let i = 0; i < 10; i += 1) refusalOf(() => rig.limits.checkAddress(head()));
    return asked.count - before;
  };
  assert.equal(checks(), 0);
  rig.limits.authenticationFailed(head());
  assert.equal(checks(), 10);
  rig.clock.advance(30_000);
  assert.equal(checks(), 0);
});

test("who has hung up is not counted under an address that all share who have", () => {
  const rig = new LimitsRig({ perAddress: { failedAuthenticationsPerMinute: 1 } });
  for (let i = 0; i < 10; i += 1) rig.limits.authenticationFailed(head({ address: "" }));
  assert.equal(
    refusalOf(() => rig.limits.checkAddress(head({ address: "" }))),
    undefined,
  );
});

test("sockets are opened in a burst of a whole site and then at the rate", () => {
  const rig = new LimitsRig();
  const open = (): void => rig.limits.openSocket(head());
  assert.equal(rig.letIn(1500, open), 1000);
  rig.clock.advance(500);
  assert.equal(rig.letIn(1500, open), 100);
  assert.equal(
    rig.letIn(5, () => rig.limits.openSocket(head({ address: "192.0.2.2" }))),
    5,
  );
});

test("requests without a credential are limited by address, but nobody's probes ever", () => {
  const rig = new LimitsRig({ perAddress: { requestsPerSecond: 1, requestBurst: 10_000 } });
  const jwks = (): unknown => rig.limits.enterUnknown(head({ path: "/.well-known/jwks.json" }));
  assert.equal(rig.letIn(500, jwks), 200);
  for (const path of ["/livez", "/readyz", "/livez/", "/readyz/"])
    assert.equal(
      rig.letIn(50_000, () => rig.limits.enterUnknown(head({ path }))),
      50_000,
      path,
    );
  rig.clock.advance(1000);
  assert.equal(rig.letIn(500, jwks), 50);
});
