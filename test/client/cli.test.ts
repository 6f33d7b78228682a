/** The command line against a real HTTPS server: what it prints for people and for programs, and its exit status. */

import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { writeProfile } from "../../client/cli/profile.ts";
import { digestOf } from "../../client/index.ts";
import { VERSION } from "../../shared/version.ts";
import { startApiForFile } from "../support/api-for-file.ts";
import {
  completedTask,
  failedTask,
  sampleHealth,
  sampleMetrics,
  sampleModel,
  sampleTask,
  sampleWorker,
} from "../support/api-samples.ts";
import { type CliOptions, runTestCli, startCli } from "../support/cli-rig.ts";
import { problem } from "../support/fake-api.ts";

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1]);

const { api, env } = await startApiForFile();
let picture = "";

before(async () => {
  picture = join(api.dir, "my.png");
  await writeFile(picture, PNG);
});

const run = (argv: string[], options: CliOptions = {}): ReturnType<typeof runTestCli> =>
  runTestCli(argv, { env, ...options });

test("cluster status", async () => {
  api.on("GET /cluster/health", { json: sampleHealth }).on("GET /cluster/metrics", { json: sampleMetrics });
  const text = await run(["cluster", "status"]);
  assert.equal(
    text.out,
    `gateway   ${api.url}
status    HEALTHY
workers   1 healthy of 2
tasks     3 pending, 1 running
ended     12 completed, 1 failed, 0 cancelled, 0 timed out
latency   p50 12 ms, p99 1.2 s
strategy  LEAST_LOADED
uptime    1.0 h
`,
  );
  assert.deepEqual([text.code, text.err], [0, ""]);
  const json = await run(["cluster", "status", "--json"]);
  assert.deepEqual(JSON.parse(json.out), { url: api.url, ...sampleHealth, metrics: sampleMetrics });
});

test("cluster workers", async () => {
  const silent = sampleWorker({ id: "old", state: "UNHEALTHY", cause: "silent for 15 s", rtt_ms: null });
  api.on("GET /cluster/workers", { json: { workers: [sampleWorker(), silent] } });
  const { out } = await run(["cluster", "workers"]);
  assert.equal(
    out,
    `WORKER  SITE  STATE      BUSY  DONE  FAILED    RTT  PROVIDERS   HARDWARE  CAUSE
box     home  HEALTHY     1/2    12       0  23 ms  webgpu,cpu  RX 580
old     home  UNHEALTHY   1/2    12       0      -  webgpu,cpu  RX 580    silent for 15 s
`,
  );
  api.on("GET /cluster/workers", { json: { workers: [] } });
  assert.match((await run(["cluster", "workers"])).out, /^No worker is connected/);
});

test("cluster workers says how far each is with a model that is on its way", async () => {
  const download = { name: "big", version: "2", state: "downloading", total_bytes: 400 * 1024 ** 2 };
  const progress = { received_bytes: 100 * 1024 ** 2, bytes_per_second: 6 * 1024 ** 2, eta_seconds: 50 };
  const models = [
    { name: "digits", version: "1", state: "ready" },
    { ...download, ...progress },
  ];
  const begun = [{ ...download, received_bytes: 0 }];
  const workers = [sampleWorker({ models }), sampleWorker({ id: "new", models: begun }), sampleWorker()];
  api.on("GET /cluster/workers", { json: { workers } });
  const [title, ...lines] = (await run(["cluster", "workers"])).out.trimEnd().split("\n");
  const at = title?.indexOf("LOADING") ?? -1;
  assert.deepEqual(
    lines.map((line) => line.slice(at).trim()),
    ["big:2 25 % of 400 MiB at 6.0 MiB/s, 50.0 s left", "big:2 0 % of 400 MiB", ""],
  );
});

test("cluster strategy", async () => {
  api.on("PUT /cluster/config/balancing", { json: { status: "success", new_strategy: "ADAPTIVE" } });
  assert.equal((await run(["cluster", "strategy", "adaptive"])).out, "strategy  ADAPTIVE\n");
  api.on("PUT /cluster/config/balancing", problem("strategy_unknown"));
  assert.equal((await run(["cluster", "strategy", "best"])).code, 2);
});

test("task submit sends a picture and prints the id", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const { code, out, err } = await run([
    "task",
    "submit",
    "--model",
    "digits",
    "--input",
    picture,
    "--priority",
    "high",
  ]);
  assert.deepEqual([code, out], [0, "task_1\n"]);
  assert.match(err, /legacygpu task get task_1 --wait/);
  const [request] = api.requests;
  assert.equal(request?.query.toString(), "model=digits&priority=HIGH");
  assert.equal(request?.headers["content-type"], "image/png");
  assert.equal(request?.headers.authorization, "Bearer lgk_env");
  assert.deepEqual(request?.body, Buffer.from(PNG));
});

test("task submit --wait prints the prediction and where the time went", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  api.on(
    "GET /tasks/task_1",
    { json: sampleTask({ reason: "no worker has the model yet" }) },
    { json: completedTask() },
  );
  const { code, out, err } = await run(["task", "submit", "--model", "digits", "--input", picture, "--wait"]);
  assert.equal(
    out,
    `LABEL   SCORE
7      99.1 %  ████████████████████
1       0.6 %

task    task_1
status  COMPLETED
model   digits version 1
time    9.8 ms = queue 0.4 ms + network 1.2 ms + preprocess 6.1 ms + execute 2.0 ms + postprocess 0.1 ms
`,
  );
  assert.equal(err, "task_1 PENDING: no worker has the model yet\ntask_1 COMPLETED\n");
  assert.equal(code, 0);
});

test("task submit --wait --json prints one document and nothing beside it", async () => {
  api
    .on("POST /tasks", { status: 202, json: sampleTask() })
    .on("GET /tasks/task_1", { json: completedTask() });
  const { out, err } = await run([
    "task",
    "submit",
    "--model",
    "digits",
    "--input",
    picture,
    "--wait",
    "--json",
  ]);
  assert.deepEqual(JSON.parse(out), completedTask());
  assert.equal(err, "");
});

test("on a terminal the wait is a spinner that leaves nothing behind", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  api.on("GET /tasks/task_1", { json: sampleTask() }, { json: completedTask() });
  const { err } = await run(["task", "submit", "--model", "digits", "--input", picture, "--wait"], {
    isTty: true,
  });
  assert.match(err.replaceAll("\r\u001b[2K", "<erase>"), /<erase>[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] task_1 PENDING · \d/);
  assert.ok(err.endsWith("\r\u001b[2K"));
});

test("task submit takes tensors as JSON, from standard input too, with a deadline", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const input = { inputs: [{ name: "x", datatype: "FP32", shape: [2], data: [1, 2] }] };
  const stdin = new TextEncoder().encode(JSON.stringify(input));
  const argv = [
    "task",
    "submit",
    "--model",
    "digits",
    "--input",
    "-",
    "--deadline",
    "1.5s",
    "--version",
    "2",
  ];
  assert.equal((await run(argv, { stdin })).code, 0);
  assert.deepEqual(JSON.parse(api.requests[0]?.body.toString() ?? ""), {
    model: "digits",
    version: "2",
    deadline_ms: 1500,
    input,
  });
});

test("outputs of a model that does not classify", async () => {
  const data = Array.from({ length: 10 }, (_, i) => i / 2);
  const result = {
    model_name: "m",
    model_version: "1",
    outputs: [{ name: "y", datatype: "FP32" as const, shape: [10], data }],
  };
  api.on("GET /tasks/task_1", { json: completedTask({ result }) });
  const { out } = await run(["task", "get", "task_1"]);
  assert.match(out, /^y FP32\[10\] {2}0 0\.5 1 1\.5 2 2\.5 3 3\.5 … 2 more; --json prints all\n/);
});

test("text from the network cannot move the cursor", async () => {
  api.on("GET /tasks/task_1", { json: sampleTask({ reason: "a\u001b[2Jb\nc" }) });
  assert.match((await run(["task", "get", "task_1"])).out, /PENDING: a \[2Jb c\n/);
});

test("a task that failed, was cancelled or ran out of time has its exit status", async () => {
  const error = { code: "deadline_exceeded", message: "The deadline passed.", retryable: false };
  const cases = [
    [failedTask(), 1, /error {3}The model failed on this input\. \(model_run_failed\)/],
    [sampleTask({ status: "CANCELLED" }), 1, /CANCELLED/],
    [sampleTask({ status: "TIMED_OUT", error }), 6, /deadline_exceeded/],
  ] as const;
  for (const [task, code, shown] of cases) {
    api.on("GET /tasks/task_1", { json: task });
    const result = await run(["task", "get", "task_1", "--wait"]);
    assert.equal(result.code, code, task.status);
    assert.match(result.out, shown);
  }
});

test("task list and cancel", async () => {
  api.on("GET /tasks", { json: { tasks: [completedTask(), failedTask(), sampleTask()], next_cursor: "c1" } });
  const { out, err } = await run(["task", "list", "--state", "completed", "--limit", "3"]);
  assert.equal(
    out,
    `TASK    STATUS     MODEL     PRIORITY  CREATED                     TOOK  RESULT
task_1  COMPLETED  digits:1  NORMAL    2026-01-02T03:04:05.000Z  9.8 ms  7
task_1  FAILED     digits:1  NORMAL    2026-01-02T03:04:05.000Z          model_run_failed
task_1  PENDING    digits:1  NORMAL    2026-01-02T03:04:05.000Z
`,
  );
  assert.equal(err, "There are more: --cursor c1\n");
  assert.equal(api.requests[0]?.query.toString(), "state=COMPLETED&limit=3");
  api.on("POST /tasks/task_1/cancel", { json: sampleTask({ status: "CANCELLED" }) });
  assert.match((await run(["task", "cancel", "task_1"])).out, /status {2}CANCELLED/);
});

test("model push and list", async () => {
  const file = join(api.dir, "model.onnx");
  const manifest = join(api.dir, "manifest.json");
  await writeFile(file, "onnx");
  await writeFile(manifest, JSON.stringify({ description: "d" }));
  api.on("GET /models", { json: { models: [] } });
  const real = await digestOf(new TextEncoder().encode("onnx"));
  api.on(`PUT /blobs/${real}`, { json: { digest: real, offset: 4, complete: true } });
  api.on("PUT /models/digits/versions/1", { json: sampleModel({ file: real, size_bytes: 4 }) });
  const { code, out, err } = await run(["model", "push", "digits", file, "--manifest", manifest]);
  assert.equal(code, 0, err);
  assert.equal(out, `model    digits\nversion  1\nsize     4 B\ntakes    pictures\nfile     ${real}\n`);
  api.on("GET /models", {
    json: { models: [sampleModel(), sampleModel({ name: "net", accepts_images: false })] },
  });
  assert.equal(
    (await run(["model", "list"])).out,
    `MODEL   VERSION  ALIASES     SIZE  TAKES                   CREATED                   DESCRIPTION
digits  1                 244 KiB  pictures                2026-01-02T03:04:05.000Z
net     1                 244 KiB  image:FP32[-1,3,48,48]  2026-01-02T03:04:05.000Z
`,
  );
});

test("model push --version is the model's version, not the program's", async () => {
  const file = join(api.dir, "model.onnx");
  await writeFile(file, "onnx");
  api.on("PUT /models/digits/versions/7", problem("model_version_exists"));
  const digest = await digestOf(new TextEncoder().encode("onnx"));
  api.on(`PUT /blobs/${digest}`, { json: { digest, offset: 4, complete: true } });
  const { code, err } = await run(["model", "push", "digits", file, "--version", "7"]);
  assert.equal(code, 1);
  assert.match(err, /code: model_version_exists\n {2}try: {2}versions never change/);
});

test("the first Ctrl-C ends a wait, says that the task goes on, and how to find it", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() }).on("GET /tasks/task_1", { json: sampleTask() });
  const waiting = startCli(["task", "submit", "--model", "digits", "--input", picture, "--wait"], { env });
  await waiting.seen("PENDING");
  waiting.signal("SIGINT");
  assert.equal(await waiting.exitCode, 130);
  assert.match(waiting.err(), /Task task_1 goes on\. legacygpu task get task_1 --wait/);
});

test("--version and --help", async () => {
  assert.deepEqual(await run(["--version"]), { code: 0, out: `${VERSION}\n`, err: "" });
  const help = await run(["task", "submit", "--help"]);
  assert.equal(help.code, 0);
  assert.match(help.out, /--deadline <duration>/);
  assert.doesNotMatch((await run(["--help"])).out, /quickstart/);
});

test("the profile is for its own gateway only, and flags win over environment over profile", async () => {
  const home = join(api.dir, "profile-home");
  const only = { LEGACYGPU_HOME: home };
  api.on("GET /models", { json: { models: [] } });
  await writeProfile(
    { profileFile: join(home, "profile.json") },
    { url: api.url, caFile: api.caFile, key: "lgk_profile" },
  );
  assert.equal((await stat(join(home, "profile.json"))).mode & 0o777, 0o600);
  const keyUsed = async (argv: string[], more: Record<string, string> = {}): Promise<string | undefined> => {
    const { code, err } = await run(["model", "list", ...argv], { env: { ...only, ...more } });
    assert.equal(code, 0, err);
    return api.requests.at(-1)?.headers.authorization;
  };
  assert.equal(await keyUsed([]), "Bearer lgk_profile");
  assert.equal(await keyUsed([], { LEGACYGPU_KEY: "lgk_env" }), "Bearer lgk_env");
  assert.equal(await keyUsed(["--key", "lgk_flag"], { LEGACYGPU_KEY: "lgk_env" }), "Bearer lgk_flag");
  assert.equal(await keyUsed(["--url", `${api.url}/`]), "Bearer lgk_profile");
  const elsewhere = `https://127.0.0.1:${api.port}`;
  assert.equal(
    await keyUsed(["--url", elsewhere, "--ca", api.caFile]),
    undefined,
    "the key went to another address",
  );
  await writeFile(join(home, "profile.json"), "{");
  const damaged = await run(["model", "list"], { env: only });
  assert.equal(damaged.code, 2);
  assert.match(damaged.err, /profile\.json cannot be used .*Delete it/);
  assert.equal(await readFile(join(home, "profile.json"), "utf8"), "{");
});
