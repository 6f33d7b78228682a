/** The commands that start things: what they hand to gateway and agent, the keys they keep, and how they stop. */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { readProfile } from "../../client/cli/profile.ts";
import { digestOf } from "../../client/index.ts";
import { fail } from "../../shared/errors.ts";
import { openHome } from "../../shared/home.ts";
import { completedTask, sampleModel, sampleTask, sampleWorker } from "../support/api-samples.ts";
import { type CliRun, startCli } from "../support/cli-rig.ts";
import { FakeApi, type Reply } from "../support/fake-api.ts";
import { FakeParts } from "../support/fake-parts.ts";
import { ManualClock } from "../support/manual-clock.ts";

let api: FakeApi;
let parts: FakeParts;
let env: Record<string, string>;
let clock: ManualClock;

before(async () => {
  api = await FakeApi.start();
});
after(() => api.close());
beforeEach(async () => {
  env = { LEGACYGPU_HOME: await mkdtemp(join(tmpdir(), "legacygpu-up-")) };
  parts = new FakeParts(api);
  clock = new ManualClock();
});
afterEach(async () => {
  api.reset();
  await rm(env.LEGACYGPU_HOME ?? "", { recursive: true, force: true });
});

const start = (...argv: string[]): CliRun => startCli(argv, { env, parts, clock });

async function stopped(run: CliRun): Promise<number> {
  await run.seen("Ctrl-C stops");
  run.signal("SIGINT");
  return run.exitCode;
}

test("up starts the gateway for this machine only, then the agent, and stops both in reverse", async () => {
  const run = start(
    "up",
    "--port",
    "8123",
    "--strategy",
    "adaptive",
    "--max-tasks",
    "3",
    "--cert-host",
    "gpu.lan",
  );
  assert.equal(await stopped(run), 0);
  const { host, port, strategy, hosts, heartbeatIntervalMs, heartbeatTimeoutMs, maxBodyBytes } =
    parts.gatewayOptions ?? {};
  assert.deepEqual(
    { host, port, strategy, hosts, heartbeatIntervalMs, heartbeatTimeoutMs, maxBodyBytes },
    {
      host: "127.0.0.1",
      port: 8123,
      strategy: "ADAPTIVE",
      hosts: ["gpu.lan", "127.0.0.1"],
      heartbeatIntervalMs: 5000,
      heartbeatTimeoutMs: 15_000,
      maxBodyBytes: 67_108_864,
    },
  );
  assert.equal(parts.agentOptions?.slots, 3);
  assert.equal(parts.agentOptions?.caPem, api.caPem);
  assert.deepEqual(parts.events, [
    "gateway started",
    "agent started",
    "agent drains",
    "agent closed",
    "gateway closed",
  ]);
  assert.match(run.err(), /Stopping: .*Press Ctrl-C again to stop at once\.\nStopped\.\n$/);
});

test("the first start prints the admin key once and gives command line and worker keys of their own", async () => {
  const first = start("up");
  await stopped(first);
  assert.match(first.out(), /^admin key {2}lgk_0000000000$/m);
  assert.deepEqual(parts.issued, [
    { name: "local command line", kind: "client", scopes: ["admin"] },
    { name: "local worker", kind: "worker", scopes: ["worker"] },
  ]);
  const home = openHome(env);
  const credential = join(home.worker, "credential");
  assert.deepEqual(await readProfile(home), { url: api.url, caFile: api.caFile, key: "lgk_0000000001" });
  assert.equal(await readFile(credential, "utf8"), "lgw_0000000002\n");
  for (const file of [home.profileFile, credential]) assert.equal((await stat(file)).mode & 0o777, 0o600);

  const second = start("up");
  await stopped(second);
  assert.doesNotMatch(second.out(), /admin key/);
  assert.equal(parts.issued.length, 2, "the second start needs no new keys");
  assert.equal(parts.agentOptions?.key, "lgw_0000000002");
});

test("keys that the gateway does not know any more are made again", async () => {
  await stopped(start("up"));
  parts.knownKeys.clear();
  parts.knownKeys.add("lgk_other");
  await stopped(start("up"));
  assert.equal(parts.issued.length, 4);
  assert.ok(parts.knownKeys.has(parts.agentOptions?.key ?? ""));
  assert.ok(parts.knownKeys.has((await readProfile(openHome(env)))?.key ?? ""));
});

test("a profile of another gateway is replaced, and that is said", async () => {
  const profile = { url: "https://gpu.example:8000", key: "lgk_foreign" };
  await writeFile(openHome(env).profileFile, JSON.stringify(profile));
  const run = start("up");
  await stopped(run);
  assert.match(
    run.out(),
    /The profile named https:\/\/gpu\.example:8000 before; now it names https:\/\/localhost/,
  );
});

test("the second Ctrl-C does not wait; a copy of the first one is not a second", async () => {
  parts.drained = new Promise(() => {});
  const run = start("up");
  await run.seen("Ctrl-C stops");
  run.signal("SIGINT");
  run.signal("SIGINT");
  await run.seen("Press Ctrl-C again");
  assert.deepEqual(parts.events.at(-1), "agent drains");
  clock.advance(600);
  run.signal("SIGINT");
  assert.equal(await run.exitCode, 130);
});

test("an agent that dies takes the command down, with its reason", async () => {
  const run = start("up");
  await run.seen("Ctrl-C stops");
  parts.agentDies(fail("auth_invalid", "The gateway refused the worker key."));
  assert.equal(await run.exitCode, 3);
  assert.match(run.err(), /The gateway refused the worker key\.\n {2}code: auth_invalid/);
  assert.equal(parts.events.at(-1), "gateway closed");
});

test("when the agent cannot start, the gateway is closed again", async () => {
  parts.startAgent = () => Promise.reject(fail("internal", "no runner"));
  const run = start("up");
  assert.equal(await run.exitCode, 1);
  assert.deepEqual(parts.events, ["gateway started", "gateway closed"]);
});

test("api start and cluster start listen everywhere and say how a worker joins", async () => {
  for (const group of ["api", "cluster"]) {
    const run = start(group, "start");
    assert.equal(await stopped(run), 0);
    assert.equal(parts.gatewayOptions?.host, "0.0.0.0");
    assert.match(run.out(), /legacygpu join-token create --site SITE --gateway https:\/\/\S+:\d+\n/);
  }
  await stopped(start("api", "start", "--bind-address", "wss://10.0.0.5:9000"));
  assert.deepEqual([parts.gatewayOptions?.host, parts.gatewayOptions?.port], ["10.0.0.5", 9000]);
  assert.ok(!parts.events.includes("agent started"));
  assert.equal(await readProfile(openHome(env)), undefined);
});

test("worker start hands the agent its gateway, and keeps the key for the next start", async () => {
  const argv = ["worker", "start", "--coordinator", "wss://gpu.example:8000", "--ca", api.caFile];
  const more = ["--worker-id", "box-1", "--site", "berlin", "--label", "tier=lab", "--label", "floor=2"];
  assert.equal(await stopped(start(...argv, ...more, "--key", "lgw_given")), 0);
  const { url, key, caPem, workerId, site, labels } = parts.agentOptions ?? {};
  assert.deepEqual(
    { url, key, caPem, workerId, site, labels },
    {
      url: "https://gpu.example:8000",
      key: "lgw_given",
      caPem: api.caPem,
      workerId: "box-1",
      site: "berlin",
      labels: { tier: "lab", floor: "2" },
    },
  );
  await stopped(start(...argv));
  assert.equal(parts.agentOptions?.key, "lgw_given");
  assert.deepEqual(parts.events.slice(0, 3), ["agent started", "agent drains", "agent closed"]);
});

test("worker start without a key says how to get one", async () => {
  const run = start("worker", "start", "--coordinator", "wss://gpu.example:8000");
  assert.equal(await run.exitCode, 3);
  assert.match(run.err(), /legacygpu key create --name box --scopes worker/);
});

async function quickstartOnce(expected: string, pushed?: Reply): Promise<CliRun> {
  const dir = env.LEGACYGPU_HOME ?? "";
  const digest = await digestOf(new TextEncoder().encode("onnx"));
  await writeFile(join(dir, "model.onnx"), "onnx");
  await writeFile(join(dir, "manifest.json"), "{}");
  await writeFile(join(dir, "sample.png"), Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  api.on("GET /cluster/workers", { json: { workers: [sampleWorker()] } });
  api.on("GET /models", { json: { models: [sampleModel()] } });
  api.on(`PUT /blobs/${digest}`, { json: { digest, offset: 4, complete: true } });
  api.on("PUT /models/digits/versions/2", pushed ?? { json: sampleModel({ version: "2", file: digest }) });
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  api.on("GET /tasks/task_1", { json: completedTask() });
  return start("quickstart", "--model-dir", dir, "--expect", expected, "--once");
}

test("quickstart --once: a free port if 8000 is taken, the prediction, the legs, how to go on, and everything closed", async () => {
  parts.gatewayFailure = fail("port_in_use");
  const run = await quickstartOnce("7");
  assert.equal(await run.exitCode, 0, run.err());
  assert.equal(parts.gatewayOptions?.port, 0);
  assert.match(run.err(), /Port 8000 is taken; using a free one\./);
  assert.match(run.out(), /LABEL {3}SCORE\n7 {6}99\.1 %/);
  assert.match(run.out(), /push the model +\d/);
  assert.match(run.out(), /time +9\.8 ms = queue/);
  assert.match(run.out(), /npx legacygpu task submit --model digits --input my\.png --wait/);
  assert.equal(parts.events.at(-1), "gateway closed");
});

test("quickstart with a wrong prediction, or with anything that fails, is not 0", async () => {
  const wrong = await quickstartOnce("3");
  assert.equal(await wrong.exitCode, 1);
  assert.match(wrong.err(), /the sample shows "3", the model answered "7"/);
  const failed = await quickstartOnce("7", { status: 500, text: "" });
  assert.equal(await failed.exitCode, 1);
  assert.deepEqual(parts.events.slice(-3), ["agent drains", "agent closed", "gateway closed"]);
});
