/** The strategy and its exceptions over HTTP. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { STRATEGY_NAMES } from "@legacygpu/shared/task";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";

const PATH = "/cluster/config/balancing";

let rig: GatewayRig;

beforeEach(async () => {
  rig = await GatewayRig.start();
  await rig.push("id", buildIdentity());
});
afterEach(() => rig.close());

const put = (json: object): Promise<Answer> => rig.call("PUT", PATH, { json });

test("the strategy is set for all models, or for one", async () => {
  assert.deepEqual((await rig.call("GET", PATH)).body, {
    strategy: "LEAST_LOADED",
    overrides: {},
    strategies: [...STRATEGY_NAMES],
  });
  assert.deepEqual((await put({ strategy: "adaptive" })).body, {
    status: "success",
    new_strategy: "ADAPTIVE",
  });
  assert.deepEqual((await put({ strategy: "GPU_MATCH", model: "id" })).body, {
    status: "success",
    model: "id",
    new_strategy: "GPU_MATCH",
  });
  const { strategy, overrides } = (await rig.call("GET", PATH)).body;
  assert.deepEqual([strategy, overrides], ["ADAPTIVE", { id: "GPU_MATCH" }]);
  assert.equal((await put({ strategy: null, model: "id" })).body.new_strategy, "ADAPTIVE");
  assert.equal((await put({ strategy: null })).body.new_strategy, "LEAST_LOADED");
  assert.deepEqual((await rig.call("GET", PATH)).body.overrides, {});
});

test("unknown strategies and models are refused", async () => {
  const unknown = await put({ strategy: "FASTEST", model: "id" });
  assert.deepEqual([unknown.status, unknown.body.code], [400, "strategy_unknown"]);
  for (const strategy of ["ADAPTIVE", null]) {
    const { status, body } = await put({ strategy, model: "nobody" });
    assert.deepEqual([status, body.code], [404, "model_not_found"]);
  }
  assert.equal((await put({})).status, 400);
});

test("what a removed model had can be taken back", async () => {
  await put({ strategy: "LATENCY", model: "id" });
  await rig.call("DELETE", "/models/id");
  assert.equal((await put({ strategy: "ADAPTIVE", model: "id" })).status, 404);
  assert.equal((await put({ strategy: null, model: "id" })).status, 200);
  assert.deepEqual((await rig.call("GET", PATH)).body.overrides, {});
});

test("a restart keeps what was set", async () => {
  await put({ strategy: "LATENCY" });
  await put({ strategy: "ADAPTIVE", model: "id" });
  const { home, adminKey } = rig;
  await rig.gateway.close();
  rig = await GatewayRig.start({ home });
  const { body } = await rig.call("GET", PATH, { headers: { authorization: `Bearer ${adminKey}` } });
  assert.deepEqual([body.strategy, body.overrides], ["LATENCY", { id: "ADAPTIVE" }]);
});
