/**
 * Bytes ↔ ONNX models.
 *
 * Decoding copies no weights, so a model of 100 MB costs little more than its bytes.
 */

import { asLegacyGpuError, fail, type LegacyGpuError } from "./errors.ts";
import type { OnnxModel } from "./onnx/model.ts";
import { modelType } from "./onnx/schema.ts";
import { strictPass } from "./onnx/strict-pass.ts";

export * from "./onnx/model.ts";
export * from "./onnx/tensor-data.ts";

export function encodeModel(model: OnnxModel): Uint8Array {
  return modelType.encode(model as object).finish();
}

/**
 * Reads untrusted bytes. What a message does not have is left out; binary fields are views into `bytes`.
 * @throws `model_invalid` when they are no ONNX model.
 */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  const model = decodeMessage(bytes);
  if (model.graph === undefined) throw notOnnx("it has no graph");
  if (!(Number(model.irVersion) > 0)) throw notOnnx("it has no IR version");
  return model as OnnxModel;
}

function decodeMessage(bytes: Uint8Array): Partial<OnnxModel> {
  try {
    strictPass(modelType, bytes);
    return modelType.toObject(modelType.decode(bytes), { longs: Number });
  } catch (error) {
    const known = asLegacyGpuError(error);
    throw known.code === "model_invalid" ? known : notOnnx((error as Error).message, error);
  }
}

function notOnnx(why: string, cause?: unknown): LegacyGpuError {
  return fail("model_invalid", `This is not an ONNX model: ${why}.`, { reason: "not_onnx" }, cause);
}
