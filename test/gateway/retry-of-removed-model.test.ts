/** Another try of a task whose model is not there any more. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { ACME, submission, TasksRig } from "./tasks-rig.ts";

test("a task whose model was removed is not tried again: it says so, stays as it is and costs nothing", async (t) => {
  let isThere = true;
  const asked: ModelRef[] = [];
  const hasModel = (model: ModelRef): boolean => {
    asked.push(model);
    return isThere;
  };
  const rig = new TasksRig(t, { default: { tasks: 3 } }, { hasModel });
  const [task] = await rig.tasks.submit(ACME, [submission({ maxAttempts: 1 })]);
  const id = task?.id ?? "";
  rig.failAfter(100, "model_run_failed");
  isThere = false;
  await assert.rejects(rig.tasks.retry(ACME, id), {
    code: "model_not_found",
    status: 404,
    details: { model: "m", version: "1" },
  });
  const { state, error } = await rig.tasks.get(ACME, id);
  assert.deepEqual([state, error?.code, rig.used.tasks], ["FAILED", "model_run_failed", 1]);
  assert.equal(rig.admission.usageOf("acme").tasks, 0);
  assert.deepEqual(asked, [task?.model]);

  isThere = true;
  await rig.tasks.retry(ACME, id);
  rig.completeAfter(10, 5);
  assert.equal((await rig.tasks.get(ACME, id)).state, "COMPLETED");
});
