/** What the end of a key does to the link that an agent opened with it, in a whole gateway. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { FakeAgent } from "../support/fake-agent.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

let rig: GatewayRig;

before(async () => {
  rig = await GatewayRig.start();
});
after(() => rig.close());

test("a worker's key that is rotated without grace closes its link at once; with grace it does not", async () => {
  const created = await rig.call("POST", "/keys", { json: { name: "box", scopes: ["worker"] } });
  const old = await FakeAgent.connect(rig, "box", {}, created.body.key);
  const gentle = await rig.call("POST", `/keys/${created.body.id}/rotate`);
  const fresh = await FakeAgent.connect(rig, "other", {}, gentle.body.key);
  assert.equal(old.closed, undefined);

  const hard = await rig.call("POST", `/keys/${created.body.id}/rotate`, { json: { grace: 0 } });
  assert.deepEqual([gentle.status, hard.status], [201, 201]);
  const closure = await until("the link to close", (): FakeAgent["closed"] => old.closed);
  assert.equal(closure.code, CLOSE.unauthorized);
  assert.equal(fresh.closed, undefined);
  await Promise.all([old.close(), fresh.close()]);
});
