/** What the runner needs from an inference engine. */

import type { Tensor, TensorSpec } from "@legacygpu/shared/tensor";

export interface LoadOptions {
  /** The execution provider that is to compute; there is no other in its place. */
  readonly provider: string;
  /** Threads that one run may use. */
  readonly threads: number;
}

export interface LoadedModel {
  readonly provider: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /**
   * Blocks the event loop while it computes.
   * @param outputs names of the outputs to compute; absent: all.
   * @throws `input_invalid`, `model_run_failed`, `out_of_memory`.
   */
  run(inputs: readonly Tensor[], outputs?: readonly string[]): Promise<Tensor[]>;
  release(): Promise<void>;
}

export interface Executor {
  /** @throws `model_load_failed`, or `out_of_memory` where the provider says so. */
  load(path: string, options: LoadOptions): Promise<LoadedModel>;
}
