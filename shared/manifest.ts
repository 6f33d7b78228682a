/**
 * The manifest of a model: what to do around the ONNX graph.
 *
 * With `preprocess`, clients send pictures as files (JPEG, PNG, WebP, …) and the worker makes the tensor; with `postprocess`,
 * they get labels instead of raw numbers. Without either the model takes and gives tensors.
 */

import { z } from "zod";

const channelValues = z.union([z.number(), z.array(z.number()).min(1).max(4)]);

export const preprocessSchema = z.strictObject({
  kind: z.literal("image"),
  /** The input that takes the picture. Default: the model's only input. */
  tensor: z.string().optional(),
  width: z.int().min(1).max(8192),
  height: z.int().min(1).max(8192),
  layout: z.enum(["NCHW", "NHWC"]).default("NCHW"),
  colors: z.enum(["RGB", "BGR", "GRAY"]).default("RGB"),
  /** fill: stretch; contain: keep proportions, pad with `background`; cover: keep proportions, crop the centre. */
  fit: z.enum(["fill", "contain", "cover"]).default("fill"),
  /** Colour behind transparent pixels and beside a contained picture, as #rrggbb. */
  background: z
    .string()
    .regex(/^#[0-9a-fA-F]{6}$/, "a colour as #rrggbb")
    .default("#ffffff"),
  /** Each value becomes (pixel × scale − mean) / std, with pixels from 0 to 255. */
  scale: z
    .number()
    .positive()
    .default(1 / 255),
  mean: channelValues.default(0),
  std: channelValues.default(1),
});
export type Preprocess = z.infer<typeof preprocessSchema>;

export const postprocessSchema = z.strictObject({
  kind: z.literal("classification"),
  /** The output that holds the scores. Default: the model's only output. */
  tensor: z.string().optional(),
  /** Whether the scores are logits that need a softmax. */
  softmax: z.boolean().default(true),
  top_k: z.int().min(1).max(1000).default(5),
  /** The name of each class, by index. Default: the index itself. */
  labels: z.array(z.string().max(200)).max(100_000).optional(),
});
export type Postprocess = z.infer<typeof postprocessSchema>;

/** A known input with the answer that the model must give for it. */
export const goldenExampleSchema = z.strictObject({
  /** The picture, base64. */
  image: z.base64(),
  label: z.string(),
  /** The least score that `label` must reach. */
  min_score: z.number().min(0).max(1).default(0.5),
});

export const PROVIDERS = ["cpu", "webgpu", "cuda", "tensorrt", "dml", "coreml"] as const;
export type ProviderName = (typeof PROVIDERS)[number];

/** What a worker must have to run the model. */
export const requirementsSchema = z.strictObject({
  /** Execution providers that may run it, in the order of preference. Default: whatever the worker has, in its own order. */
  providers: z.array(z.enum(PROVIDERS)).min(1).optional(),
  /** GPU memory that the model takes, MiB: only on cards that have it free. */
  min_vram_mb: z.int().min(1).max(1_048_576).optional(),
});

export type Requirements = z.infer<typeof requirementsSchema>;

/** Waiting tasks that are run as one along the first dimension. */
export const batchingSchema = z.strictObject({
  /** Tasks in one run, at most. */
  max_size: z.int().min(1).max(1024),
  /** How long a task may wait for others, when others are on their way. A task that is alone never waits. */
  max_delay_ms: z.number().min(0).max(1000).default(0),
});

/** How far a provider's answer may be from the CPU's: |a − b| ≤ absolute + relative × |b| for every element. */
export const toleranceSchema = z.strictObject({
  absolute: z.number().min(0).default(1e-3),
  relative: z.number().min(0).max(1).default(1e-2),
});

export const manifestSchema = z.strictObject({
  /** For editors, which then know the fields: the address or path of this form. Not kept. */
  $schema: z.string().max(2000).optional(),
  description: z.string().max(2000).optional(),
  preprocess: preprocessSchema.optional(),
  postprocess: postprocessSchema.optional(),
  requirements: requirementsSchema.optional(),
  batching: batchingSchema.optional(),
  /** Runs of this model at a time on one worker, at most. Default: as many as the worker has slots. */
  concurrency: z.int().min(1).max(1024).optional(),
  /** Seconds without a task after which a worker forgets the loaded model. Default: it keeps it while there is room. */
  idle_seconds: z.int().min(1).max(604_800).optional(),
  tolerance: toleranceSchema.optional(),
  golden: z.array(goldenExampleSchema).max(16).optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** One safe path segment: it becomes part of URLs and of file names. */
export const modelNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    "1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit",
  )
  .refine((name) => name !== "stats", "'stats' is reserved");
export const modelVersionSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "1 to 64 letters, digits, '.', '_' or '-'");

/** `sha256:` and 64 hexadecimal digits, lower case. */
export const digestSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/, "sha256: and 64 hexadecimal digits");
export type Digest = z.infer<typeof digestSchema>;
