/**
 * Every error that leaves a process: one class, one catalogue of stable codes.
 *
 * Create one with {@link fail}, match on `code`, never on text. The wire form (HTTP, agent link, runner) is
 * `{code, message, retryable, details}`. `docs/errors.md` has a line for each code; a test holds the two together.
 */

type Details = Readonly<Record<string, unknown>>;

interface CatalogueEntry {
  /** HTTP status when the error reaches an HTTP client. */
  readonly status: number;
  /** Whether the same request can succeed later, unchanged. */
  readonly retryable: boolean;
  /** One sentence for a person, used when the caller of {@link fail} gives none. */
  readonly message: string;
}

const entry = (status: number, retryable: boolean, message: string): CatalogueEntry => ({
  status,
  retryable,
  message,
});

export const ERROR_CATALOGUE = {
  // What the caller sent
  request_malformed: entry(400, false, "The request body cannot be read."),
  request_invalid: entry(400, false, "The request does not have the expected form."),
  input_invalid: entry(400, false, "The input does not fit the model."),
  image_invalid: entry(400, false, "The input is not a picture that can be decoded."),
  strategy_unknown: entry(400, false, "Unknown balancing strategy."),
  site_unknown: entry(400, false, "No worker was ever at this site."),
  label_unknown: entry(400, false, "No worker has this label."),
  provider_unknown: entry(400, false, "There is no such execution provider."),
  family_unknown: entry(400, false, "There is no such family of graphics cards."),
  model_invalid: entry(400, false, "The file is not an ONNX model that can be served."),
  webhook_address_refused: entry(400, false, "A webhook may not go to this address."),
  digest_mismatch: entry(400, false, "The bytes received do not have the digest that was announced."),
  join_token_malformed: entry(400, false, "The join token cannot be read."),
  auth_missing: entry(401, false, "No credential was sent; send `Authorization: Bearer <key>`."),
  auth_invalid: entry(401, false, "The credential is not valid."),
  auth_forbidden: entry(403, false, "The credential does not permit this."),
  worker_not_approved: entry(403, true, "An operator has yet to approve this worker."),
  worker_revoked: entry(403, false, "This worker has been revoked."),
  route_not_found: entry(404, false, "There is nothing at this address."),
  task_not_found: entry(404, false, "There is no such task."),
  model_not_found: entry(404, false, "There is no such model."),
  deployment_not_found: entry(404, false, "The model is not deployed."),
  blob_not_found: entry(404, false, "There is no such blob."),
  key_not_found: entry(404, false, "There is no such key."),
  join_token_not_found: entry(404, false, "There is no such join token."),
  worker_not_found: entry(404, false, "There is no such enrolled worker."),
  batch_not_found: entry(404, false, "There is no such batch."),
  upload_not_found: entry(404, false, "There is no such upload."),
  webhook_not_found: entry(404, false, "There is no such webhook endpoint."),
  delivery_not_found: entry(404, false, "There is no such webhook delivery."),
  release_not_found: entry(404, false, "The gateway has no such agent build."),
  rollout_not_found: entry(404, false, "There is no such rollout."),
  attempt_not_found: entry(404, false, "This attempt is not running on this worker."),
  method_not_allowed: entry(405, false, "This address does not know this method."),
  model_version_exists: entry(409, false, "This version exists with other contents; versions never change."),
  model_in_use: entry(409, true, "Tasks wait for this model or run it, or an alias points to it."),
  model_deployed: entry(409, false, "The model is deployed; undeploy it first."),
  rollout_in_progress: entry(409, true, "Another rollout is under way."),
  worker_not_connected: entry(409, true, "The worker is not connected."),
  worker_not_upgradable: entry(
    409,
    false,
    "This worker was not installed by the gateway, or its agent is too old.",
  ),
  task_exists: entry(409, false, "A task with this id exists and was made from another request."),
  task_not_finished: entry(409, true, "The task has not ended."),
  task_not_retryable: entry(
    409,
    false,
    "Only a task that failed or timed out, and still has its input, can be retried.",
  ),
  requirement_unmet: entry(
    409,
    false,
    "No connected worker can run the task, and it is not to wait for one.",
  ),
  upload_incomplete: entry(409, false, "The upload does not have all of its bytes."),
  upload_offset_wrong: entry(409, false, "The bytes do not go on where the upload stopped."),
  idempotency_in_progress: entry(
    409,
    true,
    "The first request with this idempotency key is still being answered.",
  ),
  result_expired: entry(410, false, "The result has been removed."),
  body_too_large: entry(413, false, "The request body is over the limit."),
  media_type_unsupported: entry(415, false, "This content type is not accepted here."),
  idempotency_conflict: entry(422, false, "The idempotency key was used for another request."),
  key_queue_full: entry(429, true, "This key has as many tasks waiting as it may."),
  rate_limited: entry(429, true, "Too many requests in a short time."),
  quota_exceeded: entry(429, true, "The quota of this tenant is used up for today."),
  headers_too_large: entry(431, false, "The head of the request is over the limit."),
  // What the system cannot do now
  model_loading: entry(503, true, "The model is being loaded, and will not be ready in time."),
  queue_full: entry(503, true, "The queue is full."),
  gateway_draining: entry(503, true, "The gateway is shutting down."),
  store_full: entry(503, true, "There is no room left to store tasks."),
  store_failed: entry(503, true, "The store of tasks cannot be written."),
  // How a task can end
  task_cancelled: entry(499, false, "The task was cancelled."),
  deadline_exceeded: entry(504, false, "The deadline passed before there was a result."),
  execution_timeout: entry(504, false, "The model ran longer than is allowed and was stopped."),
  model_run_failed: entry(422, false, "The model failed on this input."),
  model_load_failed: entry(500, true, "The model could not be loaded on the worker."),
  model_not_announced: entry(500, true, "The worker was not told of this model."),
  worker_lost: entry(502, true, "The worker was lost while it held the task."),
  worker_draining: entry(503, true, "The worker is shutting down."),
  runner_crashed: entry(502, true, "The process that runs the model died."),
  task_poisonous: entry(502, false, "The task killed the process that ran it more than once."),
  out_of_memory: entry(507, true, "The worker ran out of memory."),
  disk_full: entry(507, true, "The disk of the worker is full."),
  transfer_failed: entry(502, true, "A payload could not be transferred between gateway and worker."),
  // Between processes
  link_frame_malformed: entry(400, false, "A frame on the agent link cannot be read."),
  link_frame_too_large: entry(413, false, "A frame on the agent link is over the limit."),
  link_closed: entry(503, true, "The agent link is closed."),
  // On the machine of the person who started it
  config_invalid: entry(400, false, "The configuration is not valid."),
  port_in_use: entry(500, false, "The port is in use."),
  certificate_invalid: entry(500, false, "The certificate does not match."),
  gateway_untrusted: entry(502, false, "The gateway is not the one that the join token names."),
  clock_wrong: entry(500, false, "The clock of this machine is wrong."),
  service_not_installed: entry(404, false, "No worker is installed on this machine."),
  service_failed: entry(500, false, "The service of this machine could not be changed."),
  release_invalid: entry(500, false, "The agent build is damaged, or is for another kind of machine."),
  upgrade_failed: entry(500, false, "The new agent build does not work here; the one before is used again."),
  audit_corrupt: entry(500, false, "The audit log has been changed or is damaged."),
  store_in_use: entry(500, false, "The store of tasks is in use by another gateway."),
  store_too_new: entry(500, false, "The store of tasks was written by a newer version."),
  store_corrupt: entry(500, false, "A stored record is damaged."),
  gateway_unreachable: entry(503, true, "The gateway cannot be reached."),
  protocol_unsupported: entry(426, false, "Gateway and agent share no version of the protocol."),
  worker_id_in_use: entry(409, true, "Another live agent has this worker id."),
  timed_out: entry(504, true, "Nothing happened within the time that was allowed."),
  internal: entry(500, false, "Something went wrong inside legacygpu."),
  unknown: entry(500, false, "The peer reported an error that this version does not know."),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** An error as it travels: on HTTP, on the agent link and between agent and runner. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details?: Details | undefined;
}

export class LegacyGpuError extends Error {
  override readonly name = "LegacyGpuError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly details: Details;

  constructor(code: ErrorCode, message?: string, details: Details = {}, cause?: unknown) {
    const known = ERROR_CATALOGUE[code];
    super(message ?? known.message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = known.status;
    this.retryable = known.retryable;
    this.details = details;
  }
}

/** Creates (does not throw) an error from the catalogue. */
export function fail(code: ErrorCode, message?: string, details?: Details, cause?: unknown): LegacyGpuError {
  return new LegacyGpuError(code, message, details, cause);
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, code);
}

export function toWireError(error: unknown): WireError {
  const known = asLegacyGpuError(error);
  const { code, message, retryable, details } = known;
  return Object.keys(details).length === 0
    ? { code, message, retryable }
    : { code, message, retryable, details };
}

/** Rebuilds an error from its wire form; a code from a newer peer becomes `unknown` with the original kept. */
export function fromWireError(wire: WireError): LegacyGpuError {
  if (isErrorCode(wire.code)) return new LegacyGpuError(wire.code, wire.message, wire.details ?? {});
  return new LegacyGpuError("unknown", wire.message, { ...wire.details, originalCode: wire.code });
}

/** Any thrown value as one of ours; foreign errors become `internal` with their cause kept. */
export function asLegacyGpuError(error: unknown): LegacyGpuError {
  if (error instanceof LegacyGpuError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new LegacyGpuError("internal", `Unexpected: ${text}`, {}, error);
}
