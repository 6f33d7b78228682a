/** What becomes of webhook endpoints when the key on whose word they are there ends. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import type { Principal } from "../../gateway/auth/principal.ts";
import { until } from "../support/until.ts";
import { OWNER, removeCertificates, WebhookRig } from "./webhook-rig.ts";

after(removeCertificates);

async function start(t: TestContext) {
  const rig = await WebhookRig.start(t);
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-vouching-"));
  const keys = await KeyRing.open(join(folder, "keys.json"), rig.clock);
  t.after(async () => {
    await keys.close();
    await rm(folder, { recursive: true });
  });
  /** Of the tenant whose tasks the rig has. */
  const issue = async (name: string): Promise<Principal> => {
    const { id } = await keys.issue("client", { name, scopes: ["submit"], tenant: OWNER.tenant });
    return keys.principalOf(id) as Principal;
  };
  const stateOf = (id: string) => rig.webhooks.endpoint(OWNER, id).state;
  const disabled = (id: string) => until(`${id} is disabled`, () => stateOf(id) === "disabled");
  return { rig, keys, issue, stateOf, disabled };
}

test("a revoked key takes its endpoints with it: they say why and get nothing, until somebody else vouches for them", async (t) => {
  const { rig, keys, issue, stateOf, disabled } = await start(t);
  rig.webhooks.follow(keys);
  const [leaver, stayer] = [await issue("leaver"), await issue("stayer")];
  const theirs = await rig.endpoint("/theirs", leaver);
  const ours = await rig.endpoint("/ours", stayer);
  await keys.revoke(leaver.keyId);
  await disabled(theirs.endpointId);
  assert.match(rig.webhooks.endpoint(OWNER, theirs.endpointId).disabledReason ?? "", /key .* was revoked/);
  const refused = await rig.deliver(theirs);
  await until("the delivery to be given up", () => rig.delivery(refused).state === "failed");
  assert.match(rig.delivery(refused).reason ?? "", /disabled/);
  await rig.becomes(await rig.deliver(ours), "delivered");
  assert.deepEqual(
    rig.receiver.requests.map(({ path }) => path),
    ["/ours"],
  );

  await rig.webhooks.enable(stayer, theirs.endpointId);
  await rig.becomes(await rig.deliver(theirs), "delivered");
  await keys.revoke(stayer.keyId);
  await disabled(theirs.endpointId);
  assert.equal(stateOf(ours.endpointId), "disabled");
});

test("an endpoint that a task has registered by its URL ends with the task's key", async (t) => {
  const { rig, keys, issue, disabled } = await start(t);
  rig.webhooks.follow(keys);
  const key = await issue("laptop");
  const { endpointId } = await rig.webhooks.resolve(key, { url: rig.receiver.url });
  await keys.revoke(key.keyId);
  await disabled(endpointId);
});

test("a key that expires or is rotated leaves its endpoints to the others of its tenant", async (t) => {
  const { rig, keys, issue, stateOf } = await start(t);
  rig.webhooks.follow(keys);
  const ended: string[] = [];
  keys.onRevoked((id) => void ended.push(id));
  const key = await issue("laptop");
  const webhook = await rig.endpoint("/hook", key);
  await keys.rotate(key.keyId, 60);
  rig.clock.advance(60_000);
  assert.deepEqual(ended, [key.keyId]);
  await rig.becomes(await rig.deliver(webhook), "delivered");
  assert.equal(stateOf(webhook.endpointId), "active");
});

test("what a crash between the revocation and the endpoint has left undone is done by the next start", async (t) => {
  const { rig, keys, issue } = await start(t);
  const key = await issue("laptop");
  const webhook = await rig.endpoint("/hook", key);
  const { vouchedBy: _, ...earlier } = (await rig.endpoint("/earlier", key)).endpoint;
  await rig.documents.put([{ collection: "webhooks", id: earlier.id, value: earlier }]);
  await keys.revoke(key.keyId);
  const next = rig.successor(t, rig.documents.copy());
  next.webhooks.start();
  assert.equal(next.webhooks.endpoint(OWNER, webhook.endpointId).state, "active");
  next.webhooks.follow(keys);
  const state = (id: string) => next.webhooks.endpoint(OWNER, id).state;
  await until("it is disabled", () => state(webhook.endpointId) === "disabled");
  assert.equal(state(earlier.id), "active", "nobody knows who vouched for it");
});
