/** `task submit --batch` and `batch …`: many files in few requests, none twice, and how the whole of it ends. */

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import type { BatchResult } from "../../client/index.ts";
import { createBatchSchema } from "../../shared/api/batches.ts";
import { startApiForFile } from "../support/api-for-file.ts";
import { sampleBatch, sampleBatchResult } from "../support/api-samples.ts";
import { type CliOptions, type CliRun, runTestCli, startCli } from "../support/cli-rig.ts";
import { type Answer, type FakeRequest, problem } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1]);
const CREATE = "POST /batches";
const ADD = "POST /batches/batch_1/items";
const GET = "GET /batches/batch_1";
const RESULTS = "GET /batches/batch_1/results";
const MANY = Array.from({ length: 1000 }, (_, i) => `${String(i).padStart(4, "0")}.png`);

const { api, env } = await startApiForFile();
/** With three pictures. */
let few = "";
/** With a thousand. */
let many = "";

before(async () => {
  few = join(api.dir, "few");
  many = join(api.dir, "many");
  await writePictures(few, ["a.png", "b.png", "c.png"]);
  await writePictures(many, MANY);
});

async function writePictures(folder: string, names: readonly string[], bytes = PNG): Promise<void> {
  await mkdir(folder, { recursive: true });
  await Promise.all(names.map((name) => writeFile(join(folder, name), bytes)));
}

const submit = (...argv: string[]): string[] => ["task", "submit", "--model", "digits", ...argv];
const run = (argv: string[], options: CliOptions = {}): ReturnType<typeof runTestCli> =>
  runTestCli(argv, { env, ...options });

/** On a clock that the test moves on until the command has ended. */
async function runOnClock(argv: string[], options: CliOptions = {}): Promise<CliRun & { code: number }> {
  const clock = new ManualClock();
  const running = startCli(argv, { env, clock, ...options });
  let code: number | undefined;
  void running.exitCode.then((status) => {
    code = status;
  });
  await until("the end of the command", () => {
    clock.advance(100);
    return code !== undefined;
  });
  return { ...running, code: code ?? -1 };
}

interface SentItem {
  readonly input: unknown;
  readonly external_reference?: string;
}

const itemsOf = ({ body }: FakeRequest): SentItem[] => JSON.parse(body.toString()).items;
const referencesIn = (requests: readonly FakeRequest[]): unknown[] =>
  requests.flatMap(itemsOf).map((item) => item.external_reference);
const sentTo = (path: string): FakeRequest[] => api.requests.filter((request) => request.path === path);

/** Counts what arrives, each idempotency key once, as a gateway does. */
function accepting(): (request: FakeRequest) => Answer {
  const itemsByKey = new Map<unknown, number>();
  return (request) => {
    itemsByKey.set(request.headers["idempotency-key"], itemsOf(request).length);
    const total = [...itemsByKey.values()].reduce((sum, count) => sum + count, 0);
    return { status: 202, json: sampleBatch({ total, pending: total }) };
  };
}

function ended(counts: Parameters<typeof sampleBatch>[0], results: readonly BatchResult[]): void {
  api.on(GET, { json: sampleBatch(counts) });
  api.on(RESULTS, { text: results.map((result) => `${JSON.stringify(result)}\n`).join("") });
}

const parsedLines = (text: string): unknown[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

const FAILED = { code: "image_invalid", message: "No picture.", retryable: false };
const THREE = [
  sampleBatchResult(0, { external_reference: "a.png" }),
  sampleBatchResult(1, { external_reference: "b.png", status: "FAILED", result: null, error: FAILED }),
  sampleBatchResult(2),
];

test("a batch is sent with the files as names, waited for, and its results are a table", async () => {
  api.on(CREATE, accepting());
  ended({ total: 3, completed: 2, failed: 1 }, THREE);
  const pattern = join(few, "[abc].png");
  const { code, out, err } = await run(submit("--batch", pattern, "--tag", "nightly", "--deadline", "1m"));
  assert.equal(
    out,
    `INPUT  TASK    STATUS     RESULT                       SCORE
a.png  task_0  COMPLETED  7                           99.1 %
b.png  task_1  FAILED     image_invalid: No picture.
2      task_2  COMPLETED  7                           99.1 %
`,
  );
  assert.equal(code, 1, "one task failed");
  assert.match(err, /^Sending 3 files\n/);
  assert.match(err, /batch_1: 100 % done\nbatch_1: 3 tasks, 2 completed, 1 failed\n$/);
  const sent = createBatchSchema.parse(JSON.parse(api.requests[0]?.body.toString() ?? ""));
  assert.deepEqual([sent.tags, sent.deadline_ms], [["nightly"], 60_000]);
  const input = { image: Buffer.from(PNG).toString("base64") };
  assert.deepEqual(
    sent.items,
    ["a.png", "b.png", "c.png"].map((name) => ({ input, external_reference: join(few, name) })),
  );
});

test("files that the shell has named, tensors among them, and several patterns", async () => {
  const tensors = join(api.dir, "x.json");
  const input = { inputs: [{ name: "x", datatype: "FP32", shape: [1], data: [1] }] };
  await writeFile(tensors, JSON.stringify(input));
  api.on(CREATE, accepting());
  const named = [join(few, "b.png"), tensors];
  const argv = submit("--batch", ...named, "--no-wait", "--batch", join(few, "*.png"));
  const { code, out, err } = await run(argv);
  assert.deepEqual([code, out], [0, "batch_1\n"]);
  assert.match(err, /legacygpu batch get batch_1 --wait/);
  assert.deepEqual(referencesIn(api.requests), [...named, join(few, "a.png"), join(few, "c.png")]);
  assert.deepEqual(api.requests.flatMap(itemsOf)[1]?.input, input);
});

test("a thousand small files go in several requests, in order, none twice though an answer is lost", async () => {
  const accept = accepting();
  let lost: FakeRequest | undefined;
  const losing = (request: FakeRequest): Answer => {
    const answer = accept(request);
    if (lost !== undefined) return answer;
    lost = request;
    return { pieces: [], ending: "cut" };
  };
  api.on(CREATE, accept).on(ADD, losing);
  ended({ total: 1000, completed: 1000 }, []);
  const { code, err } = await run(submit("--batch", join(many, "*.png")));
  assert.equal(code, 0, err);
  const [first, repeated, ...rest] = sentTo("/batches/batch_1/items");
  assert.ok(first !== undefined && first === lost && repeated !== undefined);
  assert.equal(repeated.headers["idempotency-key"], first.headers["idempotency-key"]);
  assert.deepEqual(
    referencesIn([...sentTo("/batches"), repeated, ...rest]),
    MANY.map((name) => join(many, name)),
  );
  assert.match(err, /batch_1: sent 1000 of 1000 files/);
});

test("large files go in requests of at most 24 MiB", async () => {
  const folder = join(api.dir, "large");
  const large = new Uint8Array(8 * 1024 ** 2);
  large.set(PNG);
  await writePictures(folder, ["a.png", "b.png", "c.png"], large);
  const accept = accepting();
  api.on(CREATE, accept).on(ADD, accept);
  const { code, err } = await run(submit("--batch", join(folder, "*"), "--no-wait"));
  assert.equal(code, 0, err);
  assert.deepEqual(
    api.requests.map((request) => itemsOf(request).length),
    [2, 1],
  );
  for (const { body } of api.requests) assert.ok(body.byteLength < 24 * 1024 ** 2);
});

test("with --output the results are lines of JSON in a file, and standard output is empty", async () => {
  api.on(CREATE, accepting());
  ended({ total: 3, completed: 3 }, THREE);
  const output = join(api.dir, "results.jsonl");
  const { code, out, err } = await run(submit("--batch", join(few, "*"), "--output", output));
  assert.deepEqual([code, out], [0, ""]);
  assert.match(err, /The results are in .*results\.jsonl\./);
  assert.deepEqual(parsedLines(await readFile(output, "utf8")), THREE);
  const nowhere = await run(submit("--batch", join(few, "*"), "--output", "/no/such/results.jsonl"));
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.err, /\/no\/such\/results\.jsonl cannot be written/);
  assert.equal(sentTo("/batches").length, 1, "nothing is sent whose results cannot be kept");
});

test("for programs: one document with the results in it", async () => {
  api.on(CREATE, accepting());
  ended({ total: 3, completed: 2, failed: 1 }, THREE);
  const { code, out, err } = await run([...submit("--batch", join(few, "*")), "--json"]);
  assert.deepEqual([code, err], [1, ""]);
  const batch = sampleBatch({ total: 3, completed: 2, failed: 1 });
  assert.deepEqual(JSON.parse(out), { ...batch, results: THREE });
});

test("the exit status tells how the worst task ended", async () => {
  const cases = [
    [{ total: 3, completed: 3 }, 0],
    [{ total: 3, completed: 2, failed: 1 }, 1],
    [{ total: 3, completed: 1, cancelled: 1, timed_out: 1 }, 1],
    [{ total: 3, completed: 2, timed_out: 1 }, 6],
  ] as const;
  api.on(CREATE, accepting());
  for (const [counts, status] of cases) {
    ended(counts, []);
    assert.equal((await run(submit("--batch", join(few, "*")))).code, status, JSON.stringify(counts));
  }
});

test("files that are no input are found before anything is sent", async () => {
  const folder = join(api.dir, "mixed");
  await writePictures(folder, ["a.png"]);
  const cases: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["notes.txt", "hello", /notes\.txt is neither a picture nor JSON/],
    ["empty.png", "", /empty\.png is empty/],
  ];
  for (const [name, contents, message] of cases) {
    await writeFile(join(folder, name), contents);
    const { code, err } = await run(submit("--batch", join(folder, `{a.png,${name}}`)));
    assert.equal(code, 2);
    assert.match(err, message);
  }
  const nothing = await run(submit("--batch", join(folder, "*.jpg")));
  assert.equal(nothing.code, 2);
  assert.match(nothing.err, /fits no file/);
  assert.equal(api.requests.length, 0);
});

test("what the gateway refuses in the middle is said, with what was sent and how to go on", async () => {
  api.on(CREATE, accepting()).on(ADD, problem("input_invalid", "items.3: the input does not fit."));
  const { code, err } = await run(submit("--batch", join(many, "*.png")));
  assert.equal(code, 2);
  assert.match(
    err,
    /500 of 1000 files were sent\. Batch batch_1 goes on\. legacygpu batch get batch_1 --wait/,
  );
  assert.match(err, /error: items\.3: the input does not fit\./);
});

test("a queue that is full refuses a batch, but is waited for once the batch has begun", async () => {
  api.on(CREATE, problem("queue_full", "The queue is full.", { "retry-after": "3600" }));
  assert.equal((await run(submit("--batch", join(few, "*")))).code, 5);
  const accept = accepting();
  const full = problem("key_queue_full", "The key has 500 tasks waiting.", { "retry-after": "1" });
  api.on(CREATE, accept).on(ADD, ...Array.from({ length: 6 }, () => full), accept);
  const { code, err } = await runOnClock(submit("--batch", join(many, "*.png"), "--no-wait"));
  assert.equal(code, 0, err());
  assert.match(err(), /batch_1: The key has 500 tasks waiting\. · waiting/);
  assert.match(err(), /batch_1: sent 1000 of 1000 files/);
});

test("on a terminal the wait is a bar with counts, rate and the time that is left", async () => {
  api.on(CREATE, accepting());
  ended({}, THREE);
  const half = sampleBatch({ total: 1000, completed: 490, failed: 10, running: 5, pending: 495 });
  const begun = sampleBatch({ total: 1000, completed: 100, running: 5, pending: 895 });
  api.on(
    GET,
    { json: begun },
    { json: half },
    { json: sampleBatch({ total: 1000, completed: 990, failed: 10 }) },
  );
  const { code, err } = await runOnClock(submit("--batch", join(few, "*")), { isTty: true });
  assert.equal(code, 1);
  assert.match(err(), /[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] █{12}░{12} 500\/1000 done, 10 failed, [\d.]+\/s, .+ left ·/);
});

test("Ctrl-C ends the wait for a batch and says how to go on", async () => {
  api.on(CREATE, accepting()).on(GET, { json: sampleBatch({ total: 3, running: 3 }) });
  const waiting = startCli(submit("--batch", join(few, "*")), { env });
  await waiting.seen("batch_1: 0 % done");
  waiting.signal("SIGINT");
  assert.equal(await waiting.exitCode, 130);
  assert.match(
    waiting.err(),
    /Batch batch_1 goes on\. legacygpu batch get batch_1 --wait · legacygpu batch results batch_1 · legacygpu batch cancel batch_1\n$/,
  );
});

test("Ctrl-C in the middle of sending says how much was sent", async () => {
  api.on(CREATE, accepting()).on(ADD, "hang");
  const sending = startCli(submit("--batch", join(many, "*.png")), { env });
  await sending.seen("sent 500 of 1000 files");
  sending.signal("SIGINT");
  assert.equal(await sending.exitCode, 130);
  assert.match(sending.err(), /500 of 1000 files were sent\. Batch batch_1 goes on\./);
  assert.equal(sending.err().match(/goes on/g)?.length, 1);
});

test("batch get, with --wait too, results and cancel", async () => {
  ended({ total: 3, completed: 2, failed: 1 }, THREE);
  assert.equal(
    (await run(["batch", "get", "batch_1"])).out,
    `batch    batch_1
status   COMPLETED
model    digits version 1
created  2026-01-02T03:04:05.000Z
tasks    3: 2 completed, 1 failed
`,
  );
  const waited = await run(["batch", "get", "batch_1", "--wait"]);
  assert.equal(waited.code, 1);
  assert.match(waited.out, /^a\.png {2}task_0/m);
  assert.equal((await run(["batch", "results", "batch_1"])).out, waited.out);
  const json = await run(["batch", "results", "batch_1", "--json"]);
  assert.deepEqual(parsedLines(json.out), THREE);
  const output = join(api.dir, "again.jsonl");
  assert.equal((await run(["batch", "results", "batch_1", "--output", output])).code, 0);
  assert.equal(await readFile(output, "utf8"), json.out);
  api.on("POST /batches/batch_1/cancel", { json: sampleBatch({ total: 3, completed: 2, cancelled: 1 }) });
  assert.match((await run(["batch", "cancel", "batch_1"])).out, /^tasks {4}3: 2 completed, 1 cancelled$/m);
  api.on(GET, problem("batch_not_found"));
  assert.equal((await run(["batch", "get", "batch_1"])).code, 1);
});
