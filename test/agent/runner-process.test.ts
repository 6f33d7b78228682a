/** A runner process by itself: what it knows, and when it ends. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { childEnvironment } from "../../agent/options.ts";
import { diedOfMemory } from "../../agent/runner/memory-death.ts";
import { crashError, inheritedArguments, type RunnerExit, spawnRunner } from "../../agent/runner/process.ts";
import type { RunnerCommand, RunnerReport } from "../../agent/runner/wire.ts";
import { buildEndlessLoop } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { floats } from "../support/fake-gateway.ts";
import { until } from "../support/until.ts";

const log = createLogger("test", "silent");

function load(path: string): RunnerCommand {
  return { type: "load", seq: 1, modelKey: "m", path, manifest: {}, providers: ["cpu"], threads: 1 };
}

test("answers in order, large payloads and small ones, and ends when it is killed", async () => {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-runner-"));
  const path = join(dir, "identity.onnx");
  await writeFile(path, buildIdentity({ size: 500_000 }));
  const reports: RunnerReport[] = [];
  let signal: string | null | undefined;
  const runner = spawnRunner(
    {},
    log,
  )({
    onReport: (report) => void reports.push(report),
    onExit: (exit) => {
      signal = exit.signal;
    },
  });
  runner.post(load(path));
  for (let seq = 2; seq < 12; seq += 1) {
    const tensors = [floats("input", [1, 500_000], seq)];
    runner.post({ type: "run", seq, modelKey: "m", input: { kind: "tensors", tensors } });
  }
  runner.post({ type: "run", seq: 12, modelKey: "unknown", input: { kind: "tensors", tensors: [] } });
  await until("all answers", () => reports.some((report) => report.type === "failed"));
  const answered = reports.flatMap((report) => ("seq" in report ? [report.seq] : []));
  assert.deepEqual(answered, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  const done = reports.find((report) => report.type === "done" && report.seq === 7);
  assert.ok(done?.type === "done");
  assert.deepEqual(done.output.tensors, [floats("output", [1, 500_000], 7)]);
  runner.kill();
  await until("its end", () => signal === "SIGKILL");
  await rm(dir, { recursive: true });
});

test("an endless model does not outlive the agent that ran it", {
  skip: process.platform === "win32" && "Windows has no signals to end it with",
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-orphan-"));
  const path = join(dir, "endless.onnx");
  await writeFile(path, buildEndlessLoop());
  const entry = new URL("../support/doomed-agent.ts", import.meta.url).pathname;
  const agent = spawn(process.execPath, [...inheritedArguments(), entry, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let line = "";
  for await (const each of createInterface({ input: agent.stdout })) line = each;
  const pid = Number(line);
  assert.ok(pid > 0);
  await until("the orphan to end", () => !isAlive(pid), 5000);
  await rm(dir, { recursive: true });
});

test("a runner that dies for want of memory says so; one that is killed or crashes does not", async () => {
  const deaths: RunnerExit[] = [];
  const onExit = (exit: RunnerExit): void => void deaths.push(exit);
  // V8 ends the process long before the runner is up.
  spawnRunner({ NODE_OPTIONS: "--max-old-space-size=8" }, log)({ onReport: () => {}, onExit });
  const starved = await until("the end of the starved one", () => deaths.shift());
  assert.equal(crashError(starved).code, "out_of_memory");
  for (const signal of ["SIGSEGV", "SIGKILL", "SIGABRT"] as const) {
    const { pid } = spawnRunner({}, log)({ onReport: () => {}, onExit });
    assert.ok(pid !== undefined);
    process.kill(pid, signal);
    const exit = await until(`the end by ${signal}`, () => deaths.shift());
    assert.deepEqual([exit.signal, crashError(exit).code], [signal, "runner_crashed"]);
  }
});

test("memory is the cause of a death only where that is certain", () => {
  const calm = { code: null, signal: null, lastWords: "", systemKills: 0 };
  const thrown = "terminate called after throwing an instance of 'std::bad_alloc'";
  const certain = [
    { ...calm, signal: "SIGKILL", systemKills: 1 },
    { ...calm, signal: "SIGABRT", lastWords: thrown },
    { ...calm, code: 134, lastWords: "FATAL ERROR: ... JavaScript heap out of memory" },
  ];
  const uncertain = [
    { ...calm, signal: "SIGKILL" },
    { ...calm, signal: "SIGKILL", lastWords: thrown },
    { ...calm, signal: "SIGSEGV", systemKills: 1, lastWords: thrown },
    { ...calm, signal: "SIGABRT", systemKills: 1, lastWords: "Assertion failed" },
    { ...calm, code: 1, systemKills: 1, lastWords: thrown },
    { ...calm, code: 0 },
  ];
  assert.deepEqual(certain.map(diedOfMemory), [true, true, true]);
  assert.deepEqual(uncertain.map(diedOfMemory), [false, false, false, false, false, false]);
});

test("a runner is told of paths and drivers, and of no credential", () => {
  const passed = childEnvironment({
    PATH: "/bin",
    VK_ICD_FILENAMES: "/icd.json",
    LEGACYGPU_KEY: "lgw_secret",
    HTTPS_PROXY: "http://user:password@proxy",
    AWS_SECRET_ACCESS_KEY: "x",
  });
  assert.deepEqual(passed, { PATH: "/bin", VK_ICD_FILENAMES: "/icd.json" });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
