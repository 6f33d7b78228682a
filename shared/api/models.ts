/** Wire form of the model catalogue on HTTP. */

import { z } from "zod";
import { digestSchema, manifestSchema, modelVersionSchema } from "../manifest.ts";
import { tensorSpecSchema } from "../tensor.ts";

/** protobuf itself cannot hold more. */
export const MAX_MODEL_BYTES = 2 * 1024 ** 3;

/** Body of `PUT /models/{name}/versions/{version}`; the file was sent before with `PUT /blobs/{digest}`. */
export const putModelSchema = z.strictObject({
  file: digestSchema,
  manifest: manifestSchema.default({}),
});
export type PutModel = z.input<typeof putModelSchema>;

/** Body of `PUT /models/{name}/aliases/{alias}`; a version may be named by another alias. */
export const putAliasSchema = z.strictObject({ version: modelVersionSchema });

export const aliasJsonSchema = z.object({ model: z.string(), alias: z.string(), version: z.string() });
export type AliasJson = z.infer<typeof aliasJsonSchema>;

const wholeBytes = z
  .string()
  .regex(/^\d{1,15}$/, "a whole number of bytes")
  .transform(Number);

/** Query of `PUT /blobs/{digest}`. */
export const putBlobQuerySchema = z
  .strictObject({
    /** Where in the whole file the body begins. Absent: at the beginning, and nothing is kept of a body that breaks off. */
    offset: wholeBytes.optional(),
    /** Size of the whole file. Absent: it ends where the body ends. */
    bytes: wholeBytes.optional(),
  })
  .refine(({ offset, bytes }) => bytes === undefined || offset !== undefined, {
    path: ["bytes"],
    message: "goes with ?offset=",
  });

export const blobJsonSchema = z.object({ digest: digestSchema, size_bytes: z.number() });

/** How far a file has come; `offset` is where the next bytes begin. */
export const blobUploadJsonSchema = z.object({
  digest: digestSchema,
  offset: z.number(),
  complete: z.boolean(),
});
export type BlobUploadJson = z.infer<typeof blobUploadJsonSchema>;

export const modelJsonSchema = z.object({
  name: z.string(),
  version: z.string(),
  /** The names that point to this version; `latest` points to the one that was pushed last. */
  aliases: z.array(z.string()).default([]),
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

const describedTensorSchema = tensorSpecSchema.extend({
  /** A size, the name that the file gives to a size which may vary, or null for one without a name. */
  dimensions: z.array(z.union([z.number(), z.string(), z.null()])),
});

/** What the file consists of, as it says itself. */
export const modelContentsJsonSchema = z.object({
  /** The program that wrote it, where it says so. */
  producer: z.string().optional(),
  ir_version: z.number(),
  opset_imports: z.array(z.object({ domain: z.string(), version: z.number() })),
  /** The most frequent first. */
  operators: z.array(z.object({ domain: z.string(), name: z.string(), count: z.number() })),
  /** Over all graphs and functions. */
  nodes: z.number(),
  /** Elements of all weights, and their bytes in memory. */
  parameters: z.number(),
  parameter_bytes: z.number(),
});
export type ModelContentsJson = z.infer<typeof modelContentsJsonSchema>;

/** `GET /models/{name}/versions/{version}` */
export const modelDetailsSchema = modelJsonSchema.extend({
  inputs: z.array(describedTensorSchema),
  outputs: z.array(describedTensorSchema),
  manifest_digest: digestSchema,
  manifest: z.record(z.string(), z.unknown()),
  /** Absent for versions of an earlier gateway whose file cannot be read any more. */
  contents: modelContentsJsonSchema.optional(),
});
export type ModelDetails = z.infer<typeof modelDetailsSchema>;

/** What `DELETE` has removed. */
export const removedModelsSchema = z.object({
  removed: z.array(z.object({ name: z.string(), version: z.string() })),
  /** Tasks that waited or ran, and have failed by it. */
  failed_tasks: z.number(),
});
export type RemovedModels = z.infer<typeof removedModelsSchema>;
