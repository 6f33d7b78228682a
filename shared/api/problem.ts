/**
 * Errors on HTTP: RFC 9457 `application/problem+json`, with our stable `code`, and with the `error` string that Open Inference Protocol
 * clients read.
 */

import { z } from "zod";
import { fromWireError, type LegacyGpuError, toWireError } from "../errors.ts";

export const problemSchema = z.object({
  type: z.string().optional(),
  title: z.string().optional(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  error: z.string(),
  retryable: z.boolean(),
  request_id: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});
export type Problem = z.infer<typeof problemSchema>;

export function toProblem(error: LegacyGpuError, requestId: string): Problem {
  const { code, message, retryable, details } = toWireError(error);
  return {
    type: `urn:legacygpu:error:${code}`,
    title: code,
    status: error.status,
    detail: message,
    code,
    error: message,
    retryable,
    request_id: requestId,
    ...(details === undefined ? {} : { details }),
  };
}

export function fromProblem(problem: Problem): LegacyGpuError {
  return fromWireError({
    code: problem.code,
    message: problem.detail,
    retryable: problem.retryable,
    details: problem.details,
  });
}
