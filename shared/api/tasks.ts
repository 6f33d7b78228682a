/** Wire form of tasks on HTTP. Durations are in milliseconds, times are ISO 8601 in UTC. */

import { z } from "zod";
import { modelNameSchema, modelVersionSchema } from "../manifest.ts";
import {
  ATTEMPT_OUTCOMES,
  COPY_PURPOSES,
  DURABILITIES,
  PRIORITIES,
  RETRY_CAUSES,
  STRATEGY_NAMES,
  TASK_STATES,
} from "../task.ts";
import { inferRequestSchema, inferResponseSchema } from "./inference.ts";

export const prioritySchema = z.enum(PRIORITIES);
/** At most a week. */
export const deadlineMsSchema = z.int().min(1).max(604_800_000);

/** A client may choose the id itself (`PUT /tasks/{id}`): a ULID in lower case, so that ids sort by age. */
export const taskIdSchema = z
  .string()
  .regex(
    /^task_[0-7][0-9a-hjkmnp-tv-z]{25}$/,
    "expected `task_` and a ULID in lower case (26 characters of Crockford's base 32)",
  );

export const taskInputJsonSchema = z.union(
  [
    z.strictObject({ image: z.base64() }),
    z.strictObject({ upload: z.string().max(64) }),
    inferRequestSchema.pick({ inputs: true, outputs: true }).strict(),
  ],
  { error: "either {image: base64}, {upload: id} or {inputs: [tensor, …]}" },
);

const shortText = z.string().min(1).max(64);
const fewEntries = (entries: object): boolean => Object.keys(entries).length <= 16;
export const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine(fewEntries, "at most 16 entries");

export const retryJsonSchema = z.strictObject({
  /** Attempts that a worker began, or that failed. */
  max_attempts: z.int().min(1).max(20).optional(),
  /** Upper bound of the first wait; it doubles with every retry, and each wait is drawn between 0 and the bound. */
  backoff_ms: z.int().min(0).max(60_000).optional(),
  on: z.array(z.enum(RETRY_CAUSES)).max(RETRY_CAUSES.length).optional(),
});

export const placementJsonSchema = z.strictObject({
  sites: z.array(shortText).min(1).max(64).optional(),
  labels: z.record(shortText, z.string().max(64)).refine(fewEntries, "at most 16 entries").optional(),
  providers: z.array(shortText).min(1).max(16).optional(),
  min_vram_mb: z.int().min(1).max(10_000_000).optional(),
  /** Families of graphics cards, one of which it must have, like `Polaris`. */
  families: z.array(shortText).min(1).max(32).optional(),
  /** Regions that the data may be in: the worker's label `region` must be one of them. */
  residency: z.array(shortText).min(1).max(64).optional(),
});

export const WEBHOOK_EVENT_NAMES = ["started", "completed"] as const;
export const taskWebhookSchema = z.union(
  [
    z.strictObject({
      url: z.url().max(2000),
      events: z.array(z.enum(WEBHOOK_EVENT_NAMES)).min(1).optional(),
    }),
    z.strictObject({
      endpoint: z.string().max(64),
      events: z.array(z.enum(WEBHOOK_EVENT_NAMES)).min(1).optional(),
    }),
  ],
  { error: "either {url} or {endpoint: id of a registered one}, each with optional `events`" },
);

/** What single tasks and batches have in common. */
export const taskOptionsSchema = z.strictObject({
  model: modelNameSchema,
  /** Absent: the newest version. */
  version: modelVersionSchema.optional(),
  priority: prioritySchema.default("NORMAL"),
  /** From now to the final answer. Absent: no deadline. */
  deadline_ms: deadlineMsSchema.optional(),
  /** How long the model may compute, at most an hour. Absent: the worker's own limit. */
  execution_timeout_ms: z.int().min(1).max(3_600_000).optional(),
  /** How long the result is kept, at most a week. Absent: a day. */
  result_ttl_s: z.int().min(1).max(604_800).optional(),
  retry: retryJsonSchema.optional(),
  placement: placementJsonSchema.optional(),
  /** False: never a second copy of it beside the first, however late the answer is. */
  hedge: z.boolean().optional(),
  /** Refused with 409 unless a worker is connected that could run it. Default: it waits for one. */
  no_wait: z.boolean().optional(),
  webhook: taskWebhookSchema.optional(),
  metadata: metadataSchema.optional(),
  tags: z.array(shortText).max(16).optional(),
  durability: z.enum(DURABILITIES).default("flushed"),
});

/** Body of `POST /tasks` and `PUT /tasks/{id}`. */
export const createTaskSchema = taskOptionsSchema.extend({ input: taskInputJsonSchema });
export type CreateTask = z.input<typeof createTaskSchema>;
export type TaskOptions = z.infer<typeof taskOptionsSchema>;

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
  /** The fencing token. */
  token: z.int(),
  outcome: z.enum(["sent", "running", ...ATTEMPT_OUTCOMES]),
  /** Of a copy that was sent while another worker had the task: why. Absent: it is none. */
  purpose: z.enum(COPY_PURPOSES).optional(),
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

/** How the worker was chosen, or would be chosen now. */
export const choiceJsonSchema = z.object({
  strategy: z.enum(STRATEGY_NAMES),
  decided_at: timestamp,
  /** Null: it waits. */
  chosen: z.string().nullable(),
  candidates: z.array(
    z.object({
      worker: z.string(),
      site: z.string(),
      /** Why it was chosen or not. */
      verdict: z.string(),
      /** Until the answer; null where the worker cannot have the task at all. */
      predicted_ms: z.number().nullable(),
      /** Of what the prediction consists. */
      parts: z
        .object({
          rtt_ms: z.number(),
          wait_ms: z.number(),
          service_ms: z.number(),
          load_ms: z.number(),
          transfer_ms: z.number(),
        })
        .nullable(),
    }),
  ),
});
export type ChoiceJson = z.infer<typeof choiceJsonSchema>;

export const taskJsonSchema = z.object({
  id: z.string(),
  object: z.literal("task"),
  model: z.string(),
  version: z.string(),
  status: z.enum(TASK_STATES),
  priority: prioritySchema,
  durability: z.enum(DURABILITIES),
  /** Why a PENDING task is not running. */
  reason: z.string().optional(),
  /** Only while it waits: how many go before it, at most, and when it will start, if that can be known. */
  queue: z.object({ position: z.int(), eta_ms: z.number().optional() }).optional(),
  /** Only while a worker prepares it. */
  progress: z.object({ phase: z.string(), percent: z.number().optional() }).optional(),
  /** Only when it is false: never a second copy of it beside the first. */
  hedge: z.boolean().optional(),
  /** Only when it was asked for, and is known. */
  choice: choiceJsonSchema.optional(),
  attempt: z.int(),
  max_attempts: z.int(),
  created_at: timestamp,
  /** When it entered the queue last: at its creation, or when its owner asked for another try. */
  queued_at: timestamp,
  started_at: timestamp.nullable(),
  completed_at: timestamp.nullable(),
  deadline_at: timestamp.nullable(),
  /** When the result is removed. */
  expires_at: timestamp.nullable(),
  attempts: z.array(attemptJsonSchema),
  timings_ms: timingsJsonSchema.nullable(),
  error: wireErrorJsonSchema.nullable(),
  /** Null also in lists and when it is over a mebibyte: then it is at `urls.result`. */
  result: inferResponseSchema.nullable(),
  result_bytes: z.int().nullable(),
  /** Automatic retries have given it up; `POST …/retry` tries again. */
  dead_letter: z.boolean(),
  /** Input and output are gone: removed by the owner, or expired. */
  data_removed: z.boolean(),
  batch: z.object({ id: z.string(), index: z.int(), external_reference: z.string().optional() }).optional(),
  urls: z.object({
    self: z.string(),
    result: z.string(),
    events: z.string(),
    cancel: z.string(),
    retry: z.string(),
  }),
  metadata: z.record(z.string(), z.string()),
  tags: z.array(z.string()),
});
export type TaskJson = z.infer<typeof taskJsonSchema>;

/** Query of what makes or shows a task: whether how its worker is chosen is to be told. */
export const explainQuerySchema = z.strictObject({
  explain: z
    .enum(["1", "true", "0", "false"])
    .transform((given) => given === "1" || given === "true")
    .optional(),
});

export const listTasksQuerySchema = z.strictObject({
  state: z.enum(TASK_STATES).optional(),
  model: modelNameSchema.optional(),
  site: shortText.optional(),
  tag: shortText.optional(),
  batch: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(64).optional(),
});

/** Query of `GET /dead-letters`. */
export const listDeadLettersQuerySchema = listTasksQuerySchema.omit({ state: true, batch: true });

export const taskListSchema = z.object({
  tasks: z.array(taskJsonSchema),
  next_cursor: z.string().nullable(),
});
export type TaskList = z.infer<typeof taskListSchema>;

/** Answer of `POST /dead-letters/retry` and `POST /dead-letters/purge`. */
export const deadLetterCountSchema = z.object({ count: z.int() });

/** `GET /models/{model}/queue` */
export const modelQueueSchema = z.object({
  model: z.string(),
  is_paused: z.boolean(),
  pending: z.int(),
  running: z.int(),
  oldest_age_ms: z.number().nullable(),
  workers: z.object({ ready: z.int(), busy: z.int(), loading: z.int(), unable: z.int() }),
  /** From submission to the end, of the latest completed tasks. */
  delay_ms: z.object({ p50: z.number(), p95: z.number() }).nullable(),
});
export type ModelQueueJson = z.infer<typeof modelQueueSchema>;
