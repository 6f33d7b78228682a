/** A supervisor with real runner processes, and models in files. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "@legacygpu/shared/clock";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import type { LocalModel, ModelEvent, RunResult } from "../../agent/runner/job.ts";
import { siblingModule, spawnRunner } from "../../agent/runner/process.ts";
import { SelfTestRecord } from "../../agent/runner/self-test-record.ts";
import { Supervisor, type SupervisorOptions } from "../../agent/runner/supervisor.ts";

export interface RunnerRigOptions extends Partial<SupervisorOptions> {
  readonly env?: NodeJS.ProcessEnv;
  /** Takes `odd-runner.ts` for the engine. */
  readonly isOdd?: boolean;
  readonly clock?: Clock;
  /** Of an earlier rig, which is closed with this one. */
  readonly dir?: string;
  readonly fingerprint?: string;
}

const ODD_RUNNER = siblingModule("odd-runner", import.meta.url);

export class RunnerRig {
  readonly dir: string;
  readonly supervisor: Supervisor;
  readonly events: ModelEvent[] = [];
  /** What was logged, as JSON lines. */
  readonly lines: string[];
  readonly #selfTests: SelfTestRecord;

  private constructor(dir: string, lines: string[], selfTests: SelfTestRecord, options: RunnerRigOptions) {
    this.dir = dir;
    this.lines = lines;
    this.#selfTests = selfTests;
    const { env = {}, isOdd = false } = options;
    const log = createLogger("runner", "debug", { write: (line) => void lines.push(line) });
    this.supervisor = new Supervisor({
      spawn: spawnRunner(env, log, undefined, isOdd ? ODD_RUNNER : undefined),
      clock: systemClock,
      random: Math.random,
      log,
      slots: 1,
      cores: 1,
      providers: ["cpu"],
      executionLimitMs: 60_000,
      selfTests,
      onModel: (event) => void this.events.push(event),
      ...options,
    });
  }

  static async start(options: RunnerRigOptions = {}): Promise<RunnerRig> {
    const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "legacygpu-providers-")));
    const lines: string[] = [];
    const { clock = systemClock, fingerprint = "this machine" } = options;
    const log = createLogger("tests", "debug", { write: (line) => void lines.push(line) });
    const path = join(dir, "self-tests.json");
    return new RunnerRig(dir, lines, await SelfTestRecord.open({ path, fingerprint, clock, log }), options);
  }

  async model(name: string, file: Uint8Array, manifest: Manifest = {}): Promise<LocalModel> {
    const path = join(this.dir, `${name}.onnx`);
    await writeFile(path, file);
    return { key: name, path, manifest };
  }

  run(model: LocalModel, ...tensors: Tensor[]): Promise<RunResult> {
    return this.submit(model, { kind: "tensors", tensors });
  }

  submit(model: LocalModel, input: Parameters<Supervisor["submit"]>[0]["input"]): Promise<RunResult> {
    return new Promise((resolve, reject) => {
      this.supervisor.submit({
        model,
        input,
        inputBytes: 0,
        onStarted: () => {},
        onDone: resolve,
        onFailed: (error: LegacyGpuError) => reject(error),
      });
    });
  }

  /** The latest that was said of the model when it became ready. */
  ready(model: LocalModel): Extract<ModelEvent, { state: "ready" }> | undefined {
    const ready = this.events.filter((event) => event.state === "ready");
    return ready.findLast((event) => event.model.key === model.key);
  }

  states(model: LocalModel): string[] {
    return this.events.filter((event) => event.model.key === model.key).map(({ state }) => state);
  }

  hasLogged(message: string): boolean {
    return this.lines.some((line) => line.includes(message));
  }

  /** Leaves the folder for a rig that comes after it. */
  async stop(): Promise<void> {
    await this.supervisor.close();
    await this.#selfTests.close();
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}
