/** `cluster strategy`, `task explain` and the flags that say where a task may run, and the same in the SDK. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LegacyGpuClient, type TaskJson } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { startApiForFile } from "../support/api-for-file.ts";
import { sampleTask } from "../support/api-samples.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { problem } from "../support/fake-api.ts";

const PATH = "/cluster/config/balancing";
const STRATEGIES = ["ROUND_ROBIN", "LEAST_LOADED", "GPU_MATCH", "LATENCY", "ADAPTIVE"];
const CHOICE: NonNullable<TaskJson["choice"]> = {
  strategy: "LATENCY",
  decided_at: "2026-01-02T03:04:05.000Z",
  chosen: "near",
  candidates: [
    {
      worker: "near",
      site: "lab",
      verdict: "chosen",
      predicted_ms: 14.2,
      parts: { rtt_ms: 2.1, wait_ms: 0, service_ms: 12, load_ms: 0, transfer_ms: 0.1 },
    },
    { worker: "far", site: "attic", verdict: "it drains", predicted_ms: null, parts: null },
  ],
};

const { api, env } = await startApiForFile();
let fetch: PinnedFetch;
let client: LegacyGpuClient;

before(() => {
  fetch = pinnedFetch({ caPem: api.caPem });
  client = new LegacyGpuClient({ url: api.url, key: "lgk_test", fetch, retry: { maxTries: 2, baseMs: 1 } });
});
after(() => fetch.close());

const run = (argv: string[], stdin?: Uint8Array): ReturnType<typeof runTestCli> =>
  runTestCli(argv, { env, ...(stdin === undefined ? {} : { stdin }) });
const bodyOf = (index: number): unknown => JSON.parse(api.requests[index]?.body.toString() ?? "");

test("cluster strategy shows the strategy, and those that models have of their own", async () => {
  const balancing = { strategy: "LATENCY", overrides: { digits: "GPU_MATCH" }, strategies: STRATEGIES };
  api.on(`GET ${PATH}`, { json: balancing });
  const { out, code } = await run(["cluster", "strategy"]);
  assert.equal(code, 0);
  assert.equal(
    out,
    `strategy     LATENCY
  digits     GPU_MATCH
choose from  ROUND_ROBIN, LEAST_LOADED, GPU_MATCH, LATENCY, ADAPTIVE
`,
  );
  assert.equal(
    (await run(["cluster", "strategy", "--model", "digits"])).out,
    "strategy  GPU_MATCH\nmodel     digits\n",
  );
  assert.equal(
    (await run(["cluster", "strategy", "--model", "other"])).out,
    "strategy  LATENCY\nmodel     other\n",
  );
  assert.deepEqual(JSON.parse((await run(["cluster", "strategy", "--json"])).out), balancing);
});

test("cluster strategy sets and resets, for all models or for one", async () => {
  api.on(`PUT ${PATH}`, (request) => {
    const { strategy, model } = JSON.parse(request.body.toString());
    return { json: { status: "success", ...(model && { model }), new_strategy: strategy ?? "LEAST_LOADED" } };
  });
  assert.equal((await run(["cluster", "strategy", "adaptive"])).out, "strategy  ADAPTIVE\n");
  const own = await run(["cluster", "strategy", "gpu_match", "--model", "digits"]);
  assert.equal(own.out, "strategy  GPU_MATCH\nmodel     digits\n");
  assert.equal((await run(["cluster", "strategy", "--reset"])).out, "strategy  LEAST_LOADED\n");
  await run(["cluster", "strategy", "--reset", "--model", "digits"]);
  assert.deepEqual([0, 1, 2, 3].map(bodyOf), [
    { strategy: "ADAPTIVE" },
    { strategy: "GPU_MATCH", model: "digits" },
    { strategy: null },
    { strategy: null, model: "digits" },
  ]);
  assert.equal((await run(["cluster", "strategy", "LATENCY", "--reset"])).code, 2);
  assert.equal(api.requests.length, 4);
});

test("task explain shows each worker with what it would have cost", async () => {
  api.on("GET /tasks/task_1", { json: sampleTask({ choice: CHOICE, reason: "The only worker is busy." }) });
  const { out, code } = await run(["task", "explain", "task_1"]);
  assert.equal(code, 0);
  assert.equal(
    out,
    `task      task_1
status    PENDING: The only worker is busy.
strategy  LATENCY
decided   2026-01-02T03:04:05.000Z
chosen    near

   WORKER  SITE   PREDICTED     RTT    WAIT  COMPUTE    LOAD  TRANSFER  VERDICT
*  near    lab        14 ms  2.1 ms  0.0 ms    12 ms  0.0 ms    0.1 ms  chosen
   far     attic          -       -       -        -       -         -  it drains
`,
  );
  assert.equal(api.requests[0]?.query.get("explain"), "1");
  assert.deepEqual(JSON.parse((await run(["task", "explain", "task_1", "--json"])).out).choice, CHOICE);
});

test("task explain says so when nothing was kept", async () => {
  api.on("GET /tasks/task_1", { json: sampleTask({ status: "COMPLETED" }) });
  assert.match((await run(["task", "explain", "task_1"])).out, /submit with --explain to have it kept/);
});

test("task submit says where the task may run, and whether it waits or may be copied", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const flags = [
    "--family",
    "Polaris",
    "--family",
    "Vega",
    "--region",
    "eu",
    "--require-worker",
    "--no-hedge",
  ];
  const tensors = Buffer.from(
    JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1], data: [1] }] }),
  );
  const submit = ["task", "submit", "--model", "digits", "--input", "-"];
  const { code, err } = await run([...submit, ...flags, "--explain"], tensors);
  assert.equal(code, 0, err);
  const { input: _, ...options } = bodyOf(0) as Record<string, unknown>;
  assert.deepEqual(options, {
    model: "digits",
    placement: { families: ["Polaris", "Vega"], residency: ["eu"] },
    no_wait: true,
    hedge: false,
  });
  assert.equal(api.requests[0]?.query.get("explain"), "1");
  await run(submit, tensors);
  assert.deepEqual(Object.keys(bodyOf(1) as object).sort(), ["input", "model"]);
  assert.equal(api.requests[1]?.query.has("explain"), false);
});

test("a caller who does not want to wait hears it at once", async () => {
  const refused = problem("requirement_unmet", "No connected worker has 24 GiB of VRAM.");
  api.on("POST /tasks", refused).on("POST /v2/models/digits/infer", refused);
  const task = { model: "digits", input: { image: "" }, no_wait: true } as const;
  await assert.rejects(client.submit(task), { code: "requirement_unmet" });
  const inputs = [{ name: "x", datatype: "FP32", shape: [1], data: [1] }] as const;
  const request = {
    inputs: inputs.map((input) => ({ ...input, shape: [1], data: [1] })),
    parameters: { priority: 1 },
  };
  await assert.rejects(client.infer("digits", request, { noWait: true }), { code: "requirement_unmet" });
  assert.equal(api.requests.length, 2);
  assert.deepEqual((bodyOf(1) as { parameters: unknown }).parameters, { priority: 1, no_wait: true });
});

test("the SDK reads and sets strategies, and keeps and reads choices", async () => {
  api.on(`GET ${PATH}`, {
    json: { strategy: "ADAPTIVE", overrides: {}, strategies: [...STRATEGIES, "LATER"] },
  });
  assert.equal((await client.balancing()).strategies.length, 6);
  api.on(`PUT ${PATH}`, { json: { status: "success", model: "digits", new_strategy: "ADAPTIVE" } });
  assert.equal(await client.overrideStrategy("digits", null), "ADAPTIVE");
  assert.equal(await client.setStrategy(null), "ADAPTIVE");
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const jpeg = Uint8Array.from([0xff, 0xd8, 0xff, 0xe0]);
  await client.submitImage("digits", jpeg, { explain: true });
  assert.equal(api.requests.at(-1)?.query.get("explain"), "1");
  api.on("GET /tasks/task_1", { json: sampleTask({ choice: CHOICE }) });
  assert.deepEqual((await client.explain("task_1")).choice, CHOICE);
});
