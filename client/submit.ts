/** Sends new tasks so that none is accepted twice: each submission has an idempotency key, or an id that its owner chose. */

import { type CreateTask, type TaskJson, taskJsonSchema } from "@legacygpu/shared/api/tasks";
import { fail } from "@legacygpu/shared/errors";
import { imageType } from "@legacygpu/shared/image-type";
import type { Priority } from "@legacygpu/shared/task";
import { newIdempotencyKey } from "./new-ids.ts";
import { type Call, IDEMPOTENCY_KEY, type Transport } from "./transport.ts";

export interface SubmitOptions {
  /** At most 255 characters; the same key with the same task gives the same task for a day. Default: a new one for each call. */
  readonly idempotencyKey?: string;
  /** The task's id, chosen by the caller; see `newTaskId`. */
  readonly id?: string;
  /** How its worker is chosen is to be kept, for `client.explain`. */
  readonly explain?: boolean;
}

export interface ImageOptions {
  /** Default: told from the first bytes. */
  readonly contentType?: string;
  readonly version?: string;
  readonly priority?: Priority;
  /** From now to the final answer. */
  readonly deadlineMs?: number;
  readonly explain?: boolean;
  /** As in {@link SubmitOptions}. */
  readonly idempotencyKey?: string;
}

export function submitTask(
  transport: Transport,
  task: CreateTask,
  { id, idempotencyKey, explain }: SubmitOptions,
  signal?: AbortSignal,
): Promise<TaskJson> {
  const query = explainQuery(explain);
  const call: Call =
    id === undefined
      ? { method: "POST", path: "/tasks", query, headers: keyHeader(idempotencyKey), json: task }
      : { method: "PUT", path: `/tasks/${encodeURIComponent(id)}`, query, json: task };
  return transport.request(call, taskJsonSchema, signal);
}

export async function submitImage(
  transport: Transport,
  model: string,
  bytes: Uint8Array,
  options: ImageOptions,
  signal?: AbortSignal,
): Promise<TaskJson> {
  const contentType = options.contentType ?? imageType(bytes);
  if (contentType === undefined) {
    throw fail(
      "image_invalid",
      "The bytes are no picture of a known kind; give its contentType if they are.",
    );
  }
  const { version, priority, deadlineMs, explain, idempotencyKey } = options;
  const raw = { contentType, sizeBytes: bytes.byteLength, open: () => bytes };
  const query = { model, version, priority, deadline_ms: deadlineMs, ...explainQuery(explain) };
  const call: Call = { method: "POST", path: "/tasks", query, headers: keyHeader(idempotencyKey), raw };
  return transport.request(call, taskJsonSchema, signal);
}

function explainQuery(explain: boolean | undefined): { readonly explain?: number } {
  return explain === true ? { explain: 1 } : {};
}

function keyHeader(given: string | undefined): Record<string, string> {
  return { [IDEMPOTENCY_KEY]: given ?? newIdempotencyKey() };
}
