/**
 * The exit status of the command line. `docs/cli.md` has the same table.
 *
 * | status   | of      | means                                                                                               |
 * | -------- | ------- | --------------------------------------------------------------------------------------------------- |
 * | 0        | all     | done                                                                                                |
 * | 1        | all     | a task that failed or was cancelled, and whatever has no number of its own                          |
 * | 2        | all     | wrong flags, configuration or input                                                                 |
 * | 3        | all     | no key, an unknown key, or one without the scope                                                    |
 * | 4        | all     | the gateway cannot be reached, or its certificate is not trusted                                    |
 * | 5        | all     | the gateway takes no more at the moment                                                             |
 * | 6        | all     | out of time                                                                                         |
 * | 10       | workers | the join token cannot be read, or another worker has this one's id                                  |
 * | 11       | workers | the gateway does not accept the join token (expired, used, revoked), or does not know this worker   |
 * | 12       | workers | this worker has been revoked                                                                        |
 * | 13       | workers | the gateway is not the one that the join token names                                                |
 * | 14       | workers | the clock of this machine is wrong                                                                  |
 * | 130, 143 | all     | stopped by a second Ctrl-C or SIGTERM                                                               |
 *
 * From 10 to 14 a new start changes nothing before a person has done something: a service manager should not restart the worker then.
 */

import type { ErrorCode, LegacyGpuError } from "@legacygpu/shared/errors";
import type { BatchJson, TaskJson } from "../index.ts";

export const EXIT = {
  ok: 0,
  /** A task that failed or was cancelled, a batch with one of them, and whatever has no number of its own. */
  failed: 1,
  /** Wrong flags, configuration or input: the same command can never succeed. */
  usage: 2,
  /** No key, an unknown key, or one without the scope. */
  auth: 3,
  /** The gateway cannot be reached, or its certificate is not trusted. */
  unreachable: 4,
  /** The gateway takes no more at the moment. */
  refused: 5,
  timedOut: 6,
  boxMisconfigured: 10,
  notAccepted: 11,
  revoked: 12,
  gatewayUntrusted: 13,
  clockWrong: 14,
  interrupted: 130,
  terminated: 143,
} as const;

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  config_invalid: EXIT.usage,
  request_invalid: EXIT.usage,
  request_malformed: EXIT.usage,
  input_invalid: EXIT.usage,
  image_invalid: EXIT.usage,
  strategy_unknown: EXIT.usage,
  site_unknown: EXIT.usage,
  label_unknown: EXIT.usage,
  provider_unknown: EXIT.usage,
  family_unknown: EXIT.usage,
  model_invalid: EXIT.usage,
  media_type_unsupported: EXIT.usage,
  body_too_large: EXIT.usage,
  webhook_address_refused: EXIT.usage,
  task_exists: EXIT.usage,
  idempotency_conflict: EXIT.usage,
  auth_missing: EXIT.auth,
  auth_invalid: EXIT.auth,
  auth_forbidden: EXIT.auth,
  gateway_unreachable: EXIT.unreachable,
  certificate_invalid: EXIT.unreachable,
  queue_full: EXIT.refused,
  requirement_unmet: EXIT.refused,
  key_queue_full: EXIT.refused,
  gateway_draining: EXIT.refused,
  worker_draining: EXIT.refused,
  timed_out: EXIT.timedOut,
  deadline_exceeded: EXIT.timedOut,
  execution_timeout: EXIT.timedOut,
  join_token_malformed: EXIT.boxMisconfigured,
  worker_id_in_use: EXIT.boxMisconfigured,
  worker_revoked: EXIT.revoked,
  gateway_untrusted: EXIT.gatewayUntrusted,
  clock_wrong: EXIT.clockWrong,
};

/** In the details of an `auth_invalid` that is not about a key. */
const WORKER_CREDENTIALS: readonly unknown[] = ["join_token", "worker_identity"];

export function exitCodeOf(error: LegacyGpuError): number {
  if (error.code === "auth_invalid" && WORKER_CREDENTIALS.includes(error.details.credential))
    return EXIT.notAccepted;
  return BY_CODE[error.code] ?? EXIT.failed;
}

export function exitCodeOfTask({ status }: TaskJson): number {
  if (status === "COMPLETED") return EXIT.ok;
  return status === "TIMED_OUT" ? EXIT.timedOut : EXIT.failed;
}

export function exitCodeOfBatch({ counts }: BatchJson): number {
  if (counts.failed + counts.cancelled > 0) return EXIT.failed;
  return counts.timed_out > 0 ? EXIT.timedOut : EXIT.ok;
}
