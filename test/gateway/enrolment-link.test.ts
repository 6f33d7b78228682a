/** What enrolment means for the agent link: who may say to be whom, and what ends a link. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { FakeAgent } from "../support/fake-agent.ts";
import { hello } from "../support/scheduler-rig.ts";
import { until } from "../support/until.ts";
import { Box, EnrolmentRig, problemOf } from "./enrolment-rig.ts";

const HOUR_MS = 3_600_000;

const closeOf = (agent: FakeAgent): Promise<{ code: number; reason: string }> =>
  until("the link to close", () => agent.closed);

/** Whether the agent is registered: what it says is understood. */
const isConnected = async (rig: EnrolmentRig, id: string): Promise<boolean> => {
  const { workers } = (await rig.call("GET", "/workers")).body;
  return workers.find((worker: { id: string }) => worker.id === id).is_connected;
};

test("an identity opens the link for its worker at its site, and the list shows it as connected", async (t) => {
  const rig = await EnrolmentRig.start(t);
  const identity = await rig.join(new Box("box-1"), "lab");
  assert.equal(await isConnected(rig, "box-1"), false);
  const agent = await FakeAgent.connect(rig, "box-1", { site: "lab" }, identity);
  assert.equal(await isConnected(rig, "box-1"), true);
  await agent.close();
  await until("the worker to be gone", async () => !(await isConnected(rig, "box-1")));
});

test("whoever says to be another worker, or at another site, is closed with a reason that a person understands", async (t) => {
  const rig = await EnrolmentRig.start(t);
  const identity = await rig.join(new Box("box-1"), "lab");
  const siteKey = await rig.siteKey("lab", "office");
  const cases = [
    [identity, hello("box-2", { site: "lab" }), "this identity is for worker box-1 alone"],
    [identity, hello("box-1", { site: "office" }), "this credential is for workers at lab"],
    [siteKey, hello("any", { site: "home" }), "this credential is for workers at lab, office"],
  ] as const;
  for (const [credential, says, reason] of cases) {
    const agent = await FakeAgent.dial(rig, credential);
    agent.send(says);
    assert.deepEqual(await closeOf(agent), { code: CLOSE.unauthorized, reason });
    assert.deepEqual(agent.all("welcome"), []);
    assert.equal(rig.parts.registry.size, 0);
    await agent.close();
  }
  const agent = await FakeAgent.connect(rig, "any", { site: "office" }, siteKey);
  await agent.close();
});

test("a worker that is revoked loses its link, its identities and its key at once", async (t) => {
  const rig = await EnrolmentRig.start(t);
  const box = new Box("box-1");
  const identity = await rig.join(box);
  const other = await FakeAgent.connect(rig, "box-2", {}, await rig.join(new Box("box-2")));
  const agent = await FakeAgent.connect(rig, "box-1", {}, identity);
  const silent = await FakeAgent.dial(rig, identity);
  const revoked = await rig.call("DELETE", "/workers/box-1");
  assert.deepEqual([revoked.status, revoked.body.status], [200, "revoked"]);
  assert.equal((await closeOf(agent)).code, CLOSE.unauthorized);
  assert.equal((await closeOf(silent)).code, CLOSE.unauthorized, "also one that has not said who it is");
  assert.equal(rig.parts.registry.get("box-1"), undefined, "its tasks do not wait for it");
  assert.deepEqual(problemOf(await rig.whoIs(identity)), [401, "auth_invalid"]);
  assert.deepEqual(problemOf(await rig.prove(box)), [403, "worker_revoked"]);
  assert.equal(other.closed, undefined);
  assert.deepEqual(
    rig.told("worker.revoke").map(({ target, actorName }) => [target, actorName]),
    [["box-1", "root"]],
  );
  await Promise.all([agent, silent, other].map((each) => each.close()));
});

test("a worker id is not replaced while its box is connected, and is when it is away", async (t) => {
  const rig = await EnrolmentRig.start(t);
  const agent = await FakeAgent.connect(rig, "box-1", {}, await rig.join(new Box("box-1")));
  const { secret } = await rig.token();
  const anew = new Box("box-1");
  assert.deepEqual(problemOf(await rig.enrol(secret, anew)), [409, "worker_id_in_use"]);
  assert.equal(agent.closed, undefined);
  await agent.close();
  await until("the worker to be away", async () => !(await isConnected(rig, "box-1")));
  assert.equal((await rig.enrol(secret, anew)).status, 201, "the refusal cost no use");
});

test("a link whose identity has expired stays open; requests beside it need a new identity", async (t) => {
  const rig = await EnrolmentRig.start(t, { identityLifeMs: HOUR_MS });
  const box = new Box("box-1");
  const identity = await rig.join(box);
  const agent = await FakeAgent.connect(rig, "box-1", {}, identity);
  rig.clock.advance(2 * HOUR_MS);
  assert.deepEqual(problemOf(await rig.whoIs(identity)), [401, "auth_invalid"]);
  assert.equal(await isConnected(rig, "box-1"), true);
  const late = await FakeAgent.dial(rig, identity);
  await closeOf(late);
  const renewed = await rig.identity(box);
  assert.equal((await rig.whoIs(renewed)).status, 200);
  assert.equal(agent.closed, undefined);
  await Promise.all([agent, late].map((each) => each.close()));
});
