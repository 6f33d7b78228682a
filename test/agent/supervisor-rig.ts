/** The runner's supervisor on a virtual clock, with processes that do what a test tells them to. */

import { createLogger } from "@legacygpu/shared/log";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Job, ModelEvent, RunResult } from "../../agent/runner/job.ts";
import type { RunnerExit, RunnerHandlers } from "../../agent/runner/process.ts";
import { Supervisor, type SupervisorOptions } from "../../agent/runner/supervisor.ts";
import type { RunnerCommand } from "../../agent/runner/wire.ts";
import { ManualClock } from "../support/manual-clock.ts";

export const DIED: RunnerExit = { code: null, signal: "SIGSEGV", isOutOfMemory: false, lastWords: "" };

export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class FakeProcess {
  readonly pid = 1;
  readonly commands: RunnerCommand[] = [];
  readonly handlers: RunnerHandlers;
  isAlive = true;

  constructor(handlers: RunnerHandlers) {
    this.handlers = handlers;
  }

  post(command: RunnerCommand): void {
    this.commands.push(command);
  }
  kill(): void {
    this.die({ ...DIED, signal: "SIGKILL" });
  }
  die(exit: RunnerExit = DIED): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    queueMicrotask(() => this.handlers.onExit(exit));
  }
  ready(): void {
    this.handlers.onReport({ type: "ready" });
  }
}

export class JobSpy implements Job {
  readonly model;
  readonly executionLimitMs: number | undefined;
  readonly input = { kind: "tensors" as const, tensors: [] };
  readonly inputBytes = 0;
  readonly heard: string[] = [];
  result: RunResult | undefined;

  constructor(modelKey: string, manifest: Manifest, executionLimitMs: number | undefined) {
    this.model = { key: modelKey, path: `/${modelKey}.onnx`, manifest };
    this.executionLimitMs = executionLimitMs;
  }
  onStarted(): void {
    this.heard.push("started");
  }
  onDone(result: RunResult): void {
    this.heard.push("done");
    this.result = result;
  }
  onFailed(error: { code: string }): void {
    this.heard.push(error.code);
  }
}

/** @param create what stands for a runner process. */
export function supervise<Process extends FakeProcess>(
  create: (handlers: RunnerHandlers) => Process,
  more: Partial<SupervisorOptions> = {},
) {
  const clock = new ManualClock();
  const processes: Process[] = [];
  const models: ModelEvent[] = [];
  const lines: string[] = [];
  const supervisor = new Supervisor({
    spawn: (handlers) => {
      const process = create(handlers);
      processes.push(process);
      return process;
    },
    clock,
    random: () => 0.5,
    log: createLogger("test", "warn", { write: (line) => void lines.push(line) }),
    slots: 1,
    cores: 8,
    providers: ["cpu"],
    executionLimitMs: 60_000,
    onModel: (event) => void models.push(event),
    ...more,
  });
  const last = (): Process => processes.at(-1) as Process;
  return { clock, processes, models, lines, supervisor, last };
}
