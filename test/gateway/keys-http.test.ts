import assert from "node:assert/strict";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createdKeySchema, keyJsonSchema, keyListSchema } from "@legacygpu/shared/api/keys";
import { createLogger } from "@legacygpu/shared/log";
import { openGate } from "../../bench/processes/open-gate.ts";
import type { AuditEvent } from "../../gateway/audit/audit-log.ts";
import type { KeyRing } from "../../gateway/auth/key-ring.ts";
import { errorResponse, toRoute } from "../../gateway/http/endpoint.ts";
import { keyEndpoints } from "../../gateway/http/resources/keys.ts";
import { listen } from "../../gateway/http/server.ts";
import { useKeys } from "./keys-fixture.ts";

const keys = useKeys();

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly cacheControl: string | null;
}

interface Api {
  readonly ring: KeyRing;
  readonly adminId: string;
  readonly events: readonly AuditEvent[];
  call(method: string, path: string, json?: unknown, key?: string): Promise<Answer>;
}

async function start(t: TestContext): Promise<Api> {
  const ring = await keys().open();
  const admin = await ring.issue("client", { name: "root", scopes: ["admin"], tenant: "operators" });
  const events: AuditEvent[] = [];
  const audit = { record: (event: AuditEvent) => void events.push(event) };
  const server = await listen({
    host: "127.0.0.1",
    port: 0,
    routes: keyEndpoints({ keys: ring, audit }).map((endpoint) => toRoute(endpoint, openGate(ring))),
    sockets: [],
    errorResponse: errorResponse(createLogger("test", "silent")),
    requestTimeoutMs: 30_000,
  });
  t.after(() => server.close(0));
  const call: Api["call"] = async (method, path, json, key = admin.key) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, connection: "close" },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    });
    const { status, headers } = response;
    return { status, body: await response.json(), cacheControl: headers.get("cache-control") };
  };
  return { ring, adminId: admin.id, events, call };
}

const problemOf = ({ status, body }: Answer): [status: number, code: unknown] => [
  status,
  (body as { code?: unknown }).code,
];

test("a key is created with all that it may be given, works at once, and is shown once", async (t) => {
  const { call, ring } = await start(t);
  const wanted = {
    name: "lab",
    scopes: ["read", "admin"],
    tenant: "physics",
    expires_in: 3600,
    networks: ["127.0.0.0/8", "2001:db8::/32"],
    models: ["digits"],
    sites: ["lab"],
  };
  const answer = await call("POST", "/keys", wanted);
  assert.deepEqual([answer.status, answer.cacheControl], [201, "no-store"]);
  const { key, ...json } = createdKeySchema.parse(answer.body);
  const { expires_in: _, ...same } = wanted;
  assert.deepEqual(json, {
    ...same,
    id: json.id,
    kind: "client",
    created_at: "2026-01-01T00:00:00.000Z",
    expires_at: "2026-01-01T01:00:00.000Z",
    last_used_at: null,
    revoked_at: null,
    replaces: null,
    source: "issued",
  });
  assert.equal((await call("GET", "/keys", undefined, key)).status, 200);
  const listed = await call("GET", "/keys");
  assert.ok(!JSON.stringify(listed.body).includes(key.slice(15)));
  assert.deepEqual(
    keyListSchema.parse(listed.body).keys.map(({ name, last_used_at }) => [name, last_used_at]),
    [
      ["root", "2026-01-01T00:00:00.000Z"],
      ["lab", "2026-01-01T00:00:00.000Z"],
    ],
  );
  assert.equal(ring.principalOf(json.id)?.tenant, "physics");
});

test("a key is refused over HTTP from outside its networks, and once it is revoked or has expired", async (t) => {
  const { call, ring } = await start(t);
  const wanted = { name: "app", scopes: ["admin" as const] };
  const outside = await ring.issue("client", { ...wanted, networks: ["10.0.0.0/8"] });
  assert.deepEqual(problemOf(await call("GET", "/keys", undefined, outside.key)), [401, "auth_invalid"]);
  const revoked = await ring.issue("client", wanted);
  const answer = await call("DELETE", `/keys/${revoked.id}`, undefined, revoked.key);
  assert.equal(keyJsonSchema.parse(answer.body).revoked_at, "2026-01-01T00:00:00.000Z");
  assert.deepEqual(problemOf(await call("GET", "/keys", undefined, revoked.key)), [401, "auth_invalid"]);
  const short = await ring.issue("client", { ...wanted, expires_in: 60 });
  assert.equal((await call("GET", "/keys", undefined, short.key)).status, 200);
  keys().clock.advance(60_000);
  assert.deepEqual(problemOf(await call("GET", "/keys", undefined, short.key)), [401, "auth_invalid"]);
});

test("a key is rotated; without a body the old one lives on for a day", async (t) => {
  const { call, ring } = await start(t);
  const old = await ring.issue("client", { name: "app", scopes: ["admin"] });
  const answer = await call("POST", `/keys/${old.id}/rotate`);
  assert.deepEqual([answer.status, answer.cacheControl], [201, "no-store"]);
  const fresh = createdKeySchema.parse(answer.body);
  assert.deepEqual([fresh.replaces, fresh.tenant, fresh.scopes], [old.id, old.id, ["admin"]]);
  keys().clock.advance(86_399_999);
  assert.equal((await call("GET", "/keys", undefined, old.key)).status, 200);
  keys().clock.advance(1);
  assert.equal((await call("GET", "/keys", undefined, old.key)).status, 401);
  assert.equal((await call("GET", "/keys", undefined, fresh.key)).status, 200);
  const now = await call("POST", `/keys/${fresh.id}/rotate`, { grace: 0 });
  assert.equal(now.status, 201);
  assert.equal((await call("GET", "/keys", undefined, fresh.key)).status, 401);
});

test("every change is in the audit log with who did it and from where; no secret is, and nothing that was refused", async (t) => {
  const { call, adminId, events } = await start(t);
  const created = createdKeySchema.parse(
    (await call("POST", "/keys", { name: "app", scopes: ["read"], tenant: "physics" })).body,
  );
  const rotated = createdKeySchema.parse(
    (await call("POST", `/keys/${created.id}/rotate`, { grace: 60 })).body,
  );
  await call("DELETE", `/keys/${created.id}`);
  await call("DELETE", "/keys/nobody");
  await call("POST", `/keys/${created.id}/rotate`, {});
  await call("POST", "/keys", { name: "app", scopes: [] });
  const common = { actor: adminId, actorName: "root", tenant: "operators", address: "127.0.0.1" };
  const details = { name: "app", scopes: ["read"], tenant: "physics" };
  assert.deepEqual(
    events.map(({ requestId: _, ...event }) => event),
    [
      { ...common, action: "key.create", target: created.id, details },
      {
        ...common,
        action: "key.rotate",
        target: created.id,
        details: { ...details, replacement: rotated.id, grace_seconds: 60 },
      },
      { ...common, action: "key.revoke", target: created.id, details },
    ],
  );
  assert.equal(new Set(events.map(({ requestId }) => requestId)).size, 3);
  const text = JSON.stringify(events);
  for (const { key } of [created, rotated]) assert.ok(!text.includes(key.slice(15)));
});

test("a change that the disk does not take is in the audit log as failed", async (t) => {
  const { call, ring, adminId, events } = await start(t);
  const { id } = await ring.issue("client", { name: "app", scopes: ["read"] });
  await rm(keys().file);
  await mkdir(join(keys().file, "in the way"), { recursive: true });
  assert.deepEqual(problemOf(await call("DELETE", `/keys/${id}`)), [500, "internal"]);
  assert.deepEqual(
    events.map(({ action, actor, target, outcome, details }) => ({
      action,
      actor,
      target,
      outcome,
      details,
    })),
    [{ action: "key.revoke", actor: adminId, target: id, outcome: "failed", details: { code: "internal" } }],
  );
  await rm(keys().file, { recursive: true });
});

const REFUSED: readonly [what: string, body: unknown, path: string][] = [
  ["worker beside another scope", { name: "n", scopes: ["worker", "read"] }, "scopes"],
  ["no scope", { name: "n", scopes: [] }, "scopes"],
  ["a tenant that is no name", { name: "n", scopes: ["read"], tenant: "a/b" }, "tenant"],
  ["a life under a minute", { name: "n", scopes: ["read"], expires_in: 59 }, "expires_in"],
  ["an address instead of a network", { name: "n", scopes: ["read"], networks: ["10.0.0.1"] }, "networks[0]"],
  ["an empty list of models", { name: "n", scopes: ["read"], models: [] }, "models"],
  ["a field that does not exist", { name: "n", scopes: ["read"], expires: 60 }, ""],
];

test("what a key cannot be is refused with the path of what is wrong", async (t) => {
  const { call, ring } = await start(t);
  for (const [what, body, path] of REFUSED) {
    const answer = await call("POST", "/keys", body);
    assert.deepEqual(problemOf(answer), [400, "request_invalid"], what);
    assert.equal((answer.body as { details: { path: string } }).details.path, path, what);
  }
  const { id } = await ring.issue("client", { name: "app", scopes: ["read"] });
  for (const grace of [-1, 2_592_001, 1.5, "1d"])
    assert.deepEqual(problemOf(await call("POST", `/keys/${id}/rotate`, { grace })), [
      400,
      "request_invalid",
    ]);
  assert.equal(ring.list().length, 2);
});

test("keys are an administrator's affair alone, and unknown ones are not found", async (t) => {
  const { call, ring } = await start(t);
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["submit", "read", "models"] });
  const routes = [
    ["POST", "/keys"],
    ["GET", "/keys"],
    ["POST", `/keys/${id}/rotate`],
    ["DELETE", `/keys/${id}`],
  ] as const;
  for (const [method, path] of routes)
    assert.deepEqual(problemOf(await call(method, path, undefined, key)), [403, "auth_forbidden"]);
  assert.deepEqual(problemOf(await call("DELETE", "/keys/nobody")), [404, "key_not_found"]);
  assert.deepEqual(problemOf(await call("POST", "/keys/nobody/rotate", {})), [404, "key_not_found"]);
});
