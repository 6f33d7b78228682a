/** The statistics of the protocol: every field, as its tools read them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { TaskState } from "@legacygpu/shared/task";
import { InferenceStatistics, type ModelStatistics } from "../../../gateway/inference/statistics.ts";
import type { TaskRecord, TaskTimings } from "../../../gateway/tasks/record.ts";
import { buildIdentity } from "../../../models/onnx/synthetic.ts";
import { GatewayRig } from "../../support/gateway-rig.ts";
import { SchedulerRig, timings } from "../../support/scheduler-rig.ts";
import { WorkingAgent } from "../../support/working-agent.ts";

const scheduler = new SchedulerRig();
const MODEL = { name: "m", version: "1" };

function ended(state: TaskState, more: Partial<TaskRecord> = {}): TaskRecord {
  const task = scheduler.task();
  return { ...task, state, createdAtMs: 1_000_000, completedAtMs: 1_000_040, ...more };
}

const rows = (count: number): TaskOutput => ({
  kind: "output",
  tensors: [{ name: "y", datatype: "FP32", shape: [count, 4], data: new Uint8Array(count * 16) }],
});

const TIMINGS: TaskTimings = {
  onWorker: { queuedMs: 2, fetchMs: 3, loadMs: 1, preprocessMs: 0.5, executeMs: 10, postprocessMs: 0.25 },
  queueMs: 4,
  networkMs: 8,
};

test("nothing has happened yet: every field is there, and every number 0", () => {
  const none = { count: 0, ns: 0 };
  assert.deepEqual(new InferenceStatistics(() => true).of(MODEL), {
    ...MODEL,
    last_inference: 0,
    inference_count: 0,
    execution_count: 0,
    inference_stats: {
      success: none,
      fail: none,
      queue: none,
      compute_input: none,
      compute_infer: none,
      compute_output: none,
      cache_hit: none,
      cache_miss: none,
    },
    response_stats: {},
    batch_stats: [],
    memory_usage: [],
  } satisfies ModelStatistics);
});

test("the time of a task is shared out without a rest: queue, way there, model, way back", () => {
  const statistics = new InferenceStatistics(() => true);
  // Beside the link, so that only the message itself shares the network's time with the output.
  statistics.settled(
    ended("COMPLETED", { timings: TIMINGS, output: rows(3), inputBytes: 10 ** 6, outputBytes: 1024 }),
  );
  const { inference_stats: stats, ...rest } = statistics.of(MODEL);
  assert.deepEqual(stats.queue, { count: 1, ns: 7_000_000 });
  assert.deepEqual(stats.compute_input, { count: 1, ns: 5_500_000 });
  assert.deepEqual(stats.compute_infer, { count: 1, ns: 10_000_000 });
  assert.deepEqual(stats.compute_output, { count: 1, ns: 6_250_000 });
  assert.deepEqual(stats.success, { count: 1, ns: 28_750_000 });
  assert.deepEqual(stats.fail, { count: 0, ns: 0 });
  assert.equal(rest.last_inference, 1_000_040);
  assert.equal(rest.inference_count, 3);
  assert.equal(rest.execution_count, 1);
});

test("tasks that ran as one are one execution of a larger batch", () => {
  const statistics = new InferenceStatistics(() => true);
  const asOne = { ...TIMINGS, onWorker: { ...TIMINGS.onWorker, batchSize: 4 } };
  for (let task = 0; task < 4; task += 1)
    statistics.settled(ended("COMPLETED", { timings: asOne, output: rows(2) }));
  statistics.settled(ended("COMPLETED", { timings: TIMINGS, output: rows(1) }));
  const { inference_count, execution_count, batch_stats, inference_stats } = statistics.of(MODEL);
  assert.equal(inference_count, 9);
  assert.equal(execution_count, 2);
  assert.equal(inference_stats.queue.count, inference_stats.success.count);
  assert.deepEqual(
    batch_stats.map(({ batch_size, compute_infer }) => [batch_size, compute_infer]),
    [
      [1, { count: 1, ns: 10_000_000 }],
      [8, { count: 1, ns: 10_000_000 }],
    ],
  );
});

test("the first dimension of a model without batches counts nothing", () => {
  const statistics = new InferenceStatistics(() => false);
  statistics.settled(ended("COMPLETED", { timings: TIMINGS, output: rows(500) }));
  assert.equal(statistics.of(MODEL).inference_count, 1);
});

test("what did not succeed is counted with its time, and nowhere else", () => {
  const statistics = new InferenceStatistics(() => true);
  for (const state of ["FAILED", "TIMED_OUT", "CANCELLED"] as const) statistics.settled(ended(state));
  const { inference_stats: stats, inference_count } = statistics.of(MODEL);
  assert.deepEqual(stats.fail, { count: 3, ns: 120_000_000 });
  assert.equal(stats.success.count + stats.queue.count + inference_count, 0);
});

test("each version and all of them can be asked for, and tasks count like inferences", async (t) => {
  const rig = await GatewayRig.start();
  t.after(() => rig.close());
  for (const version of ["1", "2"])
    assert.equal((await rig.push("m", buildIdentity(), {}, version)).status, 201);
  await rig.push("other", buildIdentity());
  const agent = await WorkingAgent.connect(rig, "box", ({ taskId, token }) => ({
    type: "result",
    taskId,
    token,
    output: {
      kind: "output",
      tensors: [{ name: "output", datatype: "FP32", shape: [1, 16], data: new Uint8Array(64) }],
    },
    timings: { ...timings(1), executeMs: 5 },
    provider: "cpu",
  }));
  t.after(() => agent.close());
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(0) }];
  await rig.call("POST", "/v2/models/m/versions/1/infer", { json: { inputs } });
  const task = { model: "m", version: "2", input: { inputs } };
  for (let count = 0; count < 2; count += 1)
    await rig.call("POST", "/tasks", { json: task, headers: { prefer: "wait=10" } });
  const asked = async (path: string): Promise<[string, string, number, number][]> => {
    const { status, body } = await rig.call("GET", path);
    assert.equal(status, 200);
    return body.model_stats.map((each: ModelStatistics) => [
      each.name,
      each.version,
      each.inference_count,
      each.inference_stats.compute_infer.ns,
    ]);
  };
  const first = ["m", "1", 1, 5_000_000];
  const second = ["m", "2", 2, 10_000_000];
  assert.deepEqual(await asked("/v2/models/m/stats"), [first, second]);
  assert.deepEqual(await asked("/v2/models/m/versions/2/stats"), [second]);
  assert.deepEqual(await asked("/v2/models/stats"), [first, second, ["other", "1", 0, 0]]);
});
