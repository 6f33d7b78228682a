/** Clients who try what they may not: other tenants' things by their ids, JSON that means something to the language, names for two. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { auditPageSchema } from "@legacygpu/shared/api/audit";
import { buildFailsOnSomeInputs } from "../../models/onnx/hostile.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";

let rig: GatewayRig;
let ours: string;
let theirs: string;
const INPUTS = [{ name: "input", datatype: "INT64", shape: [1], data: [1] }];

before(async () => {
  rig = await GatewayRig.start();
  await rig.push("table", buildFailsOnSomeInputs());
  await rig.push("secret", buildFailsOnSomeInputs());
  ours = await rig.key("submit", "read", "models");
  theirs = await rig.key("submit", "read", "models");
});
after(() => rig.close());

const as = (key: string, more: Record<string, string> = {}) => ({
  headers: { authorization: `Bearer ${key}`, ...more },
});
const outcome = ({ status, body }: Answer): unknown[] => [status, body.code];

test("an upload of another tenant is no input: not of a task, not of a batch, nor of an item that is added", async () => {
  const bytes = Buffer.from(JSON.stringify({ inputs: INPUTS }));
  const upload = await rig.call("POST", "/uploads", {
    ...as(ours),
    json: { bytes: bytes.length, content_type: "application/json" },
  });
  const { id } = upload.body;
  await rig.call("PUT", `/uploads/${id}?offset=0`, { ...as(ours), body: bytes });
  const input = { upload: id };
  const batch = await rig.call("POST", "/batches", {
    ...as(theirs),
    json: { model: "table", items: [{ input: { inputs: INPUTS } }] },
  });
  const tries = [
    ["/tasks", { model: "table", input }],
    ["/batches", { model: "table", items: [{ input }] }],
    [`/batches/${batch.body.id}/items`, { items: [{ input }] }],
  ] as const;
  for (const [path, json] of tries)
    assert.deepEqual(
      outcome(await rig.call("POST", path, { ...as(theirs), json })),
      [404, "upload_not_found"],
      path,
    );
  const own = await rig.call("POST", "/tasks", { ...as(ours), json: { model: "table", input } });
  assert.equal(own.status, 202);
});

test("one idempotency key of two tenants is two keys", async () => {
  const json = { model: "table", input: { inputs: INPUTS } };
  const [first, second] = [
    await rig.call("POST", "/tasks", { ...as(ours, { "idempotency-key": "nightly" }), json }),
    await rig.call("POST", "/tasks", { ...as(theirs, { "idempotency-key": "nightly" }), json }),
  ];
  assert.deepEqual([first.status, second.status], [202, 202]);
  assert.notEqual(first.body.id, second.body.id);
  assert.equal(second.headers.get("idempotency-replayed"), null);
});

test("tasks of another tenant are neither retried nor forgotten by naming them among dead letters", async () => {
  const json = { model: "table", input: { inputs: INPUTS } };
  const { id } = (await rig.call("POST", "/tasks", { ...as(ours), json })).body;
  for (const act of ["retry", "purge"]) {
    const answer = await rig.call("POST", `/dead-letters/${act}`, { ...as(theirs), json: { ids: [id] } });
    assert.deepEqual(outcome(answer), [404, "task_not_found"], act);
  }
  assert.equal((await rig.call("GET", `/tasks/${id}`, as(ours))).body.status, "PENDING");
});

test("a key for some models learns and starts nothing of the others", async () => {
  const made = await rig.call("POST", "/keys", {
    json: { name: "narrow", scopes: ["submit", "read", "models"], models: ["table"] },
  });
  const narrow = as(made.body.key);
  const file = `sha256:${createHash("sha256").update(buildFailsOnSomeInputs()).digest("hex")}`;
  const tries = [
    ["GET", "/models/secret"],
    ["GET", "/models/secret/queue"],
    ["GET", "/v2/models/secret"],
    ["GET", "/v2/models/secret/ready"],
    ["POST", "/v2/models/secret/infer", { inputs: INPUTS }],
    ["POST", "/tasks", { model: "secret", input: { inputs: INPUTS } }],
    ["POST", "/batches", { model: "secret", items: [{ input: { inputs: INPUTS } }] }],
    ["PUT", "/models/secret/versions/2", { file, manifest: {} }],
  ] as const;
  for (const [method, path, json] of tries)
    assert.deepEqual(
      outcome(await rig.call(method, path, { ...narrow, json })),
      [403, "auth_forbidden"],
      `${method} ${path}`,
    );
  const { models } = (await rig.call("GET", "/models", narrow)).body;
  assert.deepEqual(
    models.map(({ name }: { name: string }) => name),
    ["table"],
  );
  assert.equal((await rig.call("GET", "/models/table/queue", narrow)).status, 200);
});

test("members that mean something to the language are data or nothing", async () => {
  const text = JSON.stringify({ model: "table", input: { inputs: INPUTS }, metadata: "HERE" }).replace(
    '"HERE"',
    '{"__proto__":"x","constructor":"y","toString":"z"}',
  );
  const { status, body } = await rig.call("POST", "/tasks", {
    ...as(ours, { "content-type": "application/json" }),
    body: text,
  });
  assert.equal(status, 202, JSON.stringify(body));
  assert.deepEqual({ ...body.metadata }, { constructor: "y", toString: "z" });
  const nested = text.replace('"x"', '{"isAdmin":true}');
  const refused = await rig.call("POST", "/tasks", {
    ...as(ours, { "content-type": "application/json" }),
    body: nested,
  });
  assert.ok(refused.status === 202 || refused.status === 400);
  assert.equal("isAdmin" in {}, false);
  assert.equal((await rig.call("GET", "/keys", as(ours))).status, 403);
});

test("a parameter that is given twice, or that nobody knows, is refused", async () => {
  for (const path of ["/usage?tenant=a&tenant=b", "/tasks?limit=1&limit=2", "/tasks?tenant=a"])
    assert.deepEqual(outcome(await rig.call("GET", path)), [400, "request_invalid"], path);
  assert.deepEqual(outcome(await rig.call("GET", "/usage?tenant=a", as(ours))), [403, "auth_forbidden"]);
});

test("a field that a request may not set is refused, not ignored", async () => {
  const task = { model: "table", input: { inputs: INPUTS } };
  for (const more of [{ tenant: "a" }, { id: "mine" }, { state: "COMPLETED" }])
    assert.deepEqual(
      outcome(await rig.call("POST", "/tasks", { ...as(ours), json: { ...task, ...more } })),
      [400, "request_invalid"],
      JSON.stringify(more),
    );
  const key = { name: "k", scopes: ["read"], source: "config" };
  assert.deepEqual(outcome(await rig.call("POST", "/keys", { json: key })), [400, "request_invalid"]);
});

test("line breaks in a path begin no header and no line of a log", async () => {
  const injected = "x%0d%0aset-cookie:%20session=1%0d%0a%0d%0a<html>";
  for (const path of [`/tasks/${injected}`, `/models/${injected}`, `/${injected}`]) {
    const answer = await rig.call("GET", path);
    assert.ok(answer.status === 404 || answer.status === 400, `${path}: ${answer.status}`);
    assert.equal(answer.headers.get("set-cookie"), null, path);
    assert.equal(answer.headers.get("content-type"), "application/problem+json", path);
  }
  await rig.call("GET", `/tasks/${injected}`, as("lgk_nobody"));
  await rig.call("PUT", `/tasks/${injected}`, { ...as(await rig.key("read")), json: {} });
  const { entries } = auditPageSchema.parse((await rig.call("GET", "/audit?limit=200")).body);
  assert.ok(entries.some(({ target }) => target.includes("set-cookie")));
  assert.equal((await rig.call("GET", "/audit/verification")).body.is_intact, true);
});

test("who pushed a model, held up a queue or changed the strategy is in the audit log", async () => {
  await rig.push("told", buildFailsOnSomeInputs());
  for (const act of ["pause", "resume", "purge"]) await rig.call("POST", `/models/told/queue/${act}`);
  await rig.call("PUT", "/cluster/config/balancing", { json: { strategy: "ROUND_ROBIN" } });
  await rig.call("POST", "/models/nowhere/queue/pause");
  const { entries } = auditPageSchema.parse((await rig.call("GET", "/audit?limit=200")).body);
  const told = entries.filter(({ action }) => /^(model|queue|balancing)\./.test(action)).reverse();
  assert.deepEqual(
    told.map(({ action, target, actor_name }) => [action, target, actor_name]).slice(-5),
    [
      ["model.push", "/models/told/versions/1"],
      ["queue.pause", "/models/told/queue/pause"],
      ["queue.resume", "/models/told/queue/resume"],
      ["queue.purge", "/models/told/queue/purge"],
      ["balancing.change", "/cluster/config/balancing"],
    ].map((event) => [...event, "first administrator"]),
  );
});
