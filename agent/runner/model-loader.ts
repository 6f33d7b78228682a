/** Puts a model on the first of its providers that takes it and computes what it should. Runs in the runner process. */

import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Executor, LoadedModel } from "../executors/port.ts";
import { answerOfCpu, type CpuAnswer, type SelfTest, selfTest, type TestedProvider } from "./self-test.ts";
import { ServedModel } from "./served-model.ts";
import type { RunnerCommand } from "./wire.ts";

type Load = Extract<RunnerCommand, { type: "load" }>;

export interface Loading {
  readonly model: ServedModel;
  /** Why better providers were passed over, `provider: reason` each. */
  readonly passedOver: readonly string[];
  /** What was found out now. */
  readonly tests: readonly TestedProvider[];
  /** What of the time was computing: self-tests, golden examples. */
  readonly warmUpMs: number;
}

export interface LoadNews {
  /** A driver may take the process down from here on. */
  onTrying(provider: string): Promise<void>;
}

/** @throws `model_load_failed`; `out_of_memory`, when that is what the last hope lacked, or any, with `reportsMemory`. */
export async function loadModel(executor: Executor, command: Load, news: LoadNews): Promise<Loading> {
  const trials = new Trials(executor, command);
  const passedOver: string[] = [];
  const tests: TestedProvider[] = [];
  let lastError: unknown;
  for (const provider of command.providers) {
    if (provider !== "cpu") await news.onTrying(provider);
    try {
      const { model, test } = await trials.run(provider);
      if (test !== undefined) tests.push({ provider, test });
      if (test?.outcome !== "wrong") return { model, passedOver, tests, warmUpMs: trials.warmUpMs };
      await model.release();
      lastError = fail("model_load_failed", test.reason);
    } catch (error) {
      lastError = error;
      const isMemory = asLegacyGpuError(error).code === "out_of_memory";
      if (isMemory && provider !== "cpu" && command.reportsMemory) throw error;
    }
    passedOver.push(`${provider}: ${(lastError as Error).message}`);
  }
  throw nobodyTakes(passedOver, lastError);
}

class Trials {
  readonly #executor: Executor;
  readonly #command: Load;
  #answer: Promise<CpuAnswer> | undefined;
  warmUpMs = 0;

  constructor(executor: Executor, command: Load) {
    this.#executor = executor;
    this.#command = command;
  }

  /** @returns with a test only where one was made; the model is loaded whatever its outcome. */
  async run(
    provider: string,
  ): Promise<{ readonly model: ServedModel; readonly test?: SelfTest | undefined }> {
    const { manifest, trusted = [] } = this.#command;
    const isTrusted = provider === "cpu" || trusted.includes(provider);
    if (!isTrusted) this.#answer ??= answerOfCpu(() => this.#load("cpu"), manifest);
    const answer = await this.#computing(this.#answer);
    const model = new ServedModel(await this.#load(provider), manifest);
    try {
      if (!isTrusted && answer !== undefined)
        return { model, test: await this.#computing(selfTest(model, answer, manifest)) };
      await this.#computing(model.checkGolden());
      return { model };
    } catch (error) {
      await model.release();
      throw error;
    }
  }

  async #computing<T>(work: Promise<T> | undefined): Promise<T | undefined> {
    const beganAtMs = performance.now();
    try {
      return await work;
    } finally {
      this.warmUpMs += performance.now() - beganAtMs;
    }
  }

  #load(provider: string): Promise<LoadedModel> {
    const { path, threads } = this.#command;
    return this.#executor.load(path, { provider, threads });
  }
}

/** With one provider its own words are the best; with several all are needed. */
function nobodyTakes(passedOver: readonly string[], lastError: unknown): LegacyGpuError {
  const { code, message } = asLegacyGpuError(lastError);
  const all = `No execution provider takes the model. ${passedOver.join("; ")}`;
  const told = code === "out_of_memory" ? code : "model_load_failed";
  return fail(told, passedOver.length === 1 ? message : all, {}, lastError);
}
