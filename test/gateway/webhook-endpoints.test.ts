import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ADMIN, OWNER, removeCertificates, STRANGER, WebhookRig } from "./webhook-rig.ts";

after(removeCertificates);

const all = { limit: 1000 };

test("a task may name a URL: the first registers an endpoint, the others share it", async (t) => {
  const rig = await WebhookRig.start(t);
  const { url } = rig.receiver;
  const first = await rig.webhooks.resolve(OWNER, { url });
  const second = await rig.webhooks.resolve(OWNER, { url: `${url}#part`, events: ["started", "started"] });
  assert.equal(second.endpointId, first.endpointId);
  assert.deepEqual(first.events, ["completed"]);
  assert.deepEqual(second.events, ["started"]);
  assert.equal(rig.webhooks.list(OWNER, all).endpoints.length, 1);
  const other = await rig.webhooks.resolve(STRANGER, { url });
  assert.notEqual(other.endpointId, first.endpointId);
});

test("tasks that name a new URL at the same moment share one endpoint too, and it is stored for all of them", async (t) => {
  const rig = await WebhookRig.start(t);
  const { url } = rig.receiver;
  const resolve = async (): Promise<string> => {
    const { endpointId } = await rig.webhooks.resolve(OWNER, { url });
    assert.deepEqual(rig.documents.ids("webhooks"), [endpointId]);
    return endpointId;
  };
  const resolved = Array.from({ length: 20 }, resolve);
  // One that comes when the endpoint is known already but not yet stored.
  for (let turns = 0; turns < 1000 && rig.webhooks.list(OWNER, all).endpoints.length === 0; turns += 1)
    await Promise.resolve();
  assert.deepEqual(rig.documents.ids("webhooks"), []);
  resolved.push(resolve());
  assert.equal(new Set(await Promise.all(resolved)).size, 1);
});

test("a URL means the endpoint that was registered last with it, whose secret its owner has seen", async (t) => {
  const rig = await WebhookRig.start(t);
  const { url } = rig.receiver;
  await rig.webhooks.resolve(OWNER, { url });
  const registered = await rig.webhooks.register(OWNER, { url, events: ["started"] });
  assert.deepEqual(await rig.webhooks.resolve(OWNER, { url }), {
    endpointId: registered.id,
    events: ["started"],
  });
});

test("a task may name an endpoint of its own key, and no other", async (t) => {
  const rig = await WebhookRig.start(t);
  const { endpointId } = await rig.endpoint();
  const own = await rig.webhooks.resolve(OWNER, { endpoint: endpointId });
  assert.deepEqual(own, { endpointId, events: ["started", "completed"] });
  for (const principal of [STRANGER, ADMIN])
    await assert.rejects(rig.webhooks.resolve(principal, { endpoint: endpointId }), {
      code: "webhook_not_found",
    });
});

test("an address that may not be called registers nothing", async (t) => {
  const rig = await WebhookRig.start(t, { allowedNetworks: [] });
  const refused = { code: "webhook_address_refused" };
  await assert.rejects(rig.webhooks.resolve(OWNER, { url: rig.receiver.url }), refused);
  await assert.rejects(rig.webhooks.resolve(OWNER, { url: "not a URL" }), refused);
  await assert.rejects(rig.webhooks.register(OWNER, { url: "https://[::1]/" }), refused);
  assert.deepEqual(rig.webhooks.list(OWNER, all).endpoints, []);
  assert.deepEqual(rig.documents.ids("webhooks"), []);
});

test("a name that does not resolve in time is refused", async (t) => {
  const rig = await WebhookRig.start(t, { lookup: () => new Promise(() => {}) });
  const registered = rig.webhooks.register(OWNER, { url: rig.receiver.url });
  rig.clock.advance(5000);
  await assert.rejects(registered, { code: "webhook_address_refused", message: /5 s/ });
});

test("what the store refuses is not registered, and the next try may succeed", async (t) => {
  const rig = await WebhookRig.start(t);
  const { url } = rig.receiver;
  rig.documents.isFull = true;
  const tries = [rig.webhooks.resolve(OWNER, { url }), rig.webhooks.resolve(OWNER, { url })];
  for (const result of await Promise.allSettled(tries)) {
    assert.equal(result.status, "rejected");
    assert.equal(result.reason.code, "store_full");
  }
  assert.deepEqual(rig.webhooks.list(OWNER, all).endpoints, []);
  rig.documents.isFull = false;
  await rig.webhooks.resolve(OWNER, { url });
});

test("a key has a hundred endpoints at most, also when it registers them all at once", async (t) => {
  const rig = await WebhookRig.start(t);
  const register = (index: number) => rig.webhooks.register(OWNER, { url: `${rig.receiver.url}/${index}` });
  const results = await Promise.allSettled(Array.from({ length: 105 }, (_, index) => register(index)));
  const refusals = results.filter((result) => result.status === "rejected");
  assert.deepEqual(
    refusals.map(({ reason }) => [reason.code, reason.details.limit]),
    Array(5).fill(["request_invalid", 100]),
  );
  await rig.webhooks.register(STRANGER, { url: rig.receiver.url });
  const [oldest] = rig.webhooks.list(OWNER, all).endpoints;
  await rig.webhooks.remove(OWNER, oldest?.id ?? "");
  await register(200);
});

test("endpoints outlive the process, with their secrets and their state", async (t) => {
  const rig = await WebhookRig.start(t);
  const first = await rig.endpoint("/first");
  await rig.webhooks.rotateSecret(OWNER, first.endpointId);
  await rig.endpoint("/second", STRANGER);
  const before = rig.webhooks.list(ADMIN, all);
  const next = rig.successor(t, rig.documents.copy());
  next.webhooks.start();
  const known = next.webhooks.list(ADMIN, all);
  // What is absent is not stored.
  assert.deepEqual(known, JSON.parse(JSON.stringify(before)));
  assert.equal(known.endpoints[0]?.previousSecret, first.endpoint.secret);
});

test("a damaged endpoint stops the start and is named", async (t) => {
  const rig = await WebhookRig.start(t);
  const disk = rig.documents.copy();
  await disk.put([{ collection: "webhooks", id: "wh_broken", value: { id: "wh_broken" } }]);
  const next = rig.successor(t, disk);
  assert.throws(() => next.webhooks.start(), {
    code: "store_corrupt",
    details: { key: "webhooks/wh_broken" },
  });
});

test("a rotation and whatever else changes an endpoint at the same moment are both kept", async (t) => {
  const rig = await WebhookRig.start(t);
  const { endpointId, endpoint } = await rig.endpoint();
  const [first, second] = await Promise.all([
    rig.webhooks.rotateSecret(OWNER, endpointId),
    rig.webhooks.rotateSecret(OWNER, endpointId),
    rig.webhooks.enable(OWNER, endpointId),
  ]);
  assert.equal(first?.previousSecret, endpoint.secret);
  assert.equal(second?.previousSecret, first?.secret);
  assert.deepEqual(rig.webhooks.endpoint(OWNER, endpointId), second);
});

test("a rotation that cannot be stored has not happened", async (t) => {
  const rig = await WebhookRig.start(t);
  const { endpointId, endpoint } = await rig.endpoint();
  rig.documents.isFull = true;
  await assert.rejects(rig.webhooks.rotateSecret(OWNER, endpointId), { code: "store_full" });
  assert.equal(rig.webhooks.endpoint(OWNER, endpointId).secret, endpoint.secret);
});
