/**
 * Who may do what: every route of the gateway with every kind of credential. The routes come from the running gateway; one that has no row here
 * makes the test fail.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { SCOPES, type Scope } from "@legacygpu/shared/api/keys";
import { systemClock } from "@legacygpu/shared/clock";
import { decodeJoinToken } from "@legacygpu/shared/join-token";
import { importJWK, type JWTHeaderParameters, SignJWT } from "jose";
import { newCredential } from "../../gateway/auth/credential.ts";
import { buildFailsOnSomeInputs } from "../../models/onnx/hostile.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";

/** open: nobody is asked who he is; any: whoever has a key; else the scope that it takes. */
const ACCESS: Readonly<Record<string, Scope | "open" | "any">> = {
  "GET /.well-known/jwks.json": "open",
  "GET /ca.pem": "open",
  "GET /livez": "open",
  "GET /readyz": "open",
  "GET /schemas/manifest.json": "open",
  "GET /v2": "open",
  "GET /v2/health/live": "open",
  "GET /v2/health/ready": "open",
  "POST /agent/challenges": "open",
  // These two ask for a proof of their own: a join token, a signature.
  "POST /agent/enrolments": "open",
  "POST /agent/identities": "open",
  "POST /auth/token": "any",
  "GET /agent/attempts/:task/:token/input": "worker",
  "GET /agent/blobs/:digest": "worker",
  "PUT /agent/attempts/:task/:token/output": "worker",
  "DELETE /join-tokens/:id": "admin",
  "DELETE /keys/:id": "admin",
  "DELETE /workers/:id": "admin",
  "GET /audit": "admin",
  "GET /audit/verification": "admin",
  "GET /join-tokens": "admin",
  "GET /keys": "admin",
  "GET /workers": "admin",
  "POST /auth/signing-keys/rotate": "admin",
  "POST /join-tokens": "admin",
  "POST /keys": "admin",
  "POST /keys/:id/rotate": "admin",
  "POST /models/:model/queue/pause": "admin",
  "POST /models/:model/queue/purge": "admin",
  "POST /models/:model/queue/resume": "admin",
  "POST /v2/logging": "admin",
  "POST /workers/:id/approve": "admin",
  "PUT /cluster/config/balancing": "admin",
  "POST /v2/repository/models/:model/load": "models",
  "POST /v2/repository/models/:model/unload": "models",
  "DELETE /models/:name": "models",
  "DELETE /models/:name/aliases/:alias": "models",
  "DELETE /models/:name/deployment": "models",
  "DELETE /models/:name/versions/:version": "models",
  "GET /blobs/:digest/upload": "models",
  "PUT /blobs/:digest": "models",
  "PUT /models/:name/aliases/:alias": "models",
  "PUT /models/:name/deployment": "models",
  "PUT /models/:name/versions/:version": "models",
  "GET /batches/:id": "read",
  "GET /batches/:id/results": "read",
  "GET /cluster/config/balancing": "read",
  "GET /cluster/health": "read",
  "GET /cluster/metrics": "read",
  "GET /cluster/sites": "read",
  "GET /cluster/workers": "read",
  "GET /dead-letters": "read",
  "GET /deliveries/:id": "read",
  "GET /deployments": "read",
  "GET /events": "read",
  "GET /models": "read",
  "GET /models/:model/queue": "read",
  "GET /models/:name": "read",
  "GET /models/:name/deployment": "read",
  "GET /models/:name/versions/:version": "read",
  "GET /tasks": "read",
  "GET /tasks/:id": "read",
  "GET /tasks/:id/events": "read",
  "GET /tasks/:id/result": "read",
  "GET /usage": "read",
  "GET /v2/cudasharedmemory/region/:region/status": "read",
  "GET /v2/cudasharedmemory/status": "read",
  "GET /v2/logging": "read",
  "GET /v2/models/:model": "read",
  "GET /v2/models/:model/config": "read",
  "GET /v2/models/:model/ready": "read",
  "GET /v2/models/:model/stats": "read",
  "GET /v2/models/:model/versions/:version": "read",
  "GET /v2/models/:model/versions/:version/config": "read",
  "GET /v2/models/:model/versions/:version/ready": "read",
  "GET /v2/models/:model/versions/:version/stats": "read",
  "GET /v2/models/stats": "read",
  "GET /v2/systemsharedmemory/region/:region/status": "read",
  "GET /v2/systemsharedmemory/status": "read",
  "GET /webhooks": "read",
  "GET /webhooks/:id": "read",
  "GET /webhooks/:id/deliveries": "read",
  "POST /v2/repository/index": "read",
  "DELETE /tasks/:id": "submit",
  "DELETE /uploads/:id": "submit",
  "DELETE /webhooks/:id": "submit",
  "GET /uploads/:id": "submit",
  "POST /batches": "submit",
  "POST /batches/:id/cancel": "submit",
  "POST /batches/:id/items": "submit",
  "POST /dead-letters/purge": "submit",
  "POST /dead-letters/retry": "submit",
  "POST /deliveries/:id/redeliver": "submit",
  "POST /tasks": "submit",
  "POST /tasks/:id/cancel": "submit",
  "POST /tasks/:id/retry": "submit",
  "POST /uploads": "submit",
  "POST /v2/cudasharedmemory/region/:region/register": "submit",
  "POST /v2/cudasharedmemory/region/:region/unregister": "submit",
  "POST /v2/cudasharedmemory/unregister": "submit",
  "POST /v2/models/:model/infer": "submit",
  "POST /v2/models/:model/versions/:version/infer": "submit",
  "POST /v2/systemsharedmemory/region/:region/register": "submit",
  "POST /v2/systemsharedmemory/region/:region/unregister": "submit",
  "POST /v2/systemsharedmemory/unregister": "submit",
  "POST /webhooks": "submit",
  "POST /webhooks/:id/enable": "submit",
  "POST /webhooks/:id/rotate-secret": "submit",
  "POST /webhooks/:id/test": "submit",
  "PUT /tasks/:id": "submit",
  "PUT /uploads/:id": "submit",
};
/** What these make outlives a token, so that they take keys only. */
const FOR_KEYS = new Set([
  "POST /join-tokens",
  "POST /keys",
  "POST /keys/:id/rotate",
  "POST /workers/:id/approve",
]);
const ROUTES = Object.keys(ACCESS).map((name) => {
  const [method = "", pattern = ""] = name.split(" ");
  return { name, method, pattern, access: ACCESS[name] as Scope | "open" | "any" };
});
/** Streams have no end. */
const ENDLESS = new Set(["GET /events", "GET /tasks/:id/events"]);
/** Without these they refuse the request before they look for what it is about. */
const QUERY: Readonly<Record<string, string>> = { "PUT /uploads/:id": "?offset=0" };
const BODY: Readonly<Record<string, object>> = {
  "POST /batches/:id/items": { items: [{ input: { image: "" } }] },
};
/** Longer than the life of what is made to expire. */
const LATER_MS = 3_600_000;

let rig: GatewayRig;
let other: GatewayRig;
let offsetMs = 0;
const clock = {
  now: () => systemClock.now() + offsetMs,
  monotonic: () => systemClock.monotonic(),
  after: systemClock.after.bind(systemClock),
};

before(async () => {
  const perAddress = {
    failedAuthenticationsPerMinute: null,
    newSocketsPerSecond: null,
    unauthenticatedRequestsPerSecond: null,
  };
  rig = await GatewayRig.start({ clock, trust: { limits: { perAddress } }, webhookNetworks: ["10.0.0.0/8"] });
  other = await GatewayRig.start();
});
after(async () => {
  await rig.close();
  await other.close();
});

const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` });

function ask(
  method: string,
  pattern: string,
  headers: Record<string, string | undefined>,
  id = "1",
): Promise<Answer> {
  const name = `${method} ${pattern}`;
  return rig.call(method, pattern.replaceAll(/:\w+/g, id) + (QUERY[name] ?? ""), {
    headers: { ...headers } as Record<string, string>,
    ...(method === "POST" || method === "PUT" ? { json: BODY[name] ?? {} } : {}),
  });
}

async function create(path: string, json: object, key = rig.adminKey): Promise<Record<string, string>> {
  const { status, body } = await rig.call("POST", path, { json, headers: bearer(key) });
  assert.ok(status < 300, `${path}: ${status} ${JSON.stringify(body)}`);
  return body;
}

const tokenOf = async (key: string): Promise<string> =>
  (await create("/auth/token", {}, key)).access_token ?? "";

/** A token that this very gateway could have signed, but for what `change` does to it. */
async function forged(header: object, claims: object): Promise<string> {
  const stored = JSON.parse(await readFile(rig.home.signingKeysFile, "utf8"));
  const [key] = stored.keys;
  const subject = (await create("/keys", { name: "subject", scopes: [...SCOPES].slice(0, 4) })).id ?? "";
  const nowSeconds = Math.floor(clock.now() / 1000);
  const us = `urn:legacygpu:gateway:${stored.instanceId}`;
  const genuine = {
    iss: us,
    aud: us,
    sub: subject,
    jti: "1",
    iat: nowSeconds,
    nbf: nowSeconds,
    exp: nowSeconds + 600,
    scope: "admin submit read models",
  };
  return new SignJWT({ ...genuine, ...claims })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: key.kid, ...header } as JWTHeaderParameters)
    .sign(await importJWK({ kty: "OKP", crv: "Ed25519", x: key.x, d: key.d }, "EdDSA"));
}

test("every route of the gateway has a row, and every row a route", () => {
  const present = rig.gateway.routes.map(({ method, pattern, scope }) => [
    `${method} ${pattern}`,
    scope ?? "open",
  ]);
  assert.deepEqual(Object.fromEntries(present.sort()), Object.fromEntries(Object.entries(ACCESS).sort()));
});

test("credentials that are none open nothing that is not open", async () => {
  const all = { name: "all", scopes: ["admin", "submit", "read", "models"] };
  const revoked = await create("/keys", all);
  const revokedToken = await tokenOf(revoked.key ?? "");
  await rig.call("DELETE", `/keys/${revoked.id}`);
  const expired = (await create("/keys", { ...all, expires_in: 60 })).key ?? "";
  const expiredToken = await tokenOf(rig.adminKey);
  const join = decodeJoinToken((await create("/join-tokens", { site: "lab", ttl: 604_800 })).token ?? "");
  const foreign = await other.call("POST", "/auth/token", { json: {} });
  const genuine = await forged({}, {});
  assert.equal((await rig.call("GET", "/keys", { headers: bearer(genuine) })).status, 200);
  const live = await tokenOf(rig.adminKey);
  const typo = `${rig.adminKey.slice(0, -1)}${rig.adminKey.endsWith("x") ? "y" : "x"}`;
  offsetMs = LATER_MS;
  const us = { iss: "urn:legacygpu:gateway:another", aud: "https://gpu.example" };
  const bad: Readonly<Record<string, Record<string, string>>> = {
    "no credential": { authorization: "" },
    "another scheme": { authorization: `Basic ${Buffer.from(`admin:${rig.adminKey}`).toString("base64")}` },
    "a cookie": { authorization: "", cookie: `authorization=Bearer ${rig.adminKey}` },
    "a word": bearer("admin"),
    "a key with a typing error": bearer(typo),
    "an unknown key": bearer(newCredential("client").text),
    "an unknown worker key": bearer(newCredential("worker").text),
    "an unknown identity": bearer(newCredential("identity").text),
    "a revoked key": bearer(revoked.key ?? ""),
    "an expired key": bearer(expired),
    "the secret of a join token": bearer(join.secret),
    "a token of a revoked key": bearer(revokedToken),
    "an expired token": bearer(expiredToken),
    "a token that was good an hour ago": bearer(live),
    "a token of another gateway": bearer(foreign.body.access_token),
    "a token for another audience": bearer(await forged({}, { aud: us.aud })),
    "a token of another issuer": bearer(await forged({}, { iss: us.iss })),
    "a token of another type": bearer(await forged({ typ: "JWT" }, {})),
    "a token without a type": bearer(await forged({ typ: undefined }, {})),
  };
  for (const { name, method, pattern, access } of ROUTES) {
    for (const [what, headers] of Object.entries(bad)) {
      const { status, body } = await ask(method, pattern, headers);
      if (access === "open") {
        assert.notEqual(status, 403, `${name} with ${what}`);
        // What asks for a proof of its own says 401 without it.
        if (!pattern.startsWith("/agent/")) assert.notEqual(status, 401, `${name} with ${what}`);
        continue;
      }
      assert.equal(status, 401, `${name} with ${what}: ${JSON.stringify(body)}`);
      const isAbsent = headers.authorization === "" || headers.authorization?.startsWith("Basic");
      assert.equal(body.code, isAbsent ? "auth_missing" : "auth_invalid", `${name} with ${what}`);
      const { request_id: _, ...rest } = body;
      assert.deepEqual(
        rest,
        {
          type: `urn:legacygpu:error:${body.code}`,
          title: body.code,
          status: 401,
          detail: rest.detail,
          code: body.code,
          error: rest.detail,
          retryable: false,
        },
        `${name} with ${what} says more than it should`,
      );
    }
  }
});

test("a credential opens what its scope is for, and the refusal names the scope that it lacks", async () => {
  const keys = new Map<Scope, string>();
  for (const scope of SCOPES)
    keys.set(scope, (await create("/keys", { name: scope, scopes: [scope] })).key ?? "");
  const credentials = new Map<string, { scope: Scope; text: string }>();
  for (const [scope, text] of keys) {
    credentials.set(`a key for ${scope}`, { scope, text });
    if (scope !== "worker") credentials.set(`a token for ${scope}`, { scope, text: await tokenOf(text) });
  }
  for (const { name, method, pattern, access } of ROUTES) {
    for (const [what, { scope, text }] of credentials) {
      const isToken = what.startsWith("a token");
      const isIncluded = scope === "admin" && access !== "worker";
      const mayEnter =
        access === "any"
          ? scope !== "worker" && !isToken
          : (access === scope || isIncluded || access === "open") && !(isToken && FOR_KEYS.has(name));
      // Of a stream that has no end the head is enough.
      const asked = mayEnter && ENDLESS.has(name) ? "HEAD" : method;
      const { status, body } = await ask(asked, pattern, bearer(text));
      if (mayEnter) {
        assert.notEqual(status, 403, `${name} with ${what}: ${JSON.stringify(body)}`);
        if (!pattern.startsWith("/agent/")) assert.notEqual(status, 401, `${name} with ${what}`);
        continue;
      }
      assert.equal(status, 403, `${name} with ${what}: ${JSON.stringify(body)}`);
      const isForKeys = isToken && isIncluded && FOR_KEYS.has(name);
      if (isForKeys) assert.match(body.detail, /come with an API key/, `${name} with ${what}`);
      else if (access !== "any") assert.equal(body.details.requiredScope, access, `${name} with ${what}`);
    }
  }
});

test("what belongs to one tenant does not exist for another", async () => {
  await rig.push("table", buildFailsOnSomeInputs());
  const scopes = ["submit", "read", "models"];
  const ours = (await create("/keys", { name: "ours", scopes, tenant: "ours" })).key ?? "";
  const colleague = (await create("/keys", { name: "colleague", scopes, tenant: "ours" })).key ?? "";
  const theirs = (await create("/keys", { name: "theirs", scopes, tenant: "theirs" })).key ?? "";
  const inputs = [{ name: "input", datatype: "INT64", shape: [1], data: [1] }];
  const made: Readonly<Record<string, string | undefined>> = {
    tasks: (await create("/tasks", { model: "table", input: { inputs } }, ours)).id,
    batches: (await create("/batches", { model: "table", items: [{ input: { inputs } }] }, ours)).id,
    uploads: (await create("/uploads", { bytes: 10, content_type: "application/json" }, ours)).id,
    webhooks: (await create("/webhooks", { url: "https://10.0.0.1/hook" }, ours)).id,
  };
  for (const { name, method, pattern } of ROUTES) {
    const id = made[pattern.split("/")[1] ?? ""];
    if (id === undefined || !pattern.includes(":id") || name === "PUT /tasks/:id") continue;
    const stranger = await ask(method, pattern, bearer(theirs), id);
    assert.equal(stranger.status, 404, `${name} of another tenant: ${JSON.stringify(stranger.body)}`);
    if (method !== "GET" || ENDLESS.has(name)) continue;
    assert.notEqual((await ask(method, pattern, bearer(ours), id)).status, 404, name);
    assert.notEqual((await ask(method, pattern, bearer(colleague), id)).status, 404, name);
  }
  for (const list of ["/tasks", "/webhooks"]) {
    const answer = await rig.call("GET", list, { headers: bearer(theirs) });
    assert.doesNotMatch(JSON.stringify(answer.body), new RegExp(made[list.slice(1)] ?? "-"), list);
  }
});
