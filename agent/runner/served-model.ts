/** A loaded model with what its manifest puts around it: picture → tensor before, scores → labels after. */

import { fail } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import { classify } from "../executors/classification.ts";
import type { LoadedModel } from "../executors/port.ts";
import { preprocessImage } from "../images/preprocess.ts";

export type Batching = NonNullable<Manifest["batching"]>;

/** In a shape that a model declares. */
const ANY_SIZE = -1;

/** An input that is ready to run. A picture has no tensor name yet: that is known once the model is loaded. */
export type PreparedInput =
  | { readonly kind: "tensors"; readonly tensors: readonly Tensor[] }
  | { readonly kind: "picture"; readonly data: Float32Array; readonly shape: number[] };

/**
 * Decodes and resizes; needs the manifest only, so it can go on while another task computes.
 * @throws `image_invalid`, `input_invalid`.
 */
export async function prepareInput(input: TaskInput, manifest: Manifest): Promise<PreparedInput> {
  if (input.kind === "tensors") return input;
  if (manifest.preprocess === undefined) {
    throw fail("input_invalid", "This model takes tensors; its manifest does not say how to read a picture.");
  }
  return { kind: "picture", ...(await preprocessImage(input.image, manifest.preprocess)) };
}

export class ServedModel {
  readonly provider: string;
  readonly #model: LoadedModel;
  readonly #manifest: Manifest;

  constructor(model: LoadedModel, manifest: Manifest) {
    this.#model = model;
    this.#manifest = manifest;
    this.provider = model.provider;
  }

  run(input: PreparedInput, outputs?: readonly string[]): Promise<Tensor[]> {
    return this.runTensors(this.tensorsOf(input), outputs);
  }

  runTensors(tensors: readonly Tensor[], outputs?: readonly string[]): Promise<Tensor[]> {
    return this.#model.run(tensors, this.#fetchNames(outputs));
  }

  /** @throws `input_invalid` for a picture when it is unclear which input takes it. */
  tensorsOf(input: PreparedInput): readonly Tensor[] {
    if (input.kind === "tensors") return input.tensors;
    const name = this.#manifest.preprocess?.tensor ?? this.#onlyInput();
    const data = new Uint8Array(input.data.buffer, input.data.byteOffset, input.data.byteLength);
    return [{ name, datatype: "FP32", shape: input.shape, data }];
  }

  /** How tasks may be joined; undefined when the manifest says nothing of it, or some input or output has not one row for each. */
  get batching(): Batching | undefined {
    const { batching } = this.#manifest;
    if (batching === undefined) return undefined;
    const { inputs, outputs } = this.#model;
    return [...inputs, ...outputs].every(({ shape }) => shape[0] === ANY_SIZE) ? batching : undefined;
  }

  /** All outputs, as the model gives them. */
  compute(tensors: readonly Tensor[]): Promise<Tensor[]> {
    return this.#model.run(tensors);
  }

  /** With predictions, tensors are returned only when `outputs` names them: they would say the same in more bytes. */
  finish(tensors: readonly Tensor[], outputs?: readonly string[]): TaskOutput {
    const spec = this.#manifest.postprocess;
    if (spec === undefined) return { kind: "output", tensors: [...tensors] };
    const scores = tensors.find((tensor) => tensor.name === this.#scoresName());
    const predictions = scores && classify(scores, spec);
    if (predictions === undefined) return { kind: "output", tensors: [...tensors] };
    const wanted = tensors.filter((tensor) => outputs?.includes(tensor.name));
    return { kind: "output", tensors: wanted, predictions };
  }

  /** @throws `model_load_failed` when a golden example gives another answer than the manifest says. */
  async checkGolden(): Promise<void> {
    for (const [index, example] of (this.#manifest.golden ?? []).entries()) {
      const image = new Uint8Array(Buffer.from(example.image, "base64"));
      const prepared = await prepareInput({ kind: "image", image }, this.#manifest);
      const [best] = this.finish(await this.run(prepared)).predictions ?? [];
      if (best === undefined) throw fail("model_load_failed", "Golden examples need `postprocess`.");
      if (best.label === example.label && best.score >= example.min_score) continue;
      const seen = `\`${best.label}\` with ${best.score.toFixed(3)}`;
      throw fail(
        "model_load_failed",
        `Golden example ${index} is not reproduced on ${this.provider}: expected \`${example.label}\` with at least ${example.min_score}, got ${seen}.`,
      );
    }
  }

  release(): Promise<void> {
    return this.#model.release();
  }

  #onlyInput(): string {
    const [first, ...others] = this.#model.inputs;
    if (first !== undefined && others.length === 0) return first.name;
    throw fail(
      "input_invalid",
      "The model has several inputs; `preprocess.tensor` must say which takes the picture.",
    );
  }

  #scoresName(): string | undefined {
    return this.#manifest.postprocess?.tensor ?? this.#model.outputs[0]?.name;
  }

  /** The scores are needed for the labels even when the caller did not ask for them. */
  #fetchNames(outputs?: readonly string[]): readonly string[] | undefined {
    const scores = this.#scoresName();
    if (this.#manifest.postprocess === undefined || scores === undefined) return outputs;
    return [...new Set([scores, ...(outputs ?? [])])];
  }
}
