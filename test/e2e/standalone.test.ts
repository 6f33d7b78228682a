import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CliProcess } from "../support/cli-process.ts";
import { until } from "../support/until.ts";

const DIGITS = join(import.meta.dirname, "../../models/digits");
/** What models/digits/sample.png shows. */
const SAMPLE_SHOWS = "7";

let home: string;
let up: CliProcess;

before(async () => {
  home = await mkdtemp(join(tmpdir(), "legacygpu-up-"));
  up = await CliProcess.start(["up", "--port", "0"], home);
  await until(
    `\`up\` to print its address; it printed: ${up.stderr}`,
    () => /https:\/\/localhost:\d+/.test(up.stdout),
    30_000,
  );
});
after(async () => {
  await up.stop();
  await rm(home, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const cli = await CliProcess.start(args, home);
  const { code } = await cli.exited();
  return { code, stdout: cli.stdout, stderr: cli.stderr };
}

test("`up` shows the first administrator's key once, and keeps only its hash", async () => {
  const [key] = /lgk_\w+/.exec(up.stdout) ?? [];
  assert.ok(key, up.stdout);
  const stored = await readFile(join(home, "keys.json"), "utf8");
  assert.ok(!stored.includes(key.split("_")[2] ?? ""));
  const secrets = ["keys.json", "profile.json", "certs/ca.key", "certs/server.key", "worker/credential"];
  for (const file of secrets) assert.equal((await stat(join(home, file))).mode & 0o777, 0o600, file);
});

test("the command line works without any flag: push, submit, look, with tables and with JSON", async () => {
  const pushed = await run(
    "model",
    "push",
    "digits",
    join(DIGITS, "model.onnx"),
    "--manifest",
    join(DIGITS, "manifest.json"),
  );
  assert.equal(pushed.code, 0, pushed.stderr);
  const submitted = await run(
    "task",
    "submit",
    "--model",
    "digits",
    "--input",
    join(DIGITS, "sample.png"),
    "--wait",
  );
  assert.equal(submitted.code, 0, submitted.stderr);
  assert.match(submitted.stdout, new RegExp(`\\b${SAMPLE_SHOWS}\\b`));
  const asJson = await run(
    "task",
    "submit",
    "--model",
    "digits",
    "--input",
    join(DIGITS, "sample.png"),
    "--wait",
    "--json",
  );
  const task = JSON.parse(asJson.stdout) as { id: string; result: { predictions: { label: string }[] } };
  assert.equal(task.result.predictions[0]?.label, SAMPLE_SHOWS);
  const listed = await run("task", "list");
  assert.match(listed.stdout, new RegExp(task.id));
  const status = await run("cluster", "status");
  assert.match(status.stdout, /HEALTHY/);
  const workers = JSON.parse((await run("cluster", "workers", "--json")).stdout) as {
    workers: { state: string }[];
  };
  assert.deepEqual(
    workers.workers.map(({ state }) => state),
    ["HEALTHY"],
  );
});

test("keys are made, used and revoked", async () => {
  const made = JSON.parse(
    (await run("key", "create", "--name", "reader", "--scopes", "read", "--json")).stdout,
  ) as { id: string; key: string };
  assert.equal((await run("task", "list", "--key", made.key)).code, 0);
  const refused = await run(
    "task",
    "submit",
    "--model",
    "digits",
    "--input",
    join(DIGITS, "sample.png"),
    "--key",
    made.key,
  );
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /submit/);
  assert.equal((await run("key", "revoke", made.id)).code, 0);
  assert.equal((await run("task", "list", "--key", made.key)).code, 3);
});

test("a port in use is said so, with what to do", async () => {
  const [, port = ""] = /https:\/\/localhost:(\d+)/.exec(up.stdout) ?? [];
  const other = await CliProcess.start(["up", "--port", port]);
  const { code } = await other.exited();
  assert.notEqual(code, 0);
  assert.match(other.stderr, new RegExp(`${port}.*in use`));
  await other.stop();
});

test("Ctrl-C stops gateway and agent cleanly, and a second start shows no key", async () => {
  up.signal("SIGINT");
  assert.deepEqual(await up.exited(), { code: 0, signal: null });
  const again = await CliProcess.start(["up", "--port", "0"], home);
  await until("the second start", () => /https:\/\/localhost:\d+/.test(again.stdout), 30_000);
  assert.doesNotMatch(again.stdout, /lgk_/);
  again.signal("SIGINT");
  assert.equal((await again.exited()).code, 0);
});
