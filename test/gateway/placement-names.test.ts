/** Where a task may run, over HTTP: names that nobody has, requirements that nobody meets, and data that stays in its regions. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { MessageOf } from "@legacygpu/shared/protocol/messages";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { FakeAgent } from "../support/fake-agent.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

type Hello = MessageOf<Parameters<FakeAgent["send"]>[0], "hello">;

const INPUTS = [{ name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) }];
const GPU = { name: "AMD Radeon RX 580 Series (RADV POLARIS10)", vendor: "AMD" };

let rig: GatewayRig;
let agents: FakeAgent[];

beforeEach(async () => {
  agents = [];
  rig = await GatewayRig.start();
  assert.equal((await rig.push("id", buildIdentity())).status, 201);
});
afterEach(async () => {
  for (const agent of agents) await agent.close();
  await rig.close();
});

async function connect(id: string, more: Partial<Hello> = {}): Promise<FakeAgent> {
  const agent = await FakeAgent.connect(rig, id, more);
  agents.push(agent);
  return agent;
}

const hardware = (...gpus: { name: string; vendor: string; vramBytes?: number }[]): Hello["hardware"] => ({
  cpu: { model: "c", cores: 1 },
  memoryBytes: 1,
  platform: "linux",
  gpus,
});
const submit = (placement: object | undefined, more: object = {}): Promise<Answer> =>
  rig.call("POST", "/tasks", { json: { model: "id", input: { inputs: INPUTS }, placement, ...more } });
const refusal = ({ status, body }: Answer): unknown => [
  status,
  body.code,
  body.details?.path,
  body.details?.known,
];

test("a placement that names what nobody has is refused with what there is", async () => {
  await connect("box", { site: "berlin", labels: { tier: "old", region: "eu" } });
  await connect("lab-1", { site: "lab", labels: { tier: "new" } });
  const cases: [object, unknown[]][] = [
    [{ sites: ["berlin", "berln"] }, [400, "site_unknown", "placement.sites", ["berlin", "lab"]]],
    [{ labels: { tier: "mid" } }, [400, "label_unknown", "placement.labels.tier", ["tier=new", "tier=old"]]],
    [{ labels: { flor: "2" } }, [400, "label_unknown", "placement.labels.flor", ["region", "tier"]]],
    [{ residency: ["us"] }, [400, "label_unknown", "placement.residency", ["region=eu"]]],
    [
      { providers: ["cude"] },
      [
        400,
        "provider_unknown",
        "placement.providers",
        ["coreml", "cpu", "cuda", "dml", "tensorrt", "webgpu"],
      ],
    ],
  ];
  for (const [placement, expected] of cases) assert.deepEqual(refusal(await submit(placement)), expected);
  const family = await submit({ families: ["Volcano"] });
  assert.deepEqual([family.status, family.body.code], [400, "family_unknown"]);
  assert.match(family.body.detail, /there is no family `Volcano`; there are .*Polaris/);
  const items = [{ input: { inputs: INPUTS } }];
  const batch = await rig.call("POST", "/batches", {
    json: { model: "id", items, placement: { sites: ["x"] } },
  });
  assert.deepEqual([batch.status, batch.body.code], [400, "site_unknown"]);
  assert.deepEqual((await rig.call("GET", "/tasks")).body.tasks, []);
  for (const placement of [{ sites: ["lab", "berlin"] }, { labels: { tier: "old" } }, { residency: ["eu"] }])
    assert.equal((await submit(placement)).status, 202);
});

test("a cluster that never had a worker takes every site and label, but no provider that does not exist", async () => {
  assert.equal((await submit({ sites: ["anywhere"], labels: { any: "thing" } })).status, 202);
  assert.equal((await submit({ providers: ["abacus"] })).body.code, "provider_unknown");
});

test("what a box that is away had is still known, also after a restart of the gateway", async () => {
  await connect("stays", { site: "lab" });
  const away = await FakeAgent.connect(rig, "away", { site: "berlin", labels: { tier: "old" } });
  await away.close();
  const placement = { sites: ["berlin"], labels: { tier: "old" } };
  await until("the box to be gone", async () => {
    const { body } = await rig.call("GET", "/cluster/workers");
    return body.workers.length === 1;
  });
  assert.equal((await submit(placement)).status, 202);
  assert.equal((await submit({ sites: ["paris"] })).status, 400);
  for (const agent of agents.splice(0)) await agent.close();
  const { home, adminKey } = rig;
  await rig.gateway.close();
  rig = await GatewayRig.start({ home });
  await connect("new", { site: "home" });
  const call = (json: object): Promise<Answer> =>
    rig.call("POST", "/tasks", {
      json: { model: "id", input: { inputs: INPUTS }, ...json },
      headers: { authorization: `Bearer ${adminKey}` },
    });
  assert.equal((await call({ placement })).status, 202);
  assert.deepEqual(refusal(await call({ placement: { sites: ["paris"] } })), [
    400,
    "site_unknown",
    "placement.sites",
    ["berlin", "home", "lab"],
  ]);
});

test("a key that is limited to sites is not told the names of others", async () => {
  await connect("a", { site: "berlin", labels: { tier: "old" } });
  await connect("b", { site: "lab" });
  const { body } = await rig.call("POST", "/keys", {
    json: { name: "lab", scopes: ["submit", "read"], sites: ["lab", "attic"] },
  });
  const ask = (placement: object): Promise<Answer> =>
    rig.call("POST", "/tasks", {
      json: { model: "id", input: { inputs: INPUTS }, placement },
      headers: { authorization: `Bearer ${body.key}` },
    });
  assert.deepEqual(refusal(await ask({ sites: ["attic"] })), [
    400,
    "site_unknown",
    "placement.sites",
    ["lab"],
  ]);
  assert.equal((await ask({ sites: ["nowhere"] })).status, 403);
  assert.deepEqual(refusal(await ask({ labels: { tier: "x" } })), [
    400,
    "label_unknown",
    "placement.labels.tier",
    [],
  ]);
});

test("a task that nobody can run waits and says what is missing, the model's own needs included", async () => {
  await rig.push("big", buildIdentity(), {
    requirements: { providers: ["cuda", "webgpu"], min_vram_mb: 6144 },
  });
  await connect("box", { site: "berlin", providers: ["webgpu", "cpu"], hardware: hardware(GPU) });
  await connect("bare", { site: "lab" });
  const reasonOf = async (more: object): Promise<string> => {
    const { status, body } = await submit(undefined, more);
    assert.equal(status, 202);
    return body.reason;
  };
  assert.equal(
    await reasonOf({ placement: { sites: ["berlin"], providers: ["cuda"] } }),
    "No connected worker has the provider cuda; they have cpu, webgpu.",
  );
  assert.equal(
    await reasonOf({ placement: { sites: ["lab"], providers: ["webgpu"] } }),
    "Site lab: 1 worker, none of which has the provider webgpu; they have cpu.",
  );
  assert.equal(
    await reasonOf({ model: "big" }),
    "No connected worker has 6 GiB of VRAM, which big@1 needs; the largest has 4 GiB (box).",
  );
});

test("a caller who does not want to wait is refused when nobody could run it now", async () => {
  const infer = (parameters: object): Promise<Answer> =>
    rig.call("POST", "/v2/models/id/infer", { json: { inputs: INPUTS, parameters } });
  const empty = await submit(undefined, { no_wait: true });
  assert.deepEqual(
    [empty.status, empty.body.code, empty.body.details],
    [409, "requirement_unmet", { requirement: "worker" }],
  );
  assert.equal((await infer({ no_wait: true })).status, 409);
  assert.equal((await infer({ no_wait: "soon" })).status, 400);

  await connect("box", { hardware: hardware(GPU) });
  const items = new Array(3).fill({ input: { inputs: INPUTS } });
  const batch = { model: "id", items, no_wait: true, placement: { min_vram_mb: 8192 } };
  const refused = await rig.call("POST", "/batches", { json: batch });
  assert.deepEqual([refused.status, refused.body.code], [409, "requirement_unmet"]);
  assert.match(refused.body.detail, /No connected worker has 8 GiB of VRAM; the largest has 4 GiB \(box\)/);
  assert.deepEqual((await rig.call("GET", "/tasks")).body.tasks, []);
  // A busy worker is a worker: the second one waits for it.
  for (let i = 0; i < 2; i += 1)
    assert.equal((await submit({ families: ["polaris"] }, { no_wait: true })).status, 202);
});

test("data goes only to workers of its regions", async () => {
  const eu = await connect("in-eu", { labels: { region: "eu" } });
  const us = await connect("in-us", { labels: { region: "us" }, slots: 8 });
  const silent = await connect("silent", { slots: 8 });
  const ids: string[] = [];
  for (let i = 0; i < 5; i += 1) ids.push((await submit({ residency: ["eu"] })).body.id);
  await eu.next("task");
  const { body } = await submit({ residency: ["us"] });
  await us.next("task", ({ taskId }) => taskId === body.id);
  assert.ok(eu.all("task").every(({ taskId }) => ids.includes(taskId)));
  assert.deepEqual([us.all("task").length, silent.all("task").length], [1, 0]);
});

test("a task says that it forbids a second copy, also after a restart", async () => {
  const { id } = (await submit(undefined, { hedge: false })).body;
  const other = (await submit(undefined)).body;
  assert.equal("hedge" in other, false);
  const { home, adminKey } = rig;
  await rig.gateway.close();
  rig = await GatewayRig.start({ home });
  const again = await rig.call("GET", `/tasks/${id}`, { headers: { authorization: `Bearer ${adminKey}` } });
  assert.equal(again.body.hedge, false);
});

test("how a worker is chosen is told of what waits, and of what was sent when that was asked for", async () => {
  const explained = (id: string): Promise<Answer> => rig.call("GET", `/tasks/${id}?explain=1`);
  const other = await connect("other", { site: "attic" });
  const waiting = (await submit(undefined, { placement: { min_vram_mb: 1000 } })).body.id;
  const { choice } = (await explained(waiting)).body;
  assert.deepEqual([choice.strategy, choice.chosen], ["LEAST_LOADED", null]);
  assert.deepEqual(
    choice.candidates.map(({ worker, site, parts }: Record<string, unknown>) => [worker, site, parts]),
    [["other", "attic", null]],
  );
  const json = { model: "id", input: { inputs: INPUTS }, placement: { sites: ["lab"] } };
  const box = await connect("box", { site: "lab", slots: 8 });
  const kept = (await rig.call("POST", "/tasks?explain=1", { json })).body.id;
  await box.next("task");
  const sent = (await explained(kept)).body.choice;
  assert.equal(sent.chosen, "box");
  assert.deepEqual(
    sent.candidates.map(({ worker, verdict }: Record<string, unknown>) => [worker, verdict === "chosen"]),
    [
      ["box", true],
      ["other", false],
    ],
  );
  assert.ok(sent.candidates[0].predicted_ms >= 0);
  const { id: forgotten } = (await submit({ sites: ["attic"] })).body;
  await other.next("task");
  assert.equal("choice" in (await explained(forgotten)).body, false);
  assert.equal("choice" in (await rig.call("GET", `/tasks/${kept}`)).body, false);
});

test("a key that is limited to sites is told of the candidates at its sites", async () => {
  await connect("box", { site: "lab", slots: 8 });
  await connect("other", { site: "attic", slots: 8 });
  const { key } = (
    await rig.call("POST", "/keys", { json: { name: "lab", scopes: ["submit", "read"], sites: ["lab"] } })
  ).body;
  const headers = { authorization: `Bearer ${key}` };
  const json = { model: "id", input: { inputs: INPUTS } };
  const { id } = (await rig.call("POST", "/tasks?explain=1", { json, headers })).body;
  const { choice } = (await rig.call("GET", `/tasks/${id}?explain=1`, { headers })).body;
  assert.deepEqual(
    choice.candidates.map(({ worker }: { worker: string }) => worker),
    ["box"],
  );
});

test("whether a choice is wanted is said in the address with 1 or 0, and nothing else is", async () => {
  const json = { model: "id", input: { inputs: INPUTS } };
  const { id } = (await rig.call("POST", "/tasks?explain=0", { json })).body;
  assert.equal((await rig.call("GET", `/tasks/${id}?explain=please`)).status, 400);
  assert.equal((await rig.call("POST", "/tasks?explian=1", { json })).status, 400);
});
