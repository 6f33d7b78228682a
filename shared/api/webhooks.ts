/** Wire form of webhook endpoints and their deliveries on HTTP, and of the messages that endpoints receive. */

import { z } from "zod";
import { TASK_STATES } from "../task.ts";
import { taskJsonSchema, WEBHOOK_EVENT_NAMES } from "./tasks.ts";

/** `started` and `completed` of tasks, and what `POST /webhooks/{id}/test` sends. */
export const WEBHOOK_MESSAGE_TYPES = ["task.started", "task.completed", "webhook.test"] as const;
export type WebhookMessageType = (typeof WEBHOOK_MESSAGE_TYPES)[number];

export const DELIVERY_STATES = ["waiting", "delivered", "failed"] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

/** Body of `POST /webhooks`. */
export const createWebhookSchema = z.strictObject({
  /** HTTPS; plain HTTP only into networks that the operator allows. */
  url: z.url().max(2000),
  /** For tasks that do not name events themselves. Absent: `completed`, which is every final state. */
  events: z.array(z.enum(WEBHOOK_EVENT_NAMES)).min(1).max(8).optional(),
  description: z.string().max(256).optional(),
});
export type CreateWebhook = z.input<typeof createWebhookSchema>;

const timestamp = z.string();

export const webhookJsonSchema = z.object({
  id: z.string(),
  object: z.literal("webhook"),
  /** The id of the key that registered it. */
  owner: z.string(),
  url: z.string(),
  events: z.array(z.enum(WEBHOOK_EVENT_NAMES)),
  description: z.string().nullable(),
  /** Nothing is sent to a disabled one; `POST …/enable` changes that. */
  state: z.enum(["active", "disabled"]),
  disabled_reason: z.string().nullable(),
  /** Nothing has got through since. */
  failing_since: timestamp.nullable(),
  /** The secret before the last rotation signs as well, until then. */
  previous_secret_until: timestamp.nullable(),
  created_at: timestamp,
});
export type WebhookJson = z.infer<typeof webhookJsonSchema>;

/** Answer of `POST /webhooks` and of `…/rotate-secret`: the only times that the secret is shown. */
export const webhookWithSecretSchema = webhookJsonSchema.extend({ secret: z.string() });
export type WebhookWithSecret = z.infer<typeof webhookWithSecretSchema>;

export const listWebhooksQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(64).optional(),
});

/** Oldest first. */
export const webhookListSchema = z.object({
  webhooks: z.array(webhookJsonSchema),
  next_cursor: z.string().nullable(),
});

export const deliveryJsonSchema = z.object({
  /** Sent as `webhook-id`, the same with every try. */
  id: z.string(),
  object: z.literal("delivery"),
  webhook: z.string(),
  event: z.enum(WEBHOOK_MESSAGE_TYPES),
  task: z.string().nullable(),
  state: z.enum(DELIVERY_STATES),
  /** Why it failed. */
  reason: z.string().nullable(),
  created_at: timestamp,
  /** Of the next try, while it waits. */
  next_at: timestamp.nullable(),
  /** The latest ones, oldest first. */
  attempts: z.array(
    z.object({
      at: timestamp,
      /** Of the answer, when there was one. */
      status: z.int().nullable(),
      /** What went wrong, when there was no answer. */
      error: z.string().nullable(),
      duration_ms: z.number(),
    }),
  ),
});
export type DeliveryJson = z.infer<typeof deliveryJsonSchema>;

export const listDeliveriesQuerySchema = z.strictObject({
  state: z.enum(DELIVERY_STATES).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(100),
  /** `next_cursor` of the page before. */
  cursor: z.string().max(64).optional(),
});

/** Newest first. With `state`, a page can be shorter than its limit although more follow: `next_cursor` tells. */
export const deliveryListSchema = z.object({
  deliveries: z.array(deliveryJsonSchema),
  next_cursor: z.string().nullable(),
});

/** What is said of a task that the gateway no longer knows. */
export const forgottenTaskSchema = z.object({
  id: z.string(),
  object: z.literal("task"),
  status: z.enum(TASK_STATES),
});

const taskMessageSchema = z.object({
  type: z.enum(["task.started", "task.completed"]),
  /** When it happened; the task is shown as it stood when the message was sent. */
  timestamp,
  /** `result` is null when it is over 20 kB: then it is at `urls.result`. */
  data: z.union([taskJsonSchema, forgottenTaskSchema]),
});
const testMessageSchema = z.object({
  type: z.literal("webhook.test"),
  timestamp,
  data: z.object({ webhook: z.string() }),
});
const anyMessageSchema = z.object({ type: z.string(), timestamp, data: z.unknown() });

/** The body of a webhook. What a newer gateway sends and this version does not understand becomes `unknown`, with the original kept. */
export const webhookMessageSchema = z.union([
  taskMessageSchema,
  testMessageSchema,
  anyMessageSchema.transform(({ type, ...rest }) => ({
    type: "unknown" as const,
    originalType: type,
    timestamp: rest.timestamp,
    data: rest.data,
  })),
]);
export type WebhookMessage = z.infer<typeof webhookMessageSchema>;
