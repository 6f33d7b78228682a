/**
 * One message for one endpoint, with its tries, and the moves between its states.
 *
 * waiting    the next try is due at `nextAtMs`
 * delivered  a try was answered with 2xx
 * failed     given up: `reason` says why
 *
 * waiting → waiting (one more try), delivered, failed by `afterTry`; waiting → failed by `givenUp`; any → waiting by `sentAgain`, which its owner
 * asks for. The id never changes, so that a receiver recognises what it has had already.
 */

import { DELIVERY_STATES, type DeliveryJson, WEBHOOK_MESSAGE_TYPES } from "@legacygpu/shared/api/webhooks";
import type { Random } from "@legacygpu/shared/clock";
import { TASK_STATES } from "@legacygpu/shared/task";
import { z } from "zod";
import { delayAfterMs, maxTriesOf } from "./retry-schedule.ts";

/** Tries that are kept for its owner to look at. */
const MAX_LOGGED = 30;

export const deliverySchema = z.object({
  id: z.string(),
  endpointId: z.string(),
  owner: z.string(),
  event: z.enum(WEBHOOK_MESSAGE_TYPES),
  /** Absent: a test. */
  task: z
    .object({
      id: z.string(),
      /** When it happened: all that can be said of a task that is forgotten meanwhile. */
      state: z.enum(TASK_STATES),
    })
    .optional(),
  createdAtMs: z.number(),
  state: z.enum(DELIVERY_STATES),
  reason: z.string().optional(),
  /** Since it was made, or since its owner asked for another one. */
  tries: z.int(),
  attempts: z.array(
    z.object({
      atMs: z.number(),
      status: z.int().optional(),
      error: z.string().optional(),
      durationMs: z.number(),
    }),
  ),
  /** While it waits. */
  nextAtMs: z.number().optional(),
  endedAtMs: z.number().optional(),
});
export type Delivery = Readonly<z.infer<typeof deliverySchema>>;
export type DeliveryAttempt = Readonly<Delivery["attempts"][number]>;

/** What a try has led to. */
export interface TryResult {
  readonly attempt: DeliveryAttempt;
  /** What the receiver asked for with `Retry-After`. */
  readonly retryAfterMs?: number | undefined;
}

export const GONE = 410;

export function newDelivery(
  order: Pick<Delivery, "id" | "endpointId" | "owner" | "event" | "task">,
  nowMs: number,
): Delivery {
  return {
    id: order.id,
    endpointId: order.endpointId,
    owner: order.owner,
    event: order.event,
    task: order.task,
    createdAtMs: nowMs,
    state: "waiting",
    tries: 0,
    attempts: [],
    nextAtMs: nowMs,
  };
}

export function isSuccess({ status = 0 }: DeliveryAttempt): boolean {
  return status >= 200 && status < 300;
}

export function afterTry(delivery: Delivery, result: TryResult, nowMs: number, random: Random): Delivery {
  const { attempt, retryAfterMs = 0 } = result;
  const tries = delivery.tries + 1;
  const attempts = [...delivery.attempts, attempt].slice(-MAX_LOGGED);
  const tried: Delivery = { ...delivery, tries, attempts };
  if (isSuccess(attempt))
    return { ...tried, state: "delivered", reason: undefined, nextAtMs: undefined, endedAtMs: nowMs };
  if (attempt.status === GONE) return givenUp(tried, "the receiver answered 410: it wants no more", nowMs);
  if (tries >= maxTriesOf(delivery.event)) return givenUp(tried, `not delivered in ${tries} tries`, nowMs);
  return { ...tried, nextAtMs: nowMs + delayAfterMs(tries, retryAfterMs, random) };
}

export function givenUp(delivery: Delivery, reason: string, nowMs: number): Delivery {
  return { ...delivery, state: "failed", reason, nextAtMs: undefined, endedAtMs: nowMs };
}

/** Due now, with all of its tries before it when it had ended. */
export function sentAgain(delivery: Delivery, nowMs: number): Delivery {
  const tries = delivery.state === "waiting" ? delivery.tries : 0;
  return { ...delivery, state: "waiting", reason: undefined, tries, nextAtMs: nowMs, endedAtMs: undefined };
}

export function deliveryJson(delivery: Delivery): DeliveryJson {
  return {
    id: delivery.id,
    object: "delivery",
    webhook: delivery.endpointId,
    event: delivery.event,
    task: delivery.task?.id ?? null,
    state: delivery.state,
    reason: delivery.reason ?? null,
    created_at: iso(delivery.createdAtMs),
    next_at: delivery.nextAtMs === undefined ? null : iso(delivery.nextAtMs),
    attempts: delivery.attempts.map(({ atMs, status, error, durationMs }) => ({
      at: iso(atMs),
      status: status ?? null,
      error: error ?? null,
      duration_ms: Math.round(durationMs),
    })),
  };
}

const iso = (timeMs: number): string => new Date(timeMs).toISOString();
