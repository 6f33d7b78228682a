/** Wire form of the model catalogue on HTTP. */

import { z } from "zod";
import { digestSchema, manifestSchema } from "../manifest.ts";
import { tensorSpecSchema } from "../tensor.ts";

/** Body of `PUT /models/{name}/versions/{version}`; the file was sent before with `PUT /blobs/{digest}`. */
export const putModelSchema = z.strictObject({
  file: digestSchema,
  manifest: manifestSchema.default({}),
});
export type PutModel = z.input<typeof putModelSchema>;

export const blobJsonSchema = z.object({ digest: digestSchema, size_bytes: z.number() });

export const modelJsonSchema = z.object({
  name: z.string(),
  version: z.string(),
  file: digestSchema,
  size_bytes: z.number(),
  description: z.string().optional(),
  inputs: z.array(tensorSpecSchema),
  outputs: z.array(tensorSpecSchema),
  /** Whether pictures can be sent. */
  accepts_images: z.boolean(),
  created_at: z.string(),
});
export type ModelJson = z.infer<typeof modelJsonSchema>;

export const modelListSchema = z.object({ models: z.array(modelJsonSchema) });
