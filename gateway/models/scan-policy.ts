/** What a model may be made of to be accepted, and how it is refused. */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";

export interface ScanPolicy {
  /** Operators come from these or from a function that the file itself defines. "" and ai.onnx are the same. */
  readonly allowedDomains: readonly string[];
  /**
   * bounded: a Loop is refused when it can be seen that nothing ends it. Numbers of rounds that are computed pass, because decoders and
   * scripted models are full of them; what they cost is held in check by the time limit of whoever runs the model.
   */
  readonly loops: "bounded" | "any";
  /** Rounds of a Loop whose condition never changes. */
  readonly maxLoopRounds: number;
  /** Graphs within graphs. */
  readonly maxGraphDepth: number;
  /** Over all graphs, which count as well; each function counts as often as it is called. */
  readonly maxNodes: number;
  /** Functions that call functions. */
  readonly maxCallDepth: number;
  /** Of one tensor as the file declares it. A sparse one counts as it will lie in memory. */
  readonly maxTensorBytes: number;
  readonly maxTotalTensorBytes: number;
  /** Of a result whose size the file itself determines, such as a ConstantOfShape of a constant shape. */
  readonly maxResultBytes: number;
  /** Of one string in an attribute. */
  readonly maxStringBytes: number;
}

const GIB = 1024 ** 3;

export const DEFAULT_SCAN_POLICY: ScanPolicy = {
  allowedDomains: ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"],
  loops: "bounded",
  maxLoopRounds: 10_000_000,
  maxGraphDepth: 16,
  maxNodes: 200_000,
  maxCallDepth: 64,
  maxTensorBytes: 2 * GIB,
  maxTotalTensorBytes: 4 * GIB,
  maxResultBytes: 2 * GIB,
  maxStringBytes: 16 * 1024 * 1024,
};

/** Why a file was refused: `details.reason`. Those of the decoder are in shared/onnx. */
export type ScanReason =
  | "external_data"
  | "unknown_operator_domain"
  | "operator_forbidden"
  | "nested_too_deep"
  | "too_many_nodes"
  | "tensor_type"
  | "tensor_dims"
  | "tensor_data"
  | "tensor_too_large"
  | "sparse_tensor"
  | "result_too_large"
  | "endless_loop"
  | "function_recursion"
  | "duplicate_name"
  | "invalid_name"
  | "string_too_long";

export function refusal(reason: ScanReason, message: string): LegacyGpuError {
  return fail("model_invalid", message, { reason });
}

/** A name from a file as a message may show it. */
export function shown(name: string | undefined): string {
  const visible = (name ?? "").replace(/[\p{Cc}\ufffd]/gu, "?");
  return `'${visible.length > 80 ? `${visible.slice(0, 80)}…` : visible}'`;
}
