/** Wire form of inference on HTTP, as the Open Inference Protocol has it: tensors, a request for them, the answer. */

import { z } from "zod";
import { DATATYPES } from "../tensor.ts";

/** One tensor in JSON: `data` is row-major, flat or nested. */
export const jsonTensorSchema = z.strictObject({
  name: z.string().min(1),
  datatype: z.enum(DATATYPES),
  shape: z.array(z.int().nonnegative()).max(32),
  data: z.array(z.unknown()),
  parameters: z.record(z.string(), z.unknown()).optional(),
});
export type JsonTensor = z.infer<typeof jsonTensorSchema>;

/** An Open Inference Protocol inference request; the model's name is in the address. */
export const inferRequestSchema = z.strictObject({
  id: z.string().max(256).optional(),
  parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  inputs: z.array(jsonTensorSchema).min(1).max(256),
  outputs: z
    .array(
      z.strictObject({ name: z.string().min(1), parameters: z.record(z.string(), z.unknown()).optional() }),
    )
    .max(256)
    .optional(),
});
export type InferRequest = z.infer<typeof inferRequestSchema>;

const anyParameters = z.record(z.string(), z.unknown()).nullish();

/**
 * The JSON part of `POST /v2/models/{m}/infer`: the same with tensors whose elements follow as bytes, and with null for what is not given, as
 * some clients write it. BF16 is known so that it can be refused for what it is.
 */
export const protocolRequestSchema = z.strictObject({
  id: z.string().max(256).nullish(),
  parameters: anyParameters,
  inputs: z
    .array(
      jsonTensorSchema.extend({
        datatype: z.enum([...DATATYPES, "BF16"]),
        data: z.array(z.unknown()).nullish(),
        parameters: anyParameters,
      }),
    )
    .min(1)
    .max(256),
  outputs: z
    .array(z.strictObject({ name: z.string().min(1), parameters: anyParameters }))
    .max(256)
    .nullish(),
});
export type ProtocolRequest = z.infer<typeof protocolRequestSchema>;

const predictionJsonSchema = z.object({ label: z.string(), index: z.int(), score: z.number() });

/** An Open Inference Protocol inference response; `predictions` is ours, for models that classify. */
export const inferResponseSchema = z.object({
  id: z.string().optional(),
  model_name: z.string(),
  model_version: z.string(),
  outputs: z.array(
    z.object({
      name: z.string(),
      datatype: z.enum(DATATYPES),
      shape: z.array(z.int()),
      /** JSON has no NaN and no infinity: they are null. Whole numbers beyond 2^53 are bigints, for readers that keep their digits. */
      data: z.array(z.union([z.number(), z.bigint(), z.boolean(), z.string(), z.null()])),
    }),
  ),
  predictions: z.array(predictionJsonSchema).optional(),
});
export type InferResponse = z.infer<typeof inferResponseSchema>;
