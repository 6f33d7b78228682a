/** Wire form of tasks on HTTP. Durations are in milliseconds, times are ISO 8601 in UTC. */

import { z } from "zod";
import { modelNameSchema, modelVersionSchema } from "../manifest.ts";
import { PRIORITIES, TASK_STATES } from "../task.ts";
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
      /** JSON has no NaN and no infinity: they are null. */
      data: z.array(z.union([z.number(), z.boolean(), z.string(), z.null()])),
    }),
  ),
  predictions: z.array(predictionJsonSchema).optional(),
});
export type InferResponse = z.infer<typeof inferResponseSchema>;

export const prioritySchema = z.enum(PRIORITIES);
/** At most a week. */
export const deadlineMsSchema = z.int().min(1).max(604_800_000);

export const taskInputJsonSchema = z.union(
  [z.strictObject({ image: z.base64() }), inferRequestSchema.pick({ inputs: true, outputs: true }).strict()],
  { error: "either {image: base64} or {inputs: [tensor, …]}" },
);

/** Body of `POST /tasks`. */
export const createTaskSchema = z.strictObject({
  model: modelNameSchema,
  /** Absent: the newest version. */
  version: modelVersionSchema.optional(),
  input: taskInputJsonSchema,
  priority: prioritySchema.default("NORMAL"),
  /** From now to the final answer. Absent: no deadline. */
  deadline_ms: deadlineMsSchema.optional(),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((entries) => Object.keys(entries).length <= 16, "at most 16 entries")
    .optional(),
});
export type CreateTask = z.input<typeof createTaskSchema>;

export const wireErrorJsonSchema = z.object({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  details: z.record(z.string(), z.unknown()).optional(),
});

const timestamp = z.string();

export const attemptJsonSchema = z.object({
  n: z.int(),
  worker: z.string(),
  site: z.string(),
  started_at: timestamp,
  ended_at: timestamp.nullable(),
  outcome: z.enum(["running", "completed", "failed", "worker_lost", "cancelled", "timed_out"]),
  error: wireErrorJsonSchema.optional(),
});

/** Where the time of the attempt that finished the task went. */
export const timingsJsonSchema = z.object({
  queue: z.number(),
  /** On the link and in the two processes beside the model: round trip minus the worker's own time. */
  network: z.number(),
  worker_queue: z.number(),
  fetch: z.number(),
  load: z.number(),
  preprocess: z.number(),
  execute: z.number(),
  postprocess: z.number(),
  total: z.number(),
});

export const taskJsonSchema = z.object({
  id: z.string(),
  object: z.literal("task"),
  model: z.string(),
  version: z.string(),
  status: z.enum(TASK_STATES),
  priority: prioritySchema,
  /** Why a PENDING task is not running. */
  reason: z.string().optional(),
  attempt: z.int(),
  max_attempts: z.int(),
  created_at: timestamp,
  started_at: timestamp.nullable(),
  completed_at: timestamp.nullable(),
  deadline_at: timestamp.nullable(),
  attempts: z.array(attemptJsonSchema),
  timings_ms: timingsJsonSchema.nullable(),
  error: wireErrorJsonSchema.nullable(),
  result: inferResponseSchema.nullable(),
  urls: z.object({ self: z.string(), cancel: z.string() }),
  metadata: z.record(z.string(), z.string()),
});
export type TaskJson = z.infer<typeof taskJsonSchema>;

export const listTasksQuerySchema = z.strictObject({
  state: z.enum(TASK_STATES).optional(),
  model: modelNameSchema.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(64).optional(),
});

export const taskListSchema = z.object({
  tasks: z.array(taskJsonSchema),
  next_cursor: z.string().nullable(),
});
export type TaskList = z.infer<typeof taskListSchema>;
