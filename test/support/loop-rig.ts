/** The work of a runner process inside the test: the real loop and the real engine, which says how it was called. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import { OnnxExecutor } from "../../agent/executors/onnx.ts";
import type { Executor, LoadedModel, LoadOptions } from "../../agent/executors/port.ts";
import { TaskLoop } from "../../agent/runner/task-loop.ts";
import type { RunnerReport } from "../../agent/runner/wire.ts";
import { until } from "./until.ts";

type Answer = Extract<RunnerReport, { type: "done" | "failed" }>;

export class LoopRig {
  readonly reports: RunnerReport[] = [];
  /** Rows of the first input of every run, in order. */
  readonly runs: number[] = [];
  /** Called before the engine computes. */
  beforeRun: (rows: number) => void = () => {};
  readonly #folder: string;
  readonly #loop: TaskLoop;
  #seq = 0;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#loop = new TaskLoop(this.#executor(), {
      hold: (report) => void this.reports.push(report),
      flush: () => {},
      drained: () => Promise.resolve(),
    });
  }

  static async start(): Promise<LoopRig> {
    return new LoopRig(await mkdtemp(join(tmpdir(), "legacygpu-loop-")));
  }

  /** Models are loaded in the order of these calls, and before what is run after them. */
  async load(modelKey: string, file: Uint8Array, manifest: Manifest, maxRows?: number): Promise<void> {
    const path = join(this.#folder, `${modelKey}.onnx`);
    await writeFile(path, file);
    this.#seq += 1;
    const seq = this.#seq;
    const load = { type: "load", seq, modelKey, path, manifest, providers: ["cpu"], threads: 1 } as const;
    this.#loop.accept({ ...load, maxRows });
    await until("the model", () =>
      this.reports.some((report) => report.type === "loaded" && report.seq === seq),
    );
  }

  /** @returns its number. */
  run(modelKey: string, input: TaskInput | Tensor, outputs?: readonly string[]): number {
    this.#seq += 1;
    const given: TaskInput = "kind" in input ? input : { kind: "tensors", tensors: [input] };
    this.#loop.accept({ type: "run", seq: this.#seq, modelKey, input: given, outputs });
    return this.#seq;
  }

  skip(seq: number): void {
    this.#loop.accept({ type: "skip", seq });
  }

  answerTo(seq: number): Answer | undefined {
    return this.answers.find((answer) => answer.seq === seq);
  }

  get answers(): Answer[] {
    return this.reports.filter(
      (report): report is Answer => report.type === "done" || report.type === "failed",
    );
  }

  /** The answers to these, as soon as all are there. */
  async all(seqs: readonly number[]): Promise<Answer[]> {
    await until("all answers", () => seqs.every((seq) => this.answerTo(seq) !== undefined));
    return seqs.map((seq) => this.answerTo(seq) as Answer);
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }

  #executor(): Executor {
    const real = new OnnxExecutor();
    return {
      load: async (path: string, options: LoadOptions): Promise<LoadedModel> => {
        const model = await real.load(path, options);
        return {
          provider: model.provider,
          inputs: model.inputs,
          outputs: model.outputs,
          run: (inputs, outputs) => {
            const rows = inputs[0]?.shape[0] ?? 0;
            this.runs.push(rows);
            this.beforeRun(rows);
            return model.run(inputs, outputs);
          },
          release: () => model.release(),
        };
      },
    };
  }
}
