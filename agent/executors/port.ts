/** What the runner needs from an inference engine. */

import type { Tensor, TensorSpec } from "@legacygpu/shared/tensor";

export interface LoadOptions {
  /** Execution providers, best first; the first that accepts the model is taken. */
  readonly providers: readonly string[];
  /** Threads that one run may use. */
  readonly threads: number;
}

export interface LoadedModel {
  readonly provider: string;
  /** Why better providers were passed over. */
  readonly passedOver: readonly string[];
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /**
   * Blocks the event loop while it computes.
   * @param outputs names of the outputs to compute; absent: all.
   * @throws `input_invalid`, `model_run_failed`.
   */
  run(inputs: readonly Tensor[], outputs?: readonly string[]): Promise<Tensor[]>;
  release(): Promise<void>;
}

export interface Executor {
  /** @throws `model_load_failed` when no provider accepts the model. */
  load(path: string, options: LoadOptions): Promise<LoadedModel>;
}
