/**
 * What the protocol answers with a status that none of our error codes has: what this server does not do, and what is not ready yet. In the
 * protocol's own shape, `{"error": text}`.
 */

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: 500 | 501 | 503;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: 500 | 501 | 503, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** Creates (does not throw) a refusal of what this server does not do. */
export function notSupported(message: string, headers?: Readonly<Record<string, string>>): Refusal {
  return new Refusal(501, message, headers);
}

/** Creates (does not throw) a refusal of what will be possible later. */
export function notReady(message: string, retryAfterSeconds: number): Refusal {
  return new Refusal(503, message, { "retry-after": String(retryAfterSeconds) });
}
