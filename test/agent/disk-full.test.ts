/** A model that there is no room for: the task fails for that, and says it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { buildMlp } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask, floats } from "../support/fake-gateway.ts";

test("a task whose model does not fit into the cache fails with disk_full, at once and again", async (context) => {
  const rig = await AgentRig.start({ agent: { maxModelCacheBytes: 10_000 } });
  context.after(() => rig.close());
  const { gateway } = rig;
  const model = gateway.addModel("large", buildMlp({ widths: [64, 1000, 10] }));
  await gateway.next("hello");
  gateway.send({ type: "load_model", model, preload: false });
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    const task = fakeTask(model, { input: { kind: "tensors", tensors: [floats("input", [1, 64], 1)] } });
    gateway.send(task);
    const { error } = await gateway.failure(task.token);
    assert.deepEqual([error.code, error.retryable], ["disk_full", true]);
    assert.match(error.message, /does not fit into the model cache of 10000 bytes/);
  }
  const { reason } = await gateway.next("model_state", ({ state }) => state === "failed");
  assert.match(reason ?? "", /does not fit/);
});
