/** What waits in the runner process: commands that keep their place, and tasks whose input is on its way to a tensor. */

import type { Manifest } from "@legacygpu/shared/manifest";
import { type BatchPart, partOf } from "./batch-tensors.ts";
import { type PreparedInput, prepareInput, type ServedModel } from "./served-model.ts";
import type { RunnerCommand } from "./wire.ts";

export type Load = Extract<RunnerCommand, { type: "load" }>;
export type Unload = Extract<RunnerCommand, { type: "unload" }>;
export type Run = Extract<RunnerCommand, { type: "run" }>;
export type Entry = Load | Unload | RunItem;

/**
 * | state     | its input                     | leaves it                             |
 * | --------- | ----------------------------- | ------------------------------------- |
 * | preparing | is being decoded              | decoded → ready; no picture → failed  |
 * | ready     | can be run                    |                                       |
 * | failed    | cannot; told when its turn comes |                                    |
 */
type Preparation =
  | { readonly state: "preparing"; readonly done: Promise<void> }
  | { readonly state: "ready"; readonly input: PreparedInput }
  | { readonly state: "failed"; readonly error: unknown };

export class RunItem {
  readonly type = "run";
  readonly command: Run;
  isSkipped = false;
  #preparation: Preparation;
  /** Null: it cannot be joined with others. */
  #part: BatchPart | null | undefined;

  constructor(command: Run, manifest: Manifest) {
    this.command = command;
    const { input } = command;
    // Tensors need no preparation, and a promise per task would cost as much as a small model.
    this.#preparation =
      input.kind === "tensors"
        ? { state: "ready", input }
        : { state: "preparing", done: this.#prepare(prepareInput(input, manifest)) };
  }

  /** Resolves when its input is ready or known to be wrong; undefined when that is so already. */
  get preparing(): Promise<void> | undefined {
    return this.#preparation.state === "preparing" ? this.#preparation.done : undefined;
  }

  /** After {@link preparing}. @throws what was wrong with its input. */
  get input(): PreparedInput {
    if (this.#preparation.state === "ready") return this.#preparation.input;
    throw this.#preparation.state === "failed"
      ? this.#preparation.error
      : new TypeError("The input is not prepared yet.");
  }

  /** What it would bring into a batch; undefined when it can only run alone. */
  partFor(model: ServedModel): BatchPart | undefined {
    if (this.#part === undefined && this.#preparation.state === "ready")
      this.#part = partIn(model, this.#preparation.input, this.command.outputs);
    return this.#part ?? undefined;
  }

  async #prepare(input: Promise<PreparedInput>): Promise<void> {
    try {
      this.#preparation = { state: "ready", input: await input };
    } catch (error) {
      this.#preparation = { state: "failed", error };
    }
  }
}

function partIn(model: ServedModel, input: PreparedInput, outputs: Run["outputs"]): BatchPart | null {
  try {
    return partOf(model.tensorsOf(input), outputs) ?? null;
  } catch {
    // Said when it runs alone.
    return null;
  }
}
