/** Models that take batches: which they are, and that the inputs of a request fit into one batch. */

import { fail } from "@legacygpu/shared/errors";
import type { Tensor } from "@legacygpu/shared/tensor";
import type { Catalogue, Model } from "../models/catalogue.ts";

/** Whether the first dimension of its tensors counts inferences. A model that is no longer known takes none. */
export function takesBatches(
  catalogue: Catalogue,
  { name, version }: { readonly name: string; readonly version: string },
): boolean {
  try {
    return catalogue.find(name, version).manifest.batching !== undefined;
  } catch {
    return false;
  }
}

/** How many tasks of a model, by name and version, may run as one. */
export function largestBatch(catalogue: Catalogue, model: string): number {
  const at = model.lastIndexOf("@");
  try {
    return catalogue.find(model.slice(0, at), model.slice(at + 1)).manifest.batching?.max_size ?? 1;
  } catch {
    return 1;
  }
}

/** @throws `input_invalid` */
export function checkBatch(tensors: readonly Tensor[], { ref, manifest }: Model): void {
  const maxSize = manifest.batching?.max_size;
  if (maxSize === undefined) return;
  const [first] = tensors;
  const size = first?.shape[0] ?? 1;
  if (size > maxSize)
    throw invalid(`inference request batch-size must be <= ${maxSize} for '${ref.name}'`, ref.name);
  const other = tensors.find(({ shape }) => (shape[0] ?? 1) !== size);
  if (other === undefined) return;
  const text = `input '${other.name}' batch size does not match other inputs for '${ref.name}': ${other.shape[0]} and ${size}`;
  throw invalid(text, ref.name);
}

function invalid(text: string, model: string): Error {
  return fail("input_invalid", `inputs: ${text}`, { path: "inputs", model });
}
