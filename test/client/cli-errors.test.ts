/** How the command line fails: text for people, a document for programs, one exit status for each kind. */

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { EXIT } from "../../client/cli/exit-codes.ts";
import type { ErrorCode } from "../../shared/errors.ts";
import { type CliOptions, runTestCli } from "../support/cli-rig.ts";
import { FakeApi, problem } from "../support/fake-api.ts";

let api: FakeApi;
let env: Record<string, string>;

before(async () => {
  api = await FakeApi.start();
  env = { LEGACYGPU_HOME: join(api.dir, "home"), LEGACYGPU_URL: api.url, LEGACYGPU_CA: api.caFile };
});
afterEach(() => api.reset());
after(() => api.close());

const run = (argv: string[], options: CliOptions = {}): ReturnType<typeof runTestCli> =>
  runTestCli(argv, { env, ...options });

test("for people: what happened, the code, what to do", async () => {
  api.on("GET /models", problem("auth_missing", "No credential was sent."));
  const { code, out, err } = await run(["model", "list"]);
  assert.deepEqual([code, out], [3, ""]);
  assert.equal(
    err,
    `error: No credential was sent.
  code: auth_missing
  try:  give a key with --key, LEGACYGPU_KEY, or the profile that \`legacygpu up\` writes
  request: req_1
`,
  );
});

test("for programs: one line of JSON on standard error, nothing on standard output", async () => {
  api.on("GET /models", problem("auth_forbidden", "The key lgk_abcd1234efgh_secret lacks a scope."));
  const { code, out, err } = await run(["model", "list", "--json"]);
  assert.deepEqual([code, out], [3, ""]);
  const document = JSON.parse(err);
  assert.deepEqual(document, {
    code: "auth_forbidden",
    message: "The key lgk_abcd… lacks a scope.",
    retryable: false,
    details: { request_id: "req_1" },
  });
});

test("each kind of error has its exit status", async () => {
  const cases: ReadonlyArray<readonly [ErrorCode, number]> = [
    ["request_invalid", 2],
    ["input_invalid", 2],
    ["auth_invalid", 3],
    ["auth_forbidden", 3],
    ["deadline_exceeded", 6],
    ["task_not_found", 1],
    ["internal", 1],
  ];
  for (const [code, status] of cases) {
    api.on("GET /tasks/task_1", problem(code));
    assert.equal((await run(["task", "get", "task_1"])).code, status, code);
  }
  api.on("GET /tasks/task_1", problem("queue_full", undefined, { "retry-after": "3600" }));
  assert.equal((await run(["task", "get", "task_1"])).code, 5);
});

test("no gateway there, and a certificate that is not trusted, are status 4", async () => {
  const gone = await FakeApi.start();
  await gone.close();
  const url = "https://localhost:1";
  const unreachable = await run(["task", "get", "x", "--url", url, "--json"]);
  assert.equal(unreachable.code, 4);
  assert.equal(JSON.parse(unreachable.err).details.address, url);
  const { LEGACYGPU_CA: _, ...untrusting } = env;
  const untrusted = await run(["task", "get", "x"], { env: untrusting });
  assert.equal(untrusted.code, 4);
  assert.match(untrusted.err, /code: certificate_invalid/);
});

test("mistakes in the command itself are status 2", async () => {
  const cases: ReadonlyArray<readonly [string[], RegExp]> = [
    [["task", "submti"], /unknown command 'submti'[\s\S]*task submit|Did you mean submit/],
    [["task", "submit", "--model", "m"], /required option '--input <file>'/],
    [
      ["task", "submit", "--model", "m", "--input", "x", "--priority", "urgent"],
      /Choose one of CRITICAL, HIGH, NORMAL, LOW/,
    ],
    [["task", "submit", "--model", "m", "--input", "x", "--deadline", "soon"], /Write a duration like "30s"/],
    [["task", "submit", "--model", "m", "--input", "/does/not/exist"], /\/does\/not\/exist cannot be read/],
    [["task", "list", "--limit", "0"], /Write 1 to 1000/],
    [["key", "create", "--name", "n", "--scopes", "all"], /Choose from admin, submit/],
    [["up", "--port", "http"], /--port: "http" is not a whole number from 0 to 65535/],
    [["up", "--strategy", "RANDOM"], /is no strategy\. Choose one of ROUND_ROBIN/],
    [["api", "start", "--bind-address", "tcp://0.0.0.0:5555"], /write wss:\/\/0\.0\.0\.0:5555/],
    [["worker", "start", "--coordinator", "tcp://10.0.0.1:5555"], /write wss:\/\/10\.0\.0\.1:5555/],
    [["worker", "start"], /give --coordinator wss:\/\/HOST:PORT/],
    [["api", "start", "--config", "/no/config.yaml"], /\/no\/config\.yaml: the file cannot be read/],
    [["model", "push", "m", "/no/model.onnx"], /\/no\/model\.onnx cannot be read/],
    [["--nonsense"], /unknown option '--nonsense'/],
  ];
  for (const [argv, message] of cases) {
    const { code, err, out } = await run(argv);
    assert.equal(code, 2, `${argv.join(" ")}: ${err}`);
    assert.match(err, message);
    assert.equal(out, "");
  }
});

test("mistakes in the command are a document too with --json", async () => {
  const { code, err } = await run(["task", "submit", "--json", "--model", "m"]);
  assert.equal(code, 2);
  const document = JSON.parse(err);
  assert.equal(document.code, "usage");
  assert.match(document.message, /required option '--input <file>'/);
});

test("input that is neither a picture nor tensors", async () => {
  const file = join(api.dir, "notes.txt");
  await writeFile(file, "hello");
  const { code, err } = await run(["task", "submit", "--model", "m", "--input", file]);
  assert.equal(code, 2);
  assert.match(err, /notes\.txt is neither a picture nor JSON/);
  await writeFile(file, '{"input": []}');
  assert.match(
    (await run(["task", "submit", "--model", "m", "--input", file])).err,
    /is not the input of a task/,
  );
  await writeFile(file, "");
  assert.match((await run(["task", "submit", "--model", "m", "--input", file])).err, /notes\.txt is empty/);
});

test("without any gateway known, the way to one is told", async () => {
  const { code, err } = await run(["task", "list"], { env: { LEGACYGPU_HOME: join(api.dir, "empty") } });
  assert.equal(code, 2);
  assert.match(err, /No gateway is known: start one with `legacygpu up`/);
});

test("docs/cli.md lists every exit status", async () => {
  const page = await readFile(new URL("../../docs/cli.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
  assert.deepEqual(listed, Object.values(EXIT));
});
