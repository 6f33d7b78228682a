/**
 * Turns a failure below HTTP into one of our errors: the only place that knows the codes of Node, OpenSSL and undici.
 *
 * `details.request_sent` is false when the gateway cannot have seen the request: then it is safe to send again, whatever its method.
 */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";

export interface Destination {
  /** Scheme, host and port. */
  readonly address: string;
  /** Whom the client trusts, in words. */
  readonly trust: string;
}

interface Reason {
  readonly code: string;
  readonly text: string;
  /** Names in the server's certificate, where OpenSSL tells them. */
  readonly names: string | undefined;
}

const NOTHING_SENT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there: is the gateway started, and is the port right?",
  ENOTFOUND: "there is no such host name: check the spelling, and the DNS of this machine",
  EAI_AGAIN: "the name server does not answer: check the network of this machine",
  ENETUNREACH: "there is no route to it: check the network of this machine",
  EHOSTUNREACH: "there is no route to it: check the network of this machine",
  UND_ERR_CONNECT_TIMEOUT: "nobody answers: check the address, and firewalls in between",
  ETIMEDOUT: "nobody answers: check the address, and firewalls in between",
};

const NOT_TLS = new Set(["ERR_SSL_WRONG_VERSION_NUMBER", "ERR_SSL_PACKET_LENGTH_TOO_LONG", "EPROTO"]);

const CERTIFICATE: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for other names",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate was issued by a CA that is not trusted",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate was issued by a CA that is not trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate was issued by a CA that is not trusted",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate was issued by a CA that is not trusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  CERT_SIGNATURE_FAILURE: "the signature of its certificate does not match the CA",
  CERT_HAS_EXPIRED: "its certificate has expired, or the clock of this machine is wrong",
  CERT_NOT_YET_VALID: "its certificate is not valid yet, or the clock of this machine is wrong",
};

export function networkFailure(error: unknown, { address, trust }: Destination): LegacyGpuError {
  const reason = reasonOf(error);
  const details = { address, cause: reason.code };
  const aboutCertificate = CERTIFICATE[reason.code];
  if (aboutCertificate !== undefined) {
    const names = reason.names === undefined ? {} : { certificate_names: reason.names };
    const message = `${address}: ${aboutCertificate}. ${certificateRemedy(reason, trust)}`;
    return fail("certificate_invalid", message, { ...details, ...names, trust, request_sent: false }, error);
  }
  if (reason.code === "UND_ERR_HEADERS_TIMEOUT" || reason.code === "UND_ERR_BODY_TIMEOUT") {
    return fail("timed_out", `${address} accepted the request but sent no answer.`, details, error);
  }
  const known = NOT_TLS.has(reason.code)
    ? "what listens there does not speak TLS: is this the gateway's port?"
    : NOTHING_SENT[reason.code];
  const isSent = known === undefined;
  const explained = known ?? `the connection broke (${reason.text})`;
  return fail(
    "gateway_unreachable",
    `The gateway at ${address} cannot be reached: ${explained}`,
    { ...details, request_sent: isSent },
    error,
  );
}

function certificateRemedy({ code, names }: Reason, trust: string): string {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const list = names === undefined ? "" : ` It is valid for ${names}.`;
    return `${list} Use one of these names in the address, or start the gateway with --cert-host and the name that you use.`.trim();
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return "Compare the clocks; a gateway renews its own certificate when it is started again.";
  }
  return `Trusted here: ${trust}. Take ca.pem from the gateway's folder "certs" and name it with --ca (LEGACYGPU_CA).`;
}

/** fetch says only "fetch failed"; what happened is in the chain of causes. */
function reasonOf(error: unknown): Reason {
  let text = "unknown";
  for (let current: unknown = error, depth = 0; isObject(current) && depth < 8; depth += 1) {
    if (typeof current.message === "string" && current.message !== "") text = current.message;
    const code = current.code;
    if (typeof code === "string") return { code, text, names: namesIn(current.cert) };
    current = current.cause ?? firstOf(current.errors);
  }
  return { code: "unknown", text, names: undefined };
}

function namesIn(certificate: unknown): string | undefined {
  const names = isObject(certificate) ? certificate.subjectaltname : undefined;
  return typeof names === "string" ? names.replaceAll("DNS:", "").replaceAll("IP Address:", "") : undefined;
}

function firstOf(errors: unknown): unknown {
  return Array.isArray(errors) ? errors[0] : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
