/** Tasks through a real agent and its real runner process. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { type Manifest, manifestSchema } from "@legacygpu/shared/manifest";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import type { ModelRef, TaskOutput } from "@legacygpu/shared/protocol/messages";
import { buildEndlessLoop, buildFailsOnSomeInputs, buildMemoryBomb } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { fakeTask, floats } from "../support/fake-gateway.ts";
import { until } from "../support/until.ts";

const int64 = (name: string, value: bigint) => ({
  name,
  datatype: "INT64" as const,
  shape: [1],
  data: new Uint8Array(new BigInt64Array([value]).buffer),
});
const digits = (name: string): string => new URL(`../../models/digits/${name}`, import.meta.url).pathname;

describe("an agent", () => {
  let rig: AgentRig;
  let manifest: Manifest;
  const models = {} as Record<"identity" | "wide" | "endless" | "picky" | "bomb" | "digits", ModelRef>;

  before(async () => {
    rig = await AgentRig.startReady();
    const { gateway } = rig;
    manifest = manifestSchema.parse(JSON.parse(await readFile(digits("manifest.json"), "utf8")));
    models.identity = gateway.addModel("identity", buildIdentity());
    models.wide = gateway.addModel("wide", buildIdentity({ size: 65_536 }));
    models.endless = gateway.addModel("endless", buildEndlessLoop());
    models.picky = gateway.addModel("picky", buildFailsOnSomeInputs());
    models.bomb = gateway.addModel("bomb", buildMemoryBomb());
    models.digits = gateway.addModel("digits", await readFile(digits("model.onnx")), manifest);
    for (const model of Object.values(models)) gateway.send({ type: "load_model", model, preload: false });
  });
  after(() => rig.close());

  const endless = () =>
    fakeTask(models.endless, { input: { kind: "tensors", tensors: [floats("input", [1], 1)] } });

  test("says who it is and what it can do", async () => {
    const hello = await rig.gateway.next("hello");
    assert.equal(hello.workerId, rig.agent.workerId);
    assert.equal(hello.site, "test-site");
    assert.deepEqual(hello.labels, { rack: "7" });
    assert.deepEqual(hello.providers, ["cpu"]);
    assert.equal(hello.slots, 1);
    assert.deepEqual(hello.held, []);
    assert.ok(hello.hardware.cpu.cores >= 1);
  });

  test("fetches a model and runs tensors through it", async () => {
    const task = fakeTask(models.identity);
    rig.gateway.send(task);
    const { output, provider, timings } = await rig.gateway.result(task.token);
    assert.equal(provider, "cpu");
    assert.ok(timings.loadMs > 0);
    assert.deepEqual(output, { kind: "output", tensors: [floats("output", [1, 16], 1)] });
    const states = rig.gateway.all("model_state").filter(({ name }) => name === "identity");
    assert.deepEqual(
      states.map(({ state }) => state).filter((state) => state !== "downloading"),
      ["cached", "loading", "ready"],
    );
  });

  test("recognises a picture", async () => {
    const image = new Uint8Array(await readFile(digits("sample.png")));
    const task = fakeTask(models.digits, { input: { kind: "image", image } });
    rig.gateway.send(task);
    const output = (await rig.gateway.result(task.token)).output as TaskOutput;
    assert.equal(output.tensors.length, 0);
    const scores = output.predictions?.map(({ score }) => score) ?? [];
    assert.equal(scores.length, manifest.postprocess?.top_k);
    assert.ok((scores[0] ?? 0) > 0.5);
    assert.deepEqual(
      scores,
      [...scores].sort((a, b) => b - a),
    );
  });

  test("returns tensors beside predictions when they are asked for by name", async () => {
    const image = new Uint8Array(await readFile(digits("sample.png")));
    const task = fakeTask(models.digits, { input: { kind: "image", image }, outputs: ["logits"] });
    rig.gateway.send(task);
    const output = (await rig.gateway.result(task.token)).output as TaskOutput;
    assert.deepEqual(
      output.tensors.map(({ name }) => name),
      ["logits"],
    );
    assert.ok((output.predictions?.length ?? 0) > 0);
  });

  test("says what is wrong with an input", async () => {
    const cases = [
      {
        code: "image_invalid",
        task: fakeTask(models.digits, { input: { kind: "image", image: Uint8Array.of(1, 2, 3) } }),
      },
      {
        code: "input_invalid",
        task: fakeTask(models.identity, { input: { kind: "image", image: Uint8Array.of(1) } }),
      },
      {
        code: "input_invalid",
        task: fakeTask(models.identity, {
          input: { kind: "tensors", tensors: [floats("nope", [1, 16], 1)] },
        }),
      },
      { code: "input_invalid", task: fakeTask(models.identity, { outputs: ["nope"] }) },
      {
        code: "model_run_failed",
        task: fakeTask(models.picky, {
          input: { kind: "tensors", tensors: [int64("input", 99n)] },
        }),
      },
      {
        // A pebibyte: over the address space, so that no kind of overcommitting grants it.
        code: "out_of_memory",
        task: fakeTask(models.bomb, {
          input: { kind: "tensors", tensors: [int64("input", 2n ** 30n)] },
        }),
      },
      { code: "model_not_announced", task: fakeTask({ ...models.identity, name: "unheard-of" }) },
    ];
    for (const { code, task } of cases) {
      rig.gateway.send(task);
      assert.equal((await rig.gateway.failure(task.token)).error.code, code);
    }
  });

  test("a model that does not reproduce its golden example is refused, with what it answered", async () => {
    const [example] = manifest.golden ?? [];
    assert.ok(example);
    const wrong = { ...manifest, golden: [{ ...example, label: "no such label" }] };
    const model = rig.gateway.addModel("wrong", await readFile(digits("model.onnx")), wrong);
    const image = new Uint8Array(await readFile(digits("sample.png")));
    const task = fakeTask(model, { input: { kind: "image", image } });
    rig.gateway.send({ type: "load_model", model, preload: false }, task);
    const { error } = await rig.gateway.failure(task.token);
    assert.equal(error.code, "model_load_failed");
    const { reason } = await rig.gateway.next(
      "model_state",
      ({ name, state }) => name === "wrong" && state === "failed",
    );
    assert.match(reason ?? "", /Golden example 0 is not reproduced on cpu: expected `no such label`/);
  });

  test("fetches an input and stores an output that are too large for a frame", async () => {
    const tensors = [floats("input", [1, 65_536], 7)];
    const task = fakeTask(models.wide);
    const address = `${task.taskId}/${task.token}`;
    const body = encodeValue({ kind: "tensors", tensors });
    rig.gateway.inputs.set(address, body);
    rig.gateway.failNext = { status: 503, count: 1 };
    rig.gateway.send({ ...task, input: { kind: "beside", sizeBytes: body.length } });
    const { output } = await rig.gateway.result(task.token);
    const stored = rig.gateway.outputs.get(address);
    assert.ok(stored !== undefined);
    assert.deepEqual(output, { kind: "beside", sizeBytes: stored.length });
    const {
      tensors: [tensor],
    } = decodeValue(stored) as TaskOutput;
    assert.deepEqual(tensor?.data, tensors[0]?.data);
  });

  test("a task that hangs ends at its deadline; those behind it are not harmed", async () => {
    const first = { ...endless(), budgetMs: 100 };
    rig.gateway.send(first);
    await rig.gateway.failure(first.token);
    const hanging = { ...endless(), budgetMs: 500 };
    const behind = [fakeTask(models.identity), fakeTask(models.identity)];
    rig.gateway.send(hanging, ...behind);
    assert.equal((await rig.gateway.failure(hanging.token)).error.code, "deadline_exceeded");
    for (const { token } of behind) await rig.gateway.result(token);
  });

  test("a task with a limit of its own on computing is stopped there", async () => {
    const task = { ...endless(), executionLimitMs: 200 };
    rig.gateway.send(task);
    const { error } = await rig.gateway.failure(task.token);
    assert.equal(error.code, "execution_timeout");
    assert.equal(error.details?.limitMs, 200);
  });

  test("a task whose time is up before it starts is not run", async () => {
    const task = fakeTask(models.identity, { budgetMs: 0 });
    rig.gateway.send(task);
    assert.equal((await rig.gateway.failure(task.token)).error.code, "deadline_exceeded");
    assert.ok(!rig.gateway.all("accepted").some(({ token }) => token === task.token));
  });

  test("when the runner is killed, only what it computed fails, and the agent stays connected", async () => {
    const connections = rig.gateway.all("hello").length;
    const suspect = endless();
    const behind = [fakeTask(models.identity), fakeTask(models.identity), fakeTask(models.identity)];
    rig.gateway.send(suspect, ...behind);
    await rig.gateway.next("accepted", ({ token }) => token === suspect.token);
    const pid = rig.agent.status().runner.runners[0]?.pid;
    assert.ok(pid !== undefined);
    process.kill(pid, "SIGKILL");
    const { error } = await rig.gateway.failure(suspect.token);
    assert.equal(error.code, "runner_crashed");
    assert.equal(error.details?.signal, "SIGKILL");
    for (const { token } of behind) await rig.gateway.result(token);
    assert.equal(rig.gateway.all("hello").length, connections);
  });

  test("a cancelled task that waits is never begun; one that runs is stopped, and nothing is said about either", async () => {
    const [running, waiting, last] = [endless(), fakeTask(models.identity), fakeTask(models.identity)];
    rig.gateway.send(running, waiting, last);
    await rig.gateway.next("accepted", ({ token }) => token === running.token);
    for (const { taskId, token } of [running, waiting])
      rig.gateway.send({ type: "cancel", taskId, token, reason: "test" });
    await rig.gateway.result(last.token);
    const heard = rig.gateway.received.filter(
      (message) => "token" in message && [running.token, waiting.token].includes(message.token),
    );
    assert.deepEqual(
      heard.map((message) => message.type),
      ["accepted"],
    );
  });

  test("heartbeats come while a model computes for seconds", async () => {
    const task = endless();
    rig.gateway.send(task);
    await rig.gateway.next("accepted", ({ token }) => token === task.token);
    const startedAt = performance.now();
    let [beats, lastAt, worstGapMs] = [rig.gateway.all("telemetry").length, startedAt, 0];
    await until("five seconds of computing", () => {
      const now = performance.now();
      if (rig.gateway.all("telemetry").length > beats) {
        worstGapMs = Math.max(worstGapMs, now - lastAt);
        [beats, lastAt] = [rig.gateway.all("telemetry").length, now];
      }
      return now - startedAt > 5000;
    });
    assert.ok(worstGapMs > 0 && worstGapMs < 1500, `the longest gap was ${worstGapMs} ms`);
    rig.gateway.send({ type: "cancel", taskId: task.taskId, token: task.token, reason: "seen enough" });
  });

  test("a drained agent finishes what it holds, refuses more, and says goodbye", async () => {
    const held = fakeTask(models.identity);
    rig.gateway.send(held, { type: "drain", reason: "maintenance" });
    const late = fakeTask(models.identity);
    rig.gateway.send(late);
    await rig.gateway.result(held.token);
    await rig.gateway.next("goodbye");
    assert.equal(await rig.agent.closed, undefined);
  });
});
