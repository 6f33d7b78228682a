/** One run for several tasks. */

import { asLegacyGpuError, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Tensor } from "@legacygpu/shared/tensor";
import { type BatchPart, joinParts, splitRows } from "./batch-tensors.ts";
import type { ServedModel } from "./served-model.ts";

export interface BatchTimings {
  /** Making one input of them. */
  readonly preprocessMs: number;
  /** Of the whole batch. */
  readonly executeMs: number;
}

export type BatchOutcome =
  | {
      readonly kind: "done";
      readonly outputs: readonly (readonly Tensor[])[];
      readonly timings: BatchTimings;
    }
  | { readonly kind: "failed"; readonly error: LegacyGpuError }
  /** It cannot be said which part of the answer is whose. */
  | { readonly kind: "not_rows"; readonly reason: string };

/** @param parts of one kind */
export async function runAsOne(
  model: ServedModel,
  parts: readonly BatchPart[],
  outputs: readonly string[] | undefined,
): Promise<BatchOutcome> {
  const begunAt = performance.now();
  try {
    const joined = joinParts(parts);
    const joinedAt = performance.now();
    const tensors = await model.runTensors(joined, outputs);
    const timings = { preprocessMs: joinedAt - begunAt, executeMs: performance.now() - joinedAt };
    const rows = splitRows(
      tensors,
      parts.map((part) => part.rows),
    );
    return typeof rows === "string"
      ? { kind: "not_rows", reason: rows }
      : { kind: "done", outputs: rows, timings };
  } catch (error) {
    return { kind: "failed", error: asLegacyGpuError(error) };
  }
}
