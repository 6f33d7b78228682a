/** Enrolment in a whole gateway: from a join token to work, and what its operator can read about it afterwards. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeJoinToken } from "@legacygpu/shared/join-token";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { hello } from "../support/scheduler-rig.ts";
import { until } from "../support/until.ts";
import { Box } from "./enrolment-rig.ts";

let rig: GatewayRig;

before(async () => {
  rig = await GatewayRig.start();
});
after(() => rig.close());

test("a box joins with a token, proves its key, gets work, and is cut off when it is revoked", async () => {
  await rig.push("identity", buildIdentity());
  const box = new Box("box-1");
  const created = await rig.call("POST", "/join-tokens", { json: { site: "lab" } });
  const { url, secret } = decodeJoinToken(created.body.token);
  assert.equal(url, rig.url);
  const post = (path: string, json: object, headers = {}) => rig.call("POST", path, { json, headers });
  const joining = { worker_id: box.id, public_key: box.publicKey, host: "host" };
  await post("/agent/enrolments", joining, { authorization: `Bearer ${secret}` });
  const { challenge } = (await post("/agent/challenges", { worker_id: box.id })).body;
  const proof = { worker_id: box.id, challenge, signature: box.sign(challenge) };
  const { identity } = (await post("/agent/identities", proof)).body;

  const agent = await FakeAgent.connect(rig, box.id, { site: "lab" }, identity);
  const tensor = { name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) };
  const task = await post("/tasks", { model: "identity", input: { inputs: [tensor] } });
  assert.equal((await agent.next("task")).taskId, task.body.id);

  await rig.call("DELETE", `/workers/${box.id}`);
  const { code } = await until("the link to close", (): FakeAgent["closed"] => agent.closed);
  assert.equal(code, CLOSE.unauthorized);
  const { entries } = (await rig.call("GET", `/audit?target=${box.id}`)).body;
  assert.deepEqual(
    entries.map(({ action }: { action: string }) => action),
    ["worker.revoke", "worker.enrol"],
  );
  await agent.close();
});

test("nobody who comes with a key takes the place of a box that has joined", async () => {
  const box = new Box("box-2");
  const created = await rig.call("POST", "/join-tokens", { json: { site: "lab" } });
  const { secret } = decodeJoinToken(created.body.token);
  const joining = { worker_id: box.id, public_key: box.publicKey, host: "host" };
  const headers = { authorization: `Bearer ${secret}` };
  assert.equal((await rig.call("POST", "/agent/enrolments", { json: joining, headers })).status, 201);
  const other = await FakeAgent.dial(rig);
  other.send(hello(box.id));
  const { code, reason } = await until("the link to close", (): FakeAgent["closed"] => other.closed);
  assert.equal(code, CLOSE.unauthorized);
  assert.match(reason, /belongs to a worker that has joined/);
});
