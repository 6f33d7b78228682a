/** What the gateway answered: a document of the expected form, or the error that it tells of. */

import { fromProblem, problemSchema } from "@legacygpu/shared/api/problem";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { z } from "zod";
import type { FetchResponse } from "./fetch-port.ts";

export interface Asked {
  /** Method and path, for messages. */
  readonly name: string;
  readonly address: string;
}

/** @throws `unknown` when `text` is not of the form. */
export function parseAnswer<Schema extends z.ZodType>(
  { name, address }: Asked,
  text: string,
  schema: Schema,
): z.infer<Schema> {
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const first = parsed.error.issues[0];
  throw fail(
    "unknown",
    `The answer to ${name} is not of the expected form (${first?.path.join(".") || "body"}: ${first?.message}). Are gateway and client of the same version?`,
    { address },
    parsed.error,
  );
}

/** The error of an answer that is none of the 2xx. */
export function refusal(
  response: Pick<FetchResponse, "status" | "headers">,
  text: string,
  { address, nowMs }: { readonly address: string; readonly nowMs: number },
): LegacyGpuError {
  const problem = problemSchema.safeParse(parseJson(text));
  const error = problem.success ? fromProblem(problem.data) : strangeAnswer(response.status, text, address);
  const retryAfter = parseRetryAfter(response.headers.get("retry-after"), nowMs);
  const extra = {
    ...(retryAfter === undefined ? {} : { retry_after_ms: retryAfter }),
    ...(problem.success && problem.data.request_id ? { request_id: problem.data.request_id } : {}),
  };
  return fail(error.code, error.message, { ...error.details, ...extra });
}

function strangeAnswer(status: number, text: string, address: string): LegacyGpuError {
  const start = text.trim().slice(0, 200);
  return fail(
    "unknown",
    `${address} answered ${status} in a form that is not legacygpu's; is there a proxy in between? It begins: ${start || "(empty)"}`,
    { status, address },
  );
}

function parseJson(text: string): unknown {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `Retry-After` in seconds or as a date, in milliseconds from now. */
function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : undefined;
}
