import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import type { Scope } from "@legacygpu/shared/api/keys";
import {
  deliveryJsonSchema,
  deliveryListSchema,
  webhookJsonSchema,
  webhookListSchema,
  webhookWithSecretSchema,
} from "@legacygpu/shared/api/webhooks";
import { createLogger } from "@legacygpu/shared/log";
import { openGate } from "../../bench/processes/open-gate.ts";
import { verifyWebhook } from "../../client/verify-webhook.ts";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import { errorResponse, toRoute } from "../../gateway/http/endpoint.ts";
import { webhookEndpoints } from "../../gateway/http/resources/webhooks.ts";
import { listen } from "../../gateway/http/server.ts";
import { answer, removeCertificates, WebhookRig } from "./webhook-rig.ts";

after(removeCertificates);

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly location: string | null;
}

type Call = (method: string, path: string, json?: unknown) => Promise<Answer>;

interface Api {
  readonly rig: WebhookRig;
  /** A key with these scopes, and a way to call with it. */
  caller(...scopes: Scope[]): Promise<{ keyId: string; call: Call }>;
}

async function start(t: TestContext): Promise<Api> {
  const rig = await WebhookRig.start(t);
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-webhook-api-"));
  const keys = await KeyRing.open(join(folder, "keys.json"), rig.clock);
  const server = await listen({
    host: "127.0.0.1",
    port: 0,
    routes: webhookEndpoints(rig.webhooks).map((endpoint) => toRoute(endpoint, openGate(keys))),
    sockets: [],
    errorResponse: errorResponse(createLogger("test", "silent")),
    requestTimeoutMs: 30_000,
  });
  t.after(async () => {
    await server.close(0);
    await keys.close();
    await rm(folder, { recursive: true, force: true });
  });
  const origin = `http://127.0.0.1:${server.port}`;
  return {
    rig,
    caller: async (...scopes) => {
      const { id, key } = await keys.issue("client", { name: "test", scopes });
      return { keyId: id, call: (method, path, body) => send(origin + path, method, key, body) };
    },
  };
}

async function send(url: string, method: string, key: string, json: unknown): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${key}`, connection: "close" },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  });
  return {
    status: response.status,
    body: await response.json(),
    location: response.headers.get("location"),
  };
}

const codeOf = (given: Answer): unknown => (given.body as { code?: unknown }).code;

test("an endpoint is registered, shown without its secret, listed and deleted", async (t) => {
  const { rig, caller } = await start(t);
  const { call, keyId } = await caller("submit", "read");
  const { url } = rig.receiver;
  const created = await call("POST", "/webhooks", { url, events: ["started"], description: "mine" });
  assert.equal(created.status, 201);
  const { secret, ...json } = webhookWithSecretSchema.parse(created.body);
  assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  assert.equal(created.location, `/webhooks/${json.id}`);
  const { owner, events, description, state } = json;
  assert.deepEqual(
    [owner, json.url, events, description, state],
    [keyId, url, ["started"], "mine", "active"],
  );

  const shown = await call("GET", `/webhooks/${json.id}`);
  assert.deepEqual(webhookJsonSchema.strict().parse(shown.body), json);
  const listed = await call("GET", "/webhooks");
  assert.deepEqual(listed.body, { webhooks: [json], next_cursor: null });
  const deleted = await call("DELETE", `/webhooks/${json.id}`);
  assert.deepEqual([deleted.status, deleted.body], [200, json]);
  assert.equal(codeOf(await call("GET", `/webhooks/${json.id}`)), "webhook_not_found");
  assert.deepEqual(webhookListSchema.parse((await call("GET", "/webhooks")).body).webhooks, []);
});

test("the list comes in pages", async (t) => {
  const { rig, caller } = await start(t);
  const { call } = await caller("submit", "read");
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) {
    const { body } = await call("POST", "/webhooks", { url: `${rig.receiver.url}/${i}` });
    ids.push(webhookJsonSchema.parse(body).id);
  }
  const seen: string[] = [];
  for (let path: string | undefined = "/webhooks?limit=2"; path !== undefined; ) {
    const page = webhookListSchema.parse((await call("GET", path)).body);
    seen.push(...page.webhooks.map(({ id }) => id));
    path = page.next_cursor === null ? undefined : `/webhooks?limit=2&cursor=${page.next_cursor}`;
  }
  assert.deepEqual(seen, ids);
});

test("an address that may not be called is a 400 that says why", async (t) => {
  const { caller } = await start(t);
  const { call } = await caller("submit");
  const refused = await call("POST", "/webhooks", { url: "https://169.254.169.254/latest" });
  assert.deepEqual([refused.status, codeOf(refused)], [400, "webhook_address_refused"]);
  for (const body of [{}, { url: "x" }, { url: "https://a.example", events: [] }, { url: 1, more: 2 }]) {
    const wrong = await call("POST", "/webhooks", body);
    assert.deepEqual([wrong.status, codeOf(wrong)], [400, "request_invalid"], JSON.stringify(body));
  }
});

test("a test message is delivered with the secret that was shown last, and its delivery is there to look at", async (t) => {
  const { rig, caller } = await start(t);
  const { call } = await caller("submit", "read");
  const created = await call("POST", "/webhooks", { url: rig.receiver.url });
  const { id } = webhookJsonSchema.parse(created.body);
  const rotated = await call("POST", `/webhooks/${id}/rotate-secret`);
  assert.equal(rotated.status, 200);
  const { secret, previous_secret_until } = webhookWithSecretSchema.parse(rotated.body);
  assert.equal(previous_secret_until, new Date(rig.clock.now() + 24 * 3_600_000).toISOString());

  const asked = await call("POST", `/webhooks/${id}/test`);
  assert.equal(asked.status, 202);
  const { id: deliveryId, state, event } = deliveryJsonSchema.parse(asked.body);
  assert.deepEqual([state, event], ["waiting", "webhook.test"]);
  const [request] = await rig.receiver.received(1);
  assert.ok(request);
  await verifyWebhook({ ...request, secret, nowMs: rig.clock.now() });
  for (;;) {
    const shown = deliveryJsonSchema.parse((await call("GET", `/deliveries/${deliveryId}`)).body);
    if (shown.state !== "delivered") continue;
    assert.deepEqual([shown.attempts.length, shown.attempts[0]?.status, shown.next_at], [1, 204, null]);
    break;
  }
});

test("deliveries are listed newest first, by state and in pages, and one is sent again on request", async (t) => {
  const { rig, caller } = await start(t);
  const { call } = await caller("submit", "read");
  const created = await call("POST", "/webhooks", { url: rig.receiver.url });
  const { id } = webhookJsonSchema.parse(created.body);
  const list = async (query: string) => {
    const { body } = await call("GET", `/webhooks/${id}/deliveries?${query}`);
    return deliveryListSchema.parse(body);
  };
  const sent: string[] = [];
  for (let i = 0; i < 6; i += 1) {
    rig.receiver.script.push(answer(i % 2 === 0 ? 204 : 400));
    const { body } = await call("POST", `/webhooks/${id}/test`);
    sent.unshift(deliveryJsonSchema.parse(body).id);
    while ((await list("state=waiting")).deliveries.length > 0);
  }
  const everything = await list("");
  assert.deepEqual(
    everything.deliveries.map((delivery) => delivery.id),
    sent,
  );
  const failed = sent.filter((_, index) => index % 2 === 0);
  const first = await list("state=failed&limit=2");
  const second = await list(`state=failed&limit=2&cursor=${first.next_cursor}`);
  assert.deepEqual(
    [...first.deliveries, ...second.deliveries].map((delivery) => delivery.id),
    failed,
  );
  assert.equal(second.next_cursor, null);

  const again = await call("POST", `/deliveries/${failed[0]}/redeliver`);
  assert.deepEqual([again.status, deliveryJsonSchema.parse(again.body).state], [202, "waiting"]);
  await rig.receiver.received(7);
  assert.equal(rig.receiver.ids.at(-1), failed[0]);
});

test("others see nothing of an endpoint and its deliveries, administrators everything", async (t) => {
  const { rig, caller } = await start(t);
  const owner = await caller("submit", "read");
  const created = await owner.call("POST", "/webhooks", { url: rig.receiver.url });
  const { id } = webhookJsonSchema.parse(created.body);
  const tested = await owner.call("POST", `/webhooks/${id}/test`);
  const delivery = deliveryJsonSchema.parse(tested.body).id;
  const routes: [string, string, string][] = [
    ["GET", `/webhooks/${id}`, "webhook_not_found"],
    ["POST", `/webhooks/${id}/rotate-secret`, "webhook_not_found"],
    ["POST", `/webhooks/${id}/enable`, "webhook_not_found"],
    ["POST", `/webhooks/${id}/test`, "webhook_not_found"],
    ["GET", `/webhooks/${id}/deliveries`, "webhook_not_found"],
    ["GET", `/deliveries/${delivery}`, "delivery_not_found"],
    ["POST", `/deliveries/${delivery}/redeliver`, "delivery_not_found"],
    ["DELETE", `/webhooks/${id}`, "webhook_not_found"],
  ];
  const stranger = await caller("submit", "read");
  const admin = await caller("admin");
  for (const [method, path, code] of routes) {
    const hidden = await stranger.call(method, path);
    assert.deepEqual([hidden.status, codeOf(hidden)], [404, code], `${method} ${path}`);
    const unknown = await owner.call(method, path.replace(/(wh|dlv)_\w+/, "$1_unknown"));
    assert.deepEqual([unknown.status, codeOf(unknown)], [404, code], `${method} ${path}`);
  }
  assert.deepEqual(webhookListSchema.parse((await stranger.call("GET", "/webhooks")).body).webhooks, []);
  assert.equal(webhookListSchema.parse((await admin.call("GET", "/webhooks")).body).webhooks.length, 1);
  for (const [method, path] of routes)
    assert.ok((await admin.call(method, path)).status < 300, `${method} ${path}`);
});

test("writing needs `submit`, reading needs `read`", async (t) => {
  const { caller } = await start(t);
  const reader = await caller("read");
  const writer = await caller("submit");
  const writes = ["/webhooks", "/webhooks/x/rotate-secret", "/webhooks/x/enable", "/webhooks/x/test"];
  for (const path of [...writes, "/deliveries/x/redeliver"])
    assert.equal(codeOf(await reader.call("POST", path)), "auth_forbidden", path);
  assert.equal(codeOf(await reader.call("DELETE", "/webhooks/x")), "auth_forbidden");
  for (const path of ["/webhooks", "/webhooks/x", "/webhooks/x/deliveries", "/deliveries/x"])
    assert.equal(codeOf(await writer.call("GET", path)), "auth_forbidden", path);
});
