/** The commands for tasks beyond sending one: events, results, several ids, dead letters, queues, and what of a task is shown. */

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { startApiForFile } from "../support/api-for-file.ts";
import {
  completedTask,
  eventText,
  failedTask,
  sampleAttempt,
  sampleEvent,
  sampleQueue,
  sampleTask,
} from "../support/api-samples.ts";
import { type CliOptions, runTestCli, startCli } from "../support/cli-rig.ts";
import { problem } from "../support/fake-api.ts";

const { api, env } = await startApiForFile();
let picture = "";

before(async () => {
  picture = join(api.dir, "my.png");
  await writeFile(picture, Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1]));
});

const run = (argv: string[], options: CliOptions = {}): ReturnType<typeof runTestCli> =>
  runTestCli(argv, { env, ...options });
const bodyOf = (index: number): unknown => JSON.parse(api.requests[index]?.body.toString() ?? "");

const ATTEMPT = { n: 1, worker: "box", site: "home", token: 7 };
const LOST = { code: "worker_lost", message: "The worker was lost.", retryable: true };
const EVENTS = [
  sampleEvent("queued", { seq: 1 }),
  sampleEvent("assigned", { seq: 2, attempt: ATTEMPT }),
  sampleEvent("progress", { progress: { phase: "loading_model", percent: 41.4 } }),
  sampleEvent("started", { seq: 3, attempt: ATTEMPT }),
  sampleEvent("attempt_failed", { seq: 4, attempt: ATTEMPT, error: LOST }),
  sampleEvent("completed", { seq: 5, error: LOST }),
  sampleEvent("completed", { seq: 6, snapshot: completedTask() }),
];

test("task watch prints a line for each event, then the result", async () => {
  api.on(
    "GET /tasks/task_1/events",
    { pieces: EVENTS.slice(0, 3).map(eventText), ending: "cut" },
    { pieces: EVENTS.slice(3).map(eventText) },
  );
  const { code, out, err } = await run(["task", "watch", "task_1"]);
  assert.equal(code, 0);
  assert.equal(
    out.slice(0, out.indexOf("LABEL")),
    `03:04:05.000Z  queued
03:04:05.000Z  assigned        attempt 1 on box (home)
03:04:05.000Z  progress        loading model 41 %
03:04:05.000Z  started         attempt 1 on box (home)
03:04:05.000Z  attempt_failed  attempt 1 on box (home): The worker was lost. (worker_lost)
03:04:05.000Z  completed       an earlier try: The worker was lost. (worker_lost)
03:04:05.000Z  completed       COMPLETED

`,
  );
  assert.match(out, /^7 {6}99\.1 %/m);
  assert.match(err, /^task_1: The gateway .* trying again\n$/);
  assert.equal(api.requests[1]?.headers["last-event-id"], "2");
});

test("task watch --json prints one event on each line, and ends as the task ended", async () => {
  const failed = sampleEvent("completed", { seq: 5, snapshot: failedTask() });
  api.on("GET /tasks/task_1/events", { pieces: [...EVENTS.slice(0, 5), failed].map(eventText) });
  const { code, out, err } = await run(["task", "watch", "task_1", "--json"]);
  assert.deepEqual([code, err], [1, ""]);
  const lines = out.trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [...EVENTS.slice(0, 5), failed],
  );
});

test("Ctrl-C ends task watch and says that the task goes on", async () => {
  api.on("GET /tasks/task_1/events", { pieces: EVENTS.slice(0, 1).map(eventText), ending: "stay" });
  const watching = startCli(["task", "watch", "task_1"], { env, isTty: true });
  await watching.seen("queued");
  watching.signal("SIGINT");
  assert.equal(await watching.exitCode, 130);
  assert.match(watching.err(), /Task task_1 goes on\. legacygpu task get task_1 --wait/);
});

test("task result prints the result or writes it into a file, and fails as the task failed", async () => {
  const { result } = completedTask();
  api.on("GET /tasks/task_1/result", { json: result });
  const { out } = await run(["task", "result", "task_1"]);
  assert.match(out, /^LABEL {3}SCORE\n7 {6}99\.1 %/);
  assert.deepEqual(JSON.parse((await run(["task", "result", "task_1", "--json"])).out), result);
  const file = join(api.dir, "result.json");
  const written = await run(["task", "result", "task_1", "--output", file]);
  assert.deepEqual([written.code, written.out], [0, ""]);
  assert.deepEqual(JSON.parse(await readFile(file, "utf8")), result);
  const nowhere = await run(["task", "result", "task_1", "--output", "/no/such/result.json"]);
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.err, /\/no\/such\/result\.json cannot be written/);
  const cases = [
    ["task_not_finished", 1, /try: {2}`legacygpu task get ID --wait`/],
    ["result_expired", 1, /--result-ttl/],
    ["deadline_exceeded", 6, /deadline/],
  ] as const;
  for (const [code, status, shown] of cases) {
    api.on("GET /tasks/task_1/result", problem(code));
    const failed = await run(["task", "result", "task_1"]);
    assert.equal(failed.code, status, code);
    assert.match(failed.err, shown);
  }
});

test("task retry, cancel and rm take several tasks", async () => {
  api.on("POST /tasks/a/retry", { json: sampleTask({ id: "a" }) });
  api.on("POST /tasks/b/retry", { json: sampleTask({ id: "b" }) });
  const text = await run(["task", "retry", "a", "b"]);
  assert.equal(text.code, 0, text.err);
  assert.deepEqual(text.out.match(/^[ab] /gm), ["a ", "b "]);
  const json = await run(["task", "retry", "a", "b", "--json"]);
  assert.deepEqual(
    JSON.parse(json.out).tasks.map(({ id }: { id: string }) => id),
    ["a", "b"],
  );
  api.on("DELETE /tasks/a", { json: completedTask({ id: "a", result: null, data_removed: true }) });
  const removed = await run(["task", "rm", "a"]);
  assert.match(removed.out, /^data {4}input and output are removed$/m);
});

test("what fails for one task does not stop the others, and decides the exit status", async () => {
  api.on("POST /tasks/a/cancel", problem("task_not_found", "There is no task a."));
  api.on("POST /tasks/b/cancel", { json: sampleTask({ id: "b", status: "CANCELLED" }) });
  api.on("POST /tasks/c/cancel", problem("task_not_found", "There is no task c."));
  const { code, out, err } = await run(["task", "cancel", "a", "b", "c"]);
  assert.equal(code, 1);
  assert.match(out, /^b {5}CANCELLED/m);
  assert.match(err, /no task c\.[\s\S]*no task a\./);
  const json = await run(["task", "cancel", "a", "b", "c", "--json"]);
  assert.equal(JSON.parse(json.err).message, "There is no task a.");
});

test("task list asks for what its flags say", async () => {
  api.on("GET /tasks", { json: { tasks: [], next_cursor: null } });
  await run(["task", "list", "--site", "berlin", "--tag", "nightly", "--batch", "batch_1"]);
  assert.equal(api.requests[0]?.query.toString(), "site=berlin&tag=nightly&batch=batch_1");
});

test("dead letters: the list, and nothing done without a selection", async () => {
  const dead = failedTask({ dead_letter: true, attempt: 3, completed_at: "2026-01-02T03:05:00.000Z" });
  api.on("GET /dead-letters", { json: { tasks: [dead], next_cursor: "c" } });
  const listed = await run(["task", "dead-letters", "--model", "digits", "--limit", "1"]);
  assert.equal(
    listed.out,
    `TASK    MODEL     ENDED                     TRIES  CAUSE
task_1  digits:1  2026-01-02T03:05:00.000Z    3/3  model_run_failed: The model failed on this input.
`,
  );
  assert.equal(listed.err, "There are more: --cursor c\n");
  assert.equal(api.requests[0]?.query.toString(), "model=digits&limit=1");
  api.requests.length = 0;
  for (const verb of ["retry", "purge"]) {
    for (const flags of [[], ["--model", "digits"], ["--all", "task_1"]]) {
      const refused = await run(["task", "dead-letters", verb, ...flags]);
      assert.equal(refused.code, 2, flags.join(" "));
      assert.match(refused.err, /--all/);
    }
  }
  assert.equal(api.requests.length, 0);
});

test("dead letters are tried again and forgotten by id, by model and all", async () => {
  api.on("POST /dead-letters/retry", { json: { count: 2 } });
  api.on("POST /dead-letters/purge", { json: { count: 1 } });
  assert.equal((await run(["task", "dead-letters", "retry", "a", "b"])).out, "2 tasks tried again.\n");
  const purge = ["task", "dead-letters", "purge", "--all"];
  assert.equal((await run([...purge, "--model", "digits"])).out, "1 task forgotten.\n");
  assert.deepEqual(JSON.parse((await run([...purge, "--json"])).out), { count: 1 });
  assert.deepEqual([bodyOf(0), bodyOf(1), bodyOf(2)], [{ ids: ["a", "b"] }, { model: "digits" }, {}]);
});

test("model queue shows, pauses, resumes and purges", async () => {
  api.on("GET /models/digits/queue", { json: sampleQueue });
  api.on("POST /models/digits/queue/pause", { json: { ...sampleQueue, is_paused: true } });
  api.on("POST /models/digits/queue/resume", { json: sampleQueue });
  api.on("POST /models/digits/queue/purge", { json: { ...sampleQueue, pending: 0 } });
  const { out } = await run(["model", "queue", "digits"]);
  assert.equal(
    out,
    `model    digits
tasks    4 pending, 2 running
oldest   12.3 s
workers  1 ready, 2 busy, 0 loading, 1 unable
delay    p50 850 ms, p95 2.4 s
`,
  );
  assert.match((await run(["model", "queue", "digits", "--pause"])).out, /^paused {3}yes/m);
  assert.doesNotMatch((await run(["model", "queue", "digits", "--resume"])).out, /paused/);
  assert.match((await run(["model", "queue", "digits", "--purge"])).out, /^tasks {4}0 pending/m);
  assert.equal((await run(["model", "queue", "digits", "--purge", "--pause"])).code, 2);
});

test("task submit sends what its flags say", async () => {
  api.on("POST /tasks", { status: 202, json: sampleTask() });
  const flags = [
    ["--deadline", "2m", "--execution-timeout", "5s", "--result-ttl", "1h", "--max-attempts", "2"],
    ["--backoff", "100ms", "--retry-on", "worker_lost,OUT_OF_MEMORY", "--durability", "relaxed"],
    ["--site", "berlin", "--site", "lab", "--label", "tier=lab", "--label", "floor=2=b"],
    ["--provider", "cuda", "--min-vram", "4000", "--webhook", "https://hooks.example/done"],
    ["--metadata", "order=17", "--metadata", "note=", "--tag", "a", "--tag", "b"],
  ].flat();
  const argv = ["task", "submit", "--model", "digits", "--input", picture, ...flags];
  const { code, err } = await run([...argv, "--idempotency-key", "order-17"]);
  assert.equal(code, 0, err);
  assert.deepEqual(bodyOf(0), {
    model: "digits",
    input: { image: (await readFile(picture)).toString("base64") },
    deadline_ms: 120_000,
    execution_timeout_ms: 5000,
    result_ttl_s: 3600,
    retry: { max_attempts: 2, backoff_ms: 100, on: ["worker_lost", "out_of_memory"] },
    placement: {
      sites: ["berlin", "lab"],
      labels: { tier: "lab", floor: "2=b" },
      providers: ["cuda"],
      min_vram_mb: 4000,
    },
    webhook: { url: "https://hooks.example/done" },
    metadata: { order: "17", note: "" },
    tags: ["a", "b"],
    durability: "relaxed",
  });
  assert.equal(api.requests[0]?.headers["idempotency-key"], "order-17");
});

test("task submit --id makes the task under that id", async () => {
  const id = `task_${"0".repeat(26)}`;
  api.on(`PUT /tasks/${id}`, { status: 202, json: sampleTask({ id }) });
  const argv = ["task", "submit", "--model", "digits", "--input", picture, "--id", id];
  assert.equal((await run(argv)).out, `${id}\n`);
  api.on(`PUT /tasks/${id}`, problem("task_exists"));
  assert.equal((await run(argv)).code, 2);
});

test("flags of task submit that are wrong, or do not go together, are refused before anything is sent", async () => {
  const cases: ReadonlyArray<readonly [string[], RegExp]> = [
    [["--max-attempts", "0"], /Write 1 to 20/],
    [["--max-attempts", "1e1"], /Write 1 to 20/],
    [["--label", "lab"], /Write name=value/],
    [["--retry-on", "bad_luck"], /Choose from worker_lost/],
    [["--durability", "none"], /Choose one of flushed, relaxed/],
    [["--backoff", "soon"], /Write a duration/],
    [["--id", "task_x", "--idempotency-key", "k"], /cannot be used with/],
    [["--output", "r.jsonl"], /is for '--batch/],
    [["--batch", picture], /cannot be used with option '--input/],
  ];
  for (const [flags, message] of cases) {
    const { code, err } = await run(["task", "submit", "--model", "digits", "--input", picture, ...flags]);
    assert.equal(code, 2, flags.join(" "));
    assert.match(err, message);
  }
  assert.equal(api.requests.length, 0);
});

test("task get shows where a waiting task stands, and what a worker prepares", async () => {
  const batch = { id: "batch_1", index: 3, external_reference: "a.png" };
  const waiting = sampleTask({ reason: "all workers are busy", queue: { position: 3, eta_ms: 1800 }, batch });
  api.on("GET /tasks/task_1", { json: { ...waiting, tags: ["nightly", "b"] } });
  assert.equal(
    (await run(["task", "get", "task_1"])).out,
    `task    task_1
status  PENDING: all workers are busy
model   digits version 1
batch   batch_1 item 3 (a.png)
tags    nightly, b
queue   3 before it, begins in about 1.8 s
`,
  );
  api.on("GET /tasks/task_1", { json: sampleTask({ queue: { position: 0 } }) });
  assert.match((await run(["task", "get", "task_1"])).out, /^queue {3}next$/m);
  api.on("GET /tasks/task_1", { json: sampleTask({ progress: { phase: "loading_model", percent: 41 } }) });
  assert.match((await run(["task", "get", "task_1"])).out, /^progress {2}loading model 41 %$/m);
});

test("task get shows attempts with their causes, dead letters, and what becomes of the result", async () => {
  const attempts = [
    sampleAttempt({ outcome: "worker_lost", error: LOST }),
    sampleAttempt({ n: 2, worker: "lab", outcome: "failed", error: { ...LOST, code: "out_of_memory" } }),
  ];
  api.on("GET /tasks/task_1", { json: failedTask({ attempts, attempt: 2, dead_letter: true }) });
  const failed = await run(["task", "get", "task_1"]);
  assert.match(failed.out, /^attempts {5}2 of 3: 1 on box worker_lost; 2 on lab failed \(out_of_memory\)$/m);
  assert.match(failed.out, /^dead letter {2}not tried again by itself: legacygpu task retry task_1$/m);
  const large = completedTask({
    result: null,
    result_bytes: 5_000_000,
    expires_at: "2026-01-03T03:04:05.000Z",
  });
  api.on("GET /tasks/task_1", { json: large });
  const { out } = await run(["task", "get", "task_1"]);
  assert.match(out, /^result {2}4\.8 MiB: legacygpu task result task_1 --output FILE$/m);
  assert.match(out, /^data {4}kept until 2026-01-03T03:04:05\.000Z$/m);
});

test("task list shows in short what task get shows", async () => {
  const tasks = [
    sampleTask({ queue: { position: 3, eta_ms: 1800 } }),
    sampleTask({ progress: { phase: "loading_model", percent: 41 } }),
    failedTask({ dead_letter: true }),
    completedTask({ result: null, result_bytes: 2048 }),
    completedTask({ result: null, result_bytes: 2048, data_removed: true }),
    completedTask({ result: null, result_bytes: 0 }),
  ];
  api.on("GET /tasks", { json: { tasks, next_cursor: null } });
  const { out } = await run(["task", "list"]);
  const shown = out.trimEnd().split("\n").slice(1);
  const expected = [
    "3 before it, begins in about 1.8 s",
    "loading model 41 %",
    "model_run_failed (dead letter)",
    "2.0 KiB",
    "removed",
    "9.8 ms",
  ];
  for (const [i, text] of expected.entries()) assert.ok(shown[i]?.endsWith(`  ${text}`), shown[i]);
});

test("while waiting, a terminal shows place and progress; elsewhere only what happened is a line", async () => {
  const states = [
    sampleTask({ queue: { position: 2, eta_ms: 1800 } }),
    sampleTask({ queue: { position: 1, eta_ms: 900 } }),
    sampleTask({ progress: { phase: "loading_model", percent: 41 } }),
    completedTask(),
  ];
  const waits = async (options: CliOptions): Promise<string> => {
    api.on("GET /tasks/task_1", ...states.map((json, i) => ({ json, headers: { etag: `"${i}"` } })));
    return (await run(["task", "get", "task_1", "--wait"], options)).err;
  };
  assert.equal(await waits({}), "task_1 PENDING\ntask_1 PENDING, loading model\ntask_1 COMPLETED\n");
  const live = await waits({ isTty: true });
  assert.match(live, /task_1 PENDING, 1 before it, begins in about 900 ms ·/);
  assert.match(live, /task_1 PENDING, loading model 41 % ·/);
});
