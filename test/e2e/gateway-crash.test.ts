import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { CliProcess } from "../support/cli-process.ts";
import { until } from "../support/until.ts";

const DIGITS = join(import.meta.dirname, "../../models/digits");

let home: string;
let processes: CliProcess[];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "legacygpu-crash-"));
  processes = [];
});
afterEach(async () => {
  await Promise.all(processes.map((each) => each.stop()));
  await rm(home, { recursive: true, force: true });
});

async function start(...args: string[]): Promise<CliProcess> {
  const cli = await CliProcess.start(args, home);
  processes.push(cli);
  return cli;
}

async function serve(...args: string[]): Promise<CliProcess> {
  const server = await start(...args);
  await until(
    `${args.join(" ")} to print its address; it printed: ${server.stderr}`,
    () => /https:\/\/localhost:\d+/.test(server.stdout),
    30_000,
  );
  return server;
}

/** The same port every time: a restart must get it back at once, while the system still remembers old connections. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function json<T>(...args: string[]): Promise<T> {
  const cli = await start(...args, "--json");
  const { code } = await cli.exited();
  assert.equal(code, 0, cli.stderr);
  return JSON.parse(cli.stdout) as T;
}

test("a gateway is killed with tasks that wait: after the restart every one of them runs, once", async () => {
  // `up` writes the profile that the command line uses; the gateway alone then has nobody who could run anything.
  const port = String(await freePort());
  const first = await serve("up", "--port", port);
  await json(
    "model",
    "push",
    "digits",
    join(DIGITS, "model.onnx"),
    "--manifest",
    join(DIGITS, "manifest.json"),
  );
  first.signal("SIGINT");
  await first.exited();

  const alone = await serve("cluster", "start", "--host", "127.0.0.1", "--port", port);
  const submit = (): Promise<{ id: string; status: string }> =>
    json("task", "submit", "--model", "digits", "--input", join(DIGITS, "sample.png"));
  const accepted = [await submit(), await submit(), await submit()];
  assert.ok(accepted.every(({ status }) => status === "PENDING"));
  alone.signal("SIGKILL");
  assert.equal((await alone.exited()).signal, "SIGKILL");

  await serve("up", "--port", port);
  type Seen = { status: string; attempts: unknown[]; result: { predictions: { label: string }[] } };
  for (const { id } of accepted) {
    const task = await json<Seen>("task", "get", id, "--wait");
    assert.equal(task.status, "COMPLETED");
    assert.equal(task.attempts.length, 1);
    assert.equal(task.result.predictions[0]?.label, "7");
  }
});

test("a gateway is killed while a worker computes: the worker goes on and delivers to the restarted one", async () => {
  const port = String(await freePort());
  const first = await serve("up", "--port", port);
  const model = join(home, "slow.onnx");
  // Some seconds: longer than a gateway takes to start.
  await writeFile(model, buildSlow({ rounds: 4000, size: 256 }));
  await json("model", "push", "slow", model);
  const { key } = await json<{ key: string }>("key", "create", "--name", "box", "--scopes", "worker");
  first.signal("SIGINT");
  await first.exited();

  const alone = await serve("cluster", "start", "--host", "127.0.0.1", "--port", port);
  const worker = await CliProcess.start([
    "worker",
    "start",
    ...["--coordinator", `wss://localhost:${port}`, "--ca", join(home, "certs", "ca.pem"), "--key", key],
    ...["--worker-id", "box"],
  ]);
  processes.push(worker);
  const input = join(home, "input.json");
  const data = new Array(256).fill(0.5);
  await writeFile(
    input,
    JSON.stringify({ inputs: [{ name: "input", datatype: "FP32", shape: [1, 256], data }] }),
  );
  const { id } = await json<{ id: string }>("task", "submit", "--model", "slow", "--input", input);
  await until(
    "the worker to have begun",
    async () => (await json<{ status: string }>("task", "get", id)).status === "RUNNING",
    30_000,
  );
  alone.signal("SIGKILL");
  await alone.exited();

  await serve("cluster", "start", "--host", "127.0.0.1", "--port", port);
  type Seen = { status: string; attempts: { worker: string; outcome: string }[] };
  const task = await json<Seen>("task", "get", id, "--wait");
  assert.equal(task.status, "COMPLETED");
  assert.deepEqual(
    task.attempts.map(({ worker: name, outcome }) => `${name} ${outcome}`),
    ["box completed"],
  );
});

test("a second gateway on the same home is refused, saying why", async () => {
  await serve("up", "--port", "0");
  const second = await start("up", "--port", "0");
  const { code } = await second.exited();
  assert.notEqual(code, 0);
  assert.match(second.stderr, /in use/);
});
