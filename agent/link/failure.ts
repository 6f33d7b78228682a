/** Why a link could not be made or was lost, in words that say what to do about it. */

import { X509Certificate } from "node:crypto";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import type { SocketClosure } from "./dial.ts";

export interface LinkFailure {
  readonly error: LegacyGpuError;
  /**
   * soon: it can heal in a moment. patient: nothing changes before a person does something, or somebody else holds our place.
   * approval: a person is about to decide. never: trying again cannot help.
   */
  readonly retry: "soon" | "patient" | "approval" | "never";
}

export interface FailureContext {
  readonly gateway: URL;
  readonly caPem?: string | undefined;
  /** It has an identity and can prove itself again; otherwise it has a worker key. */
  readonly isEnrolled?: boolean;
}

/** A failure below HTTP; `clockAheadMs` as in {@link SocketClosure}. */
export interface NetworkFailure {
  readonly error: Error;
  readonly clockAheadMs?: number | undefined;
}

const CERTIFICATE_ERRORS = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "INVALID_CA",
]);
const CERTIFICATE_DATES = new Set(["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"]);
/** Less does not explain a certificate that is outside its dates: they begin a day back. */
const CLOCK_TOLERANCE_MS = 3_600_000;

export function explainClosure(closure: SocketClosure, context: FailureContext): LinkFailure {
  const { error, clockAheadMs } = closure;
  if (error instanceof LegacyGpuError) return { error, retry: retryOf(error) };
  if (error !== undefined) return explainError({ error, clockAheadMs }, context);
  if (closure.httpStatus !== undefined) return explainStatus(closure.httpStatus, closure, context);
  const said = closure.reason === "" ? "" : `: ${closure.reason}`;
  switch (closure.code) {
    case CLOSE.unauthorized:
      // The next dial proves who it is, and learns why if it may not.
      if (context.isEnrolled)
        return { error: fail("auth_invalid", `The gateway ended the link${said}.`), retry: "soon" };
      return {
        error: fail("auth_invalid", `The gateway does not accept this worker key${said}.`),
        retry: "never",
      };
    case CLOSE.protocolUnsupported:
      return {
        error: fail(
          "protocol_unsupported",
          `Gateway and agent share no version of the protocol${said}. Update the older of the two.`,
        ),
        retry: "never",
      };
    case CLOSE.workerIdInUse:
    case CLOSE.replaced:
      return {
        error: fail(
          "worker_id_in_use",
          `Another agent is connected with this worker id${said}. Give each its own.`,
        ),
        retry: "patient",
      };
    case CLOSE.goingAway:
    case CLOSE.normal:
      return { error: fail("link_closed", `The gateway closed the link${said}.`), retry: "soon" };
    case CLOSE.malformed:
    case CLOSE.frameTooLarge:
      return {
        error: fail("link_closed", `The gateway refused a frame (${closure.code})${said}.`),
        retry: "soon",
      };
    default:
      return {
        error: fail("link_closed", `The connection was lost (${closure.code})${said}.`),
        retry: "soon",
      };
  }
}

const FINAL_REFUSALS: ReadonlySet<string> = new Set(["worker_revoked", "auth_invalid", "auth_forbidden"]);

/** What kept a credential from being had. */
function retryOf({ code, retryable }: LegacyGpuError): LinkFailure["retry"] {
  if (code === "worker_not_approved") return "approval";
  if (FINAL_REFUSALS.has(code)) return "never";
  return retryable ? "soon" : "patient";
}

function explainStatus(
  status: number,
  { retryAfterMs }: SocketClosure,
  { gateway, isEnrolled }: FailureContext,
): LinkFailure {
  if (status === 401 || status === 403) {
    const code = status === 401 ? "auth_invalid" : "auth_forbidden";
    if (isEnrolled) {
      const message = `${gateway.origin} gave this worker an identity and does not accept it (HTTP ${status}). Look at the log of the gateway.`;
      return { error: fail(code, message, { status }), retry: "patient" };
    }
    const message = `${gateway.origin} does not accept this worker key (HTTP ${status}). Create one with \`legacygpu key create\` or join again.`;
    return { error: fail(code, message, { status }), retry: "never" };
  }
  if (status === 426) {
    const message = `${gateway.origin} does not speak this version of the agent link (HTTP 426). Update the older of the two.`;
    return { error: fail("protocol_unsupported", message, { status }), retry: "never" };
  }
  if (status === 429 || status === 503) {
    const message = `${gateway.origin} takes no link at this moment (HTTP ${status}). The agent tries again.`;
    const details = { status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
    return {
      error: fail(status === 429 ? "rate_limited" : "gateway_unreachable", message, details),
      retry: "soon",
    };
  }
  const message = `${gateway.origin} answered HTTP ${status} where an agent link was expected. Is this the gateway's address?`;
  return {
    error: fail("gateway_unreachable", message, { status }),
    retry: status >= 500 ? "soon" : "patient",
  };
}

/** Why the gateway could not be reached. */
export function explainError({ error, clockAheadMs }: NetworkFailure, context: FailureContext): LinkFailure {
  const code = codeOf(error);
  const details = { cause: code, gateway: context.gateway.origin };
  if (isAboutDates(error) && clockAheadMs !== undefined && Math.abs(clockAheadMs) > CLOCK_TOLERANCE_MS) {
    const wrong = `The clock of this machine is ${describeOffset(clockAheadMs)} the gateway's, so that the certificate of ${context.gateway.host} seems to be outside its dates (${code}). Set the clock.`;
    return { error: fail("clock_wrong", wrong, { ...details, clockAheadMs }, error), retry: "patient" };
  }
  const remedy = certificateRemedy(error, code, context);
  if (remedy !== undefined)
    return { error: fail("certificate_invalid", remedy, details, error), retry: "patient" };
  const address = context.gateway.host;
  const message = `Cannot reach the gateway at ${address}: ${code ?? error.message}${hintFor(code)}`;
  return { error: fail("gateway_unreachable", message, details, error), retry: "soon" };
}

/** The server's certificate is too old or too new, as judged by the clock of this machine. */
export function isAboutDates(error: Error | undefined): boolean {
  return error !== undefined && CERTIFICATE_DATES.has(codeOf(error) ?? "");
}

/** The server is not one for which a trusted CA vouches. */
export function isForeignCertificate({ code, details }: LegacyGpuError): boolean {
  return code === "certificate_invalid" && CERTIFICATE_ERRORS.has(String(details.cause));
}

const UNITS = [
  ["years", 365.25 * 86_400_000],
  ["days", 86_400_000],
  ["hours", 3_600_000],
  ["minutes", 60_000],
  ["seconds", 1000],
] as const;

/** Like `3.2 years ahead of`. */
export function describeOffset(aheadMs: number): string {
  const [unit, sizeMs] = UNITS.find(([, each]) => Math.abs(aheadMs) >= 2 * each) ?? ["seconds", 1000];
  const amount = (Math.abs(aheadMs) / sizeMs).toFixed(1).replace(/\.0$/, "");
  return `${amount} ${unit} ${aheadMs > 0 ? "ahead of" : "behind"}`;
}

/** The code of the first error in the chain that has one. */
function codeOf(error: unknown): string | undefined {
  for (let at = error as { code?: unknown; cause?: unknown } | undefined; at; at = at.cause as typeof at) {
    if (typeof at.code === "string") return at.code;
    if (at instanceof AggregateError) return codeOf(at.errors[0]);
  }
  return undefined;
}

function certificateRemedy(
  error: Error,
  code: string | undefined,
  context: FailureContext,
): string | undefined {
  const { host, hostname } = context.gateway;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `The certificate of ${host} is not for \`${hostname}\`: ${error.message}. Use one of the names that it is for, or issue a certificate for this name.`;
  }
  if (code !== undefined && CERTIFICATE_DATES.has(code)) {
    return `The certificate of ${host} is outside its dates (${code}). Renew it on the gateway, and check the clock of this machine.`;
  }
  if (code === undefined || !CERTIFICATE_ERRORS.has(code)) return undefined;
  return context.caPem === undefined
    ? `The certificate of ${host} is not signed by a CA that this machine knows (${code}). If the gateway has a private CA, give the agent its certificate.`
    : `The certificate of ${host} is not signed by the pinned CA ${describeCa(context.caPem)} (${code}). Copy the CA certificate from the gateway again, or check that this is the right gateway.`;
}

function describeCa(caPem: string): string {
  try {
    const { subject, fingerprint256 } = new X509Certificate(caPem);
    return `"${subject.replaceAll("\n", ", ")}" (SHA-256 ${fingerprint256.slice(0, 23)}…)`;
  } catch {
    return "(which cannot be read as a certificate)";
  }
}

function hintFor(code: string | undefined): string {
  switch (code) {
    case "ECONNREFUSED":
      return ". Nothing listens there; is the gateway running, and is the port right?";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return ". The name cannot be resolved.";
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return ". It does not speak TLS.";
    default:
      return ".";
  }
}
