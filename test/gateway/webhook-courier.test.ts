/** The queue of deliveries: it outlives a crash, is fair to every endpoint, and leaves nothing behind. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { until } from "../support/until.ts";
import { answer, OWNER, removeCertificates, verified, WebhookRig } from "./webhook-rig.ts";

after(removeCertificates);

const SECOND_MS = 1000;
const DAY_MS = 24 * 3_600_000;

test("a gateway that starts takes up what another one has left, at its time", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500));
  const webhook = await rig.endpoint();
  const tried = await rig.deliver(webhook);
  await rig.becomes(tried, "waiting");
  const stored = rig.webhooks.deliveriesFor(rig.task(webhook), "completed");
  await rig.documents.put(stored); // and then it crashed
  await rig.close();
  assert.equal(rig.receiver.requests.length, 1);

  const next = rig.successor(t, rig.documents.copy());
  next.webhooks.start();
  const fresh = stored.find(({ collection }) => collection === "deliveries")?.id ?? "";
  await next.becomes(fresh, "delivered");
  next.clock.advance(5 * SECOND_MS);
  await next.becomes(tried, "delivered", 2);
  const { requests } = rig.receiver;
  for (const request of requests) await verified(next, request, webhook.endpoint.secret);
});

test("a crash after the receiver has answered and before that is stored: the same message comes once more", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  const disk = rig.documents.copy();
  await rig.becomes(id, "delivered");
  rig.successor(t, disk).webhooks.start();
  await rig.receiver.received(2);
  assert.deepEqual(rig.receiver.ids, [id, id]);
});

test("while the store is full nobody gets the same message again and again", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  rig.receiver.script.push((response) => {
    rig.documents.isFull = true;
    response.end();
  });
  const id = await rig.deliver(webhook);
  await until("the store has refused", () => rig.lines.some((line) => line.includes("cannot be stored yet")));
  for (let seconds = 0; seconds < 600; seconds += 1) {
    rig.clock.advance(SECOND_MS);
    rig.webhooks.wake();
    await new Promise(setImmediate);
  }
  assert.equal(rig.receiver.requests.length, 1);
  rig.documents.isFull = false;
  await until("the outcome is stored", () => {
    rig.clock.advance(SECOND_MS);
    return rig.delivery(id).state === "delivered";
  });
  assert.equal(rig.receiver.requests.length, 1);
});

test("at most two at a time go to one endpoint and eight in all, and an endpoint that is stuck holds up nobody", async (t) => {
  const rig = await WebhookRig.start(t);
  const held: (() => void)[] = [];
  const open = new Map<string, number>();
  const highest = new Map<string, number>();
  const count = (key: string, by: number): void => {
    const now = (open.get(key) ?? 0) + by;
    open.set(key, now);
    highest.set(key, Math.max(now, highest.get(key) ?? 0));
  };
  rig.receiver.always = (response, { path }) => {
    for (const key of [path, "all"]) count(key, 1);
    const end = (): void => {
      for (const key of [path, "all"]) count(key, -1);
      response.writeHead(204).end();
    };
    if (path === "/quick") end();
    else held.push(end);
  };
  const ids: string[] = [];
  for (const path of ["/a", "/b", "/c"]) {
    const webhook = await rig.endpoint(path);
    for (let i = 0; i < 5; i += 1) ids.push(await rig.deliver(webhook));
  }
  await until("three endpoints hold two each", () => held.length === 6);
  const quick = await rig.endpoint("/quick");
  for (let i = 0; i < 5; i += 1) await rig.becomes(await rig.deliver(quick), "delivered");
  assert.equal(held.length, 6);
  for (const path of ["/d", "/e"]) ids.push(await rig.deliver(await rig.endpoint(path)));
  await until("eight are under way", () => held.length === 8);
  ids.push(await rig.deliver(await rig.endpoint("/f")));
  // The first three have nine more that wait; each gets a turn, and then it is the turn of the newcomer.
  for (const end of held.splice(0, 4)) end();
  await until("the newcomer has its turn", () => rig.receiver.requests.some(({ path }) => path === "/f"));
  assert.ok(ids.some((id) => rig.delivery(id).attempts.length === 0 && rig.delivery(id).state === "waiting"));
  const ended = () => ids.every((id) => rig.delivery(id).state === "delivered");
  await until("all have arrived", () => {
    held.shift()?.();
    return ended();
  });
  assert.equal(highest.get("all"), 8);
  for (const path of ["/a", "/b", "/c"]) assert.equal(highest.get(path), 2, path);
});

test("many that wait for many endpoints arrive once each, and leave nothing behind", async (t) => {
  const rig = await WebhookRig.start(t);
  const ids: string[] = [];
  for (let i = 0; i < 10; i += 1) {
    const webhook = await rig.endpoint(`/many-${i}`);
    for (let k = 0; k < 6; k += 1) ids.push(await rig.deliver(webhook));
  }
  await until("all have arrived", () => ids.every((id) => rig.delivery(id).state === "delivered"));
  assert.deepEqual([...rig.receiver.ids].sort(), [...ids].sort());
  await until("the queues are empty", () => rig.documents.ids("deliveries_due").length === 0);
  assert.equal(rig.clock.pendingCount, 0);
});

test("many endpoints that are down do not keep the courier from the next one", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.always = (response, { path }) => void response.writeHead(path === "/up" ? 204 : 500).end();
  const ids: string[] = [];
  for (let i = 0; i < 70; i += 1) ids.push(await rig.deliver(await rig.endpoint(`/down-${i}`)));
  await until("all have been tried", () => {
    rig.clock.advance(1);
    return ids.every((id) => rig.delivery(id).attempts.length === 1);
  });
  const id = await rig.deliver(await rig.endpoint("/up"));
  await until("the next one has arrived", () => {
    rig.clock.advance(1);
    return rig.delivery(id).state === "delivered";
  });
  assert.equal(rig.receiver.requests.length, 71);
});

test("what waits for an endpoint ends with it, also when it was written after the end", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500));
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  await rig.becomes(id, "waiting");
  await rig.webhooks.remove(OWNER, webhook.endpointId);
  assert.throws(() => rig.webhooks.endpoint(OWNER, webhook.endpointId), { code: "webhook_not_found" });
  assert.throws(() => rig.delivery(id), { code: "delivery_not_found" });
  await rig.happens(webhook);
  for (const collection of ["webhooks", "deliveries", "deliveries_by_endpoint", "deliveries_due"])
    await until(`${collection} is empty`, () => rig.documents.ids(collection).length === 0);
  rig.clock.advance(DAY_MS);
  assert.equal(rig.receiver.requests.length, 1);
  assert.equal(rig.clock.pendingCount, 0);
});

test("an endpoint that is deleted while a message is under way leaves nothing behind", async (t) => {
  const rig = await WebhookRig.start(t);
  let end = (): void => {};
  rig.receiver.script.push((response) => {
    end = () => void response.writeHead(500).end();
  });
  const webhook = await rig.endpoint();
  await rig.deliver(webhook);
  await rig.receiver.received(1);
  await rig.webhooks.remove(OWNER, webhook.endpointId);
  end();
  for (const collection of ["deliveries", "deliveries_due"])
    await until(`${collection} is empty`, () => rig.documents.ids(collection).length === 0);
});

test("a damaged delivery is named in the log and does not hold up the others", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  const documents = rig.webhooks.deliveriesFor(rig.task(webhook), "completed");
  const damaged = documents.map((document) =>
    document.collection === "deliveries" ? { ...document, value: { id: document.id } } : document,
  );
  await rig.documents.put(damaged);
  await rig.becomes(await rig.deliver(webhook), "delivered");
  assert.ok(
    rig.lines.some((line) => line.includes("cannot be read") && line.includes(damaged[0]?.id ?? "-")),
  );
  await until("the queue is empty", () => rig.documents.ids("deliveries_due").length === 0);
});

test("closing waits a little for what is under way, then leaves it to the next start", async (t) => {
  const rig = await WebhookRig.start(t);
  const ends: (() => void)[] = [];
  rig.receiver.always = (response) => void ends.push(() => response.end());
  const webhook = await rig.endpoint();
  const [quick, stuck] = [await rig.deliver(webhook), await rig.deliver(webhook)];
  await until("both are under way", () => ends.length === 2);
  const first = rig.receiver.ids[0];
  let isClosed = false;
  const closed = rig.webhooks.close().then(() => {
    isClosed = true;
  });
  ends[0]?.();
  await rig.becomes(String(first), "delivered");
  assert.equal(isClosed, false);
  rig.clock.advance(2 * SECOND_MS);
  await closed;
  const other = first === quick ? stuck : quick;
  assert.deepEqual(rig.delivery(other).attempts, [], "what was cut off is no failed try");
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).failingSinceMs, undefined);
  assert.equal(rig.clock.pendingCount, 0);
});
