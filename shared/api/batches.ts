/** Wire form of batches on HTTP: many inputs for one model, made and asked for together. */

import { z } from "zod";
import { TASK_STATES } from "../task.ts";
import { inferResponseSchema } from "./inference.ts";
import { metadataSchema, taskInputJsonSchema, taskOptionsSchema, wireErrorJsonSchema } from "./tasks.ts";

export const batchItemSchema = z.strictObject({
  input: taskInputJsonSchema,
  /** The caller's own name for it, unique within the batch. */
  external_reference: z.string().min(1).max(256).optional(),
  metadata: metadataSchema.optional(),
});
export const MAX_BATCH_ITEMS = 10_000;
const batchItems = z.array(batchItemSchema).min(1).max(MAX_BATCH_ITEMS);

/** Body of `POST /batches`: everything but the inputs holds for all of them. */
export const createBatchSchema = taskOptionsSchema.extend({ items: batchItems });
export type CreateBatch = z.input<typeof createBatchSchema>;
/** Body of `POST /batches/{id}/items`: more of the same. */
export const addBatchItemsSchema = z.strictObject({ items: batchItems });
export type AddBatchItems = z.input<typeof addBatchItemsSchema>;

export const batchJsonSchema = z.object({
  id: z.string(),
  object: z.literal("batch"),
  model: z.string(),
  version: z.string(),
  created_at: z.string(),
  /** COMPLETED when every task has ended, in whatever state. */
  status: z.enum(["RUNNING", "COMPLETED"]),
  counts: z.object({
    total: z.int(),
    pending: z.int(),
    running: z.int(),
    completed: z.int(),
    failed: z.int(),
    cancelled: z.int(),
    timed_out: z.int(),
  }),
  urls: z.object({ self: z.string(), items: z.string(), results: z.string(), cancel: z.string() }),
});
export type BatchJson = z.infer<typeof batchJsonSchema>;

/** One line of `GET /batches/{id}/results`, in the order of the items. */
export const batchResultSchema = z.object({
  index: z.int(),
  external_reference: z.string().optional(),
  task: z.string(),
  status: z.enum(TASK_STATES),
  result: inferResponseSchema.nullable(),
  error: wireErrorJsonSchema.nullable(),
});
export type BatchResult = z.infer<typeof batchResultSchema>;
