/**
 * Tensors as they travel: name, Open Inference Protocol datatype, shape, and little-endian row-major bytes.
 *
 * BYTES elements are a uint32 length followed by the bytes, one after the other.
 */

import { z } from "zod";

export const DATATYPES = [
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "FP32",
  "FP64",
  "BYTES",
] as const;
export type Datatype = (typeof DATATYPES)[number];

/** Bytes of one element; 0 for BYTES, whose elements differ in length. */
export const ELEMENT_BYTES: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  FP32: 4,
  FP64: 8,
  BYTES: 0,
};

/** What a model declares about one input or output; -1 is a dimension that may take any size. */
export const tensorSpecSchema = z.object({
  name: z.string(),
  datatype: z.enum(DATATYPES),
  shape: z.array(z.int().min(-1)),
});
export type TensorSpec = z.infer<typeof tensorSpecSchema>;

export const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array, "bytes");

export const tensorSchema = z.object({
  name: z.string(),
  datatype: z.enum(DATATYPES),
  shape: z.array(z.int().nonnegative()),
  data: bytesSchema,
});
export type Tensor = z.infer<typeof tensorSchema>;

export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) count *= dimension;
  return count;
}
