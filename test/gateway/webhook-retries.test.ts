/** When a delivery that failed is tried again, and when nobody tries any more. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { verifyWebhook } from "../../client/verify-webhook.ts";
import { delayAfterMs, parseRetryAfterMs, RETRY_DELAYS_MS } from "../../gateway/webhooks/retry-schedule.ts";
import { until } from "../support/until.ts";
import { answer, OWNER, removeCertificates, WebhookRig } from "./webhook-rig.ts";

after(removeCertificates);

const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

test("what fails is tried ten times in three days under the same id, then given up", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.always = answer(500);
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  for (const [index, delayMs] of RETRY_DELAYS_MS.entries()) {
    const waiting = await rig.becomes(id, "waiting", index + 1);
    assert.equal(waiting.nextAtMs, rig.clock.now() + delayMs);
    await until("the courier has gone to sleep", () => rig.clock.pendingCount === 1);
    rig.clock.advance(delayMs - 1);
    assert.equal(rig.receiver.requests.length, index + 1, "no try before its time");
    rig.clock.advance(1);
    await rig.receiver.received(index + 2);
  }
  const failed = await rig.becomes(id, "failed", 10);
  assert.match(failed.reason ?? "", /10 tries/);
  assert.deepEqual(new Set(rig.receiver.ids), new Set([id]));
  for (const [index, request] of rig.receiver.requests.entries()) {
    const sentAtMs = Number(request.headers["webhook-timestamp"]) * SECOND_MS;
    assert.equal(sentAtMs, failed.attempts[index]?.atMs, "each try is signed for its own time");
    await verifyWebhook({ ...request, secret: webhook.endpoint.secret, nowMs: sentAtMs });
  }
  assert.equal(rig.documents.expiryOf("deliveries", id), rig.clock.now() + 7 * DAY_MS);
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).state, "active", "three days are not five");
  assert.equal(rig.clock.pendingCount, 0);
});

test("a wait is never shorter than the schedule and than what the receiver asked for, and at most a tenth longer", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: DAY_MS }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (tries, asked, drawn) => {
        const least = Math.max(RETRY_DELAYS_MS[tries - 1] ?? 0, asked);
        const delayMs = delayAfterMs(tries, asked, () => drawn);
        assert.ok(delayMs >= least && delayMs <= Math.ceil(least * 1.1), `${least} → ${delayMs}`);
      },
    ),
  );
});

test("Retry-After is read as seconds or as a date, up to a day", () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const cases: [string | undefined, number][] = [
    [undefined, 0],
    ["120", 120_000],
    ["0", 0],
    ["999999999", DAY_MS],
    ["Thu, 01 Jan 2026 00:02:00 GMT", 120_000],
    ["Thu, 01 Jan 2036 00:00:00 GMT", DAY_MS],
    ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
    ["-5", 0],
    ["soon", 0],
  ];
  for (const [header, delayMs] of cases) assert.equal(parseRetryAfterMs(header, nowMs), delayMs, header);
});

test("a receiver that asks for time gets it", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(429, { "retry-after": "3600" }));
  const id = await rig.deliver(await rig.endpoint());
  const waiting = await rig.becomes(id, "waiting");
  assert.equal(waiting.nextAtMs, rig.clock.now() + HOUR_MS);
});

test("410 disables the endpoint; what waits for it fails, until it is enabled again", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500), answer(410));
  const webhook = await rig.endpoint();
  const earlier = await rig.deliver(webhook);
  await rig.becomes(earlier, "waiting");
  const refused = await rig.deliver(webhook);
  await rig.becomes(refused, "failed");
  const { state, disabledReason } = rig.webhooks.endpoint(OWNER, webhook.endpointId);
  assert.equal(state, "disabled");
  assert.match(disabledReason ?? "", /410/);
  rig.clock.advance(6 * SECOND_MS);
  const ended = await rig.becomes(earlier, "failed");
  assert.match(ended.reason ?? "", /disabled/);
  assert.equal(rig.receiver.requests.length, 2);

  await rig.webhooks.enable(OWNER, webhook.endpointId);
  await rig.becomes(await rig.deliver(webhook), "delivered");
});

test("an endpoint is disabled when a delivery is given up and nothing has got through for five days", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.always = answer(503, { "retry-after": String(DAY_MS / SECOND_MS) });
  const webhook = await rig.endpoint();
  const endpoint = () => rig.webhooks.endpoint(OWNER, webhook.endpointId);
  const runOut = async (id: string): Promise<void> => {
    for (let tries = rig.delivery(id).attempts.length; tries < 10; tries += 1) {
      await rig.becomes(id, "waiting", tries);
      await until("the courier has gone to sleep", () => rig.clock.pendingCount === 1);
      rig.clock.advance(DAY_MS);
    }
    await rig.becomes(id, "failed", 10);
  };
  const first = await rig.deliver(webhook);
  await rig.becomes(first, "waiting");
  assert.equal(endpoint().failingSinceMs, rig.clock.now());
  rig.clock.advance(DAY_MS);
  await rig.becomes(first, "waiting", 2);
  rig.receiver.script.push(answer(200));
  await rig.becomes(await rig.deliver(webhook), "delivered");
  assert.equal(endpoint().failingSinceMs, undefined, "something got through");
  await runOut(first);
  assert.equal(endpoint().state, "disabled");
  assert.match(endpoint().disabledReason ?? "", /five days/);
});

test("a delivery is sent again when its owner asks for it: at once, with all of its tries, under its id", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500), answer(410), answer(500));
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  await rig.becomes(id, "waiting");
  await rig.webhooks.redeliver(OWNER, id);
  await rig.becomes(id, "failed", 2);
  await rig.webhooks.enable(OWNER, webhook.endpointId);
  await rig.webhooks.redeliver(OWNER, id);
  const waiting = await rig.becomes(id, "waiting", 3);
  assert.equal(waiting.tries, 1);
  await rig.webhooks.redeliver(OWNER, id);
  await rig.becomes(id, "delivered", 4);
  await rig.webhooks.redeliver(OWNER, id);
  await rig.becomes(id, "delivered", 5);
  assert.deepEqual(rig.receiver.ids, [id, id, id, id, id]);
  await until("the queue is empty", () => rig.documents.ids("deliveries_due").length === 0);
});
