import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { CliProcess } from "../support/cli-process.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

const SAMPLE = join(import.meta.dirname, "../../models/digits/sample.png");
/** What models/digits/sample.png shows. */
const SAMPLE_SHOWS = "7";

let rig: GatewayRig;
let processes: CliProcess[];

beforeEach(async () => {
  rig = await GatewayRig.start();
  processes = [];
});
afterEach(async () => {
  await Promise.all(processes.map((each) => each.stop()));
  await rig.close();
});

async function startWorker(id: string, home?: string): Promise<CliProcess> {
  const worker = await CliProcess.worker(rig, id, home);
  processes.push(worker);
  await until(
    `worker ${id} to be HEALTHY; it printed: ${worker.stderr}`,
    async () => {
      const { workers } = (await rig.call("GET", "/cluster/workers")).body;
      return workers.some(
        (each: { id: string; state: string }) => each.id === id && each.state === "HEALTHY",
      );
    },
    30_000,
  );
  return worker;
}

test("a picture goes in over HTTPS and its label comes out", async () => {
  await rig.pushDigits();
  await startWorker("box");
  const answer = await rig.call("POST", "/tasks?model=digits", {
    body: await readFile(SAMPLE),
    headers: { "content-type": "image/png", prefer: "wait=30" },
  });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.equal(answer.body.status, "COMPLETED");
  assert.equal(answer.body.result.predictions[0].label, SAMPLE_SHOWS);
  assert.ok(answer.body.timings_ms.execute > 0);
  assert.equal(answer.body.attempts[0].worker, "box");

  const asJson = await rig.call("POST", "/tasks", {
    json: { model: "digits", input: { image: (await readFile(SAMPLE)).toString("base64") } },
    headers: { prefer: "wait=30" },
  });
  assert.equal(asJson.body.result.predictions[0].label, SAMPLE_SHOWS);
});

test("a synchronous inference answers with the tensors that the model gives", async () => {
  await rig.push("identity", buildIdentity());
  await startWorker("box");
  const data = Array.from({ length: 16 }, (_, i) => i / 2);
  const answer = await rig.call("POST", "/v2/models/identity/infer", {
    json: { id: "mine", inputs: [{ name: "input", datatype: "FP32", shape: [1, 16], data }] },
  });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.deepEqual(answer.body, {
    id: "mine",
    model_name: "identity",
    model_version: "1",
    outputs: [{ name: "output", datatype: "FP32", shape: [1, 16], data }],
  });
});

test("a file that only begins like a picture ends the task with a clear error", async () => {
  await rig.pushDigits();
  await startWorker("box");
  const answer = await rig.call("POST", "/tasks?model=digits", {
    body: Buffer.concat([
      Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
      Buffer.from("and then nothing of the kind"),
    ]),
    headers: { "content-type": "image/png", prefer: "wait=30" },
  });
  assert.equal(answer.body.status, "FAILED", JSON.stringify(answer.body));
  assert.equal(answer.body.error.code, "image_invalid");
  assert.equal(answer.body.attempts.length, 1, "it is not tried again");
});

test("an agent is killed in the middle of 200 tasks: all complete, none twice in the record", async () => {
  await rig.push("slow", buildSlow({ rounds: 60, size: 256 }));
  const [model] = (await rig.call("GET", "/models")).body.models;
  const [first] = [await startWorker("first"), await startWorker("second")];
  const inputs = model.inputs.map((spec: { name: string; datatype: string; shape: number[] }) => {
    const shape = spec.shape.map((dimension) => Math.max(dimension, 1));
    return { ...spec, shape, data: new Array(shape.reduce((a, b) => a * b, 1)).fill(0.5) };
  });
  const outputs = [{ name: model.outputs[0].name }];
  const submit = async (): Promise<string> => {
    const task = await rig.call("POST", "/tasks", { json: { model: "slow", input: { inputs, outputs } } });
    assert.equal(task.status, 202, JSON.stringify(task.body));
    return task.body.id;
  };
  const ids = await Promise.all(Array.from({ length: 200 }, submit));
  const completed = async (): Promise<number> =>
    (await rig.call("GET", "/cluster/metrics")).body.tasks_completed;
  await until("some tasks to be done", async () => (await completed()) >= 20, 60_000);
  assert.ok((await completed()) < 180, "the kill comes in the middle");
  first.signal("SIGKILL");
  await until("all 200 tasks to complete", async () => (await completed()) >= 200, 120_000);

  const tasks = await Promise.all(ids.map(async (id) => (await rig.call("GET", `/tasks/${id}`)).body));
  assert.ok(tasks.every(({ status }) => status === "COMPLETED"));
  const results = tasks.map(
    ({ attempts }) => attempts.filter(({ outcome }: { outcome: string }) => outcome === "completed").length,
  );
  assert.ok(
    results.every((count) => count === 1),
    "each has one recorded result",
  );
  assert.ok(
    tasks.some(({ attempts }) =>
      attempts.some(({ outcome }: { outcome: string }) => outcome === "worker_lost"),
    ),
  );
  assert.equal(new Set(ids).size, 200);
  assert.equal(await completed(), 200);
});

test("without its only agent tasks wait, and say why; when it is back they run", async () => {
  await rig.push("identity", buildIdentity());
  const worker = await startWorker("only");
  worker.signal("SIGTERM");
  assert.deepEqual(await worker.exited(), { code: 0, signal: null });
  const tensor = { name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) };
  const task = await rig.call("POST", "/tasks", { json: { model: "identity", input: { inputs: [tensor] } } });
  assert.equal(task.status, 202);
  const waiting = (await rig.call("GET", `/tasks/${task.body.id}`)).body;
  assert.equal(waiting.status, "PENDING");
  assert.match(waiting.reason, /No worker is connected; start one/);
  await startWorker("only", worker.home);
  const done = (await rig.call("GET", `/tasks/${task.body.id}?wait=30`)).body;
  assert.equal(done.status, "COMPLETED");
});
