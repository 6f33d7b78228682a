/** Tells a person or a program what went wrong: what happened, the code, what to do. */

import { type ErrorCode, type LegacyGpuError, toWireError } from "@legacygpu/shared/errors";
import { redactCredentials } from "@legacygpu/shared/log";

const REMEDIES: Partial<Record<ErrorCode, string>> = {
  auth_missing: "give a key with --key, LEGACYGPU_KEY, or the profile that `legacygpu up` writes",
  auth_invalid:
    "the key may be revoked, or belong to another gateway; ask for one made with `legacygpu key create`",
  auth_forbidden: "use a key that has the scope; `legacygpu key list` shows the scopes of each",
  gateway_unreachable:
    "start a gateway with `legacygpu up`, or name the right one with --url or LEGACYGPU_URL",
  model_not_found: "`legacygpu model list` shows what there is; `legacygpu model push NAME FILE` adds one",
  model_in_use: "wait until its tasks have ended or move the alias; --force removes it all the same",
  model_deployed: "`legacygpu model undeploy NAME` first, or deploy another version",
  task_not_found: "`legacygpu task list` shows your tasks; a key sees only its own",
  batch_not_found: "the id is what `legacygpu task submit --batch` printed; a key sees only its own",
  task_not_finished:
    "`legacygpu task get ID --wait` waits for it; `legacygpu task watch ID` shows what happens",
  task_not_retryable:
    "submit it again: only a task that failed or timed out and still has its input can be retried",
  result_expired: "submit it again; --result-ttl says for how long a result is kept",
  task_exists: "leave out --id, or choose a new one",
  idempotency_conflict: "leave out --idempotency-key, or choose a new one",
  key_not_found: "`legacygpu key list` shows the ids",
  model_version_exists: "versions never change: leave out --version to get the next one",
  key_queue_full: "wait until tasks of this key have ended, or cancel some",
  queue_full: "wait and send again, or add workers",
  gateway_draining: "wait until the gateway is back and send again",
  port_in_use: "stop what uses the port, or choose another with --port",
  timed_out: "`legacygpu cluster status` tells whether there are healthy workers",
};

export interface ReportOptions {
  readonly isJson: boolean;
  /** Whether to add the stack and the causes. */
  readonly isVerbose: boolean;
}

/** The text for standard error; ends in a newline. With `isJson` one line of JSON: `{code, message, retryable, details}`. */
export function describeError(error: LegacyGpuError, { isJson, isVerbose }: ReportOptions): string {
  const text = isJson ? JSON.stringify(toWireError(error)) : forPeople(error, isVerbose);
  return `${redactCredentials(text)}\n`;
}

function forPeople(error: LegacyGpuError, isVerbose: boolean): string {
  const lines = [`error: ${error.message}`, `  code: ${error.code}`];
  const remedy = REMEDIES[error.code];
  if (remedy !== undefined) lines.push(`  try:  ${remedy}`);
  const requestId = error.details.request_id;
  if (requestId !== undefined) lines.push(`  request: ${requestId}`);
  if (isVerbose) lines.push(...causesOf(error));
  return lines.join("\n");
}

function causesOf(error: Error): string[] {
  const lines: string[] = [];
  for (let current: unknown = error; current instanceof Error && lines.length < 8; current = current.cause) {
    lines.push(current.stack ?? String(current));
  }
  return lines;
}
