import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type ReceivedWebhook, verifyWebhook } from "../../client/verify-webhook.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const OTHER = `whsec_${Buffer.alloc(32, 8).toString("base64")}`;
const NOW_MS = Date.UTC(2026, 0, 1);
const TIMESTAMP = String(NOW_MS / 1000);
const BODY = JSON.stringify({
  type: "webhook.test",
  timestamp: "2026-01-01T00:00:00.000Z",
  data: { webhook: "wh_1" },
});

/** Signs as the specification says, apart from the code that is tested. */
function sign(body: string | Uint8Array, secret = SECRET, id = "dlv_1", timestamp = TIMESTAMP): string {
  const mac = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`${id}.${timestamp}.`);
  return `v1,${mac.update(body).digest("base64")}`;
}

function received(more: Partial<ReceivedWebhook> = {}, signature = sign(BODY)): ReceivedWebhook {
  const headers = { "webhook-id": "dlv_1", "webhook-timestamp": TIMESTAMP, "webhook-signature": signature };
  return { headers, body: BODY, secret: SECRET, nowMs: NOW_MS, ...more };
}

const refused = { code: "auth_invalid" };

test("a message of the gateway is believed and comes back parsed", async () => {
  const message = await verifyWebhook(received());
  assert.deepEqual(message, JSON.parse(BODY));
});

test("the signature of the published Standard Webhooks example fits", async () => {
  const headers = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const wanted = received({ headers, body: '{"test": 2432232314}', secret, nowMs: 1614265330_000 });
  // Signed, but not a message of this gateway: told apart from a wrong signature.
  await assert.rejects(verifyWebhook(wanted), { code: "request_invalid" });
});

test("headers are found in a Headers object and in any case", async () => {
  const { headers } = received();
  await verifyWebhook(received({ headers: new Headers(headers as Record<string, string>) }));
  const capitals = Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value]);
  await verifyWebhook(received({ headers: Object.fromEntries(capitals) }));
});

test("one changed bit anywhere in the body is noticed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(BODY.length - 1), fc.nat(7), async (index, bit) => {
      const body = Buffer.from(BODY);
      body[index] = (body[index] ?? 0) ^ (1 << bit);
      await assert.rejects(verifyWebhook(received({ body })), refused);
    }),
    { numRuns: 50 },
  );
});

test("id and time are signed too", async () => {
  const signature = { "webhook-signature": sign(BODY) };
  const later = { ...signature, "webhook-id": "dlv_1", "webhook-timestamp": String(NOW_MS / 1000 + 1) };
  await assert.rejects(verifyWebhook(received({ headers: later })), refused);
  const another = { ...signature, "webhook-id": "dlv_2", "webhook-timestamp": TIMESTAMP };
  await assert.rejects(verifyWebhook(received({ headers: another })), refused);
});

test("a message is believed for five minutes, and as long before its time", async () => {
  for (const seconds of [-300, 0, 300]) await verifyWebhook(received({ nowMs: NOW_MS + seconds * 1000 }));
  for (const seconds of [-301, 301])
    await assert.rejects(verifyWebhook(received({ nowMs: NOW_MS + seconds * 1000 })), refused);
});

test("any fitting signature is enough while a secret is being replaced, on either side", async () => {
  const both = `${sign(BODY, OTHER)} ${sign(BODY)}`;
  await verifyWebhook(received({}, both));
  await verifyWebhook(received({ secret: OTHER }, both));
  await verifyWebhook(received({ secret: [OTHER, SECRET] }));
  await assert.rejects(verifyWebhook(received({ secret: OTHER })), refused);
});

test("signatures of other versions and garbage do not count", async () => {
  const [, base64 = ""] = sign(BODY).split(",");
  for (const signature of [
    "",
    "v1",
    `v1a,${base64}`,
    `v2,${base64}`,
    base64,
    `v1,${base64.slice(4)}`,
    "v1,%%%",
  ])
    await assert.rejects(verifyWebhook(received({}, signature)), refused, signature);
});

test("a missing header and a time that is none are refused", async () => {
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    const headers = { ...received().headers, [name]: undefined };
    await assert.rejects(verifyWebhook(received({ headers })), refused, name);
  }
  const headers = { ...received().headers, "webhook-timestamp": "soon" };
  await assert.rejects(verifyWebhook(received({ headers })), refused);
});

test("a secret that is none is a mistake of the receiver's, not of the sender's", async () => {
  await assert.rejects(verifyWebhook(received({ secret: "password" })), { code: "config_invalid" });
});

test("a kind of message that this version does not know comes with its original type", async () => {
  const body = JSON.stringify({ type: "task.paused", timestamp: "t", data: { id: "x" } });
  const message = await verifyWebhook(received({ body }, sign(body)));
  assert.deepEqual(message, {
    type: "unknown",
    originalType: "task.paused",
    timestamp: "t",
    data: { id: "x" },
  });
});
