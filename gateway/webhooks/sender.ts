/** One try of a delivery: asks the guard, makes the message, signs it, sends it, and says what became of it. */

import type { Clock } from "@legacygpu/shared/clock";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { VERSION } from "@legacygpu/shared/version";
import type { AddressGuard } from "./address-guard.ts";
import type { Delivery, TryResult } from "./delivery.ts";
import { type Endpoint, liveSecrets } from "./endpoint.ts";
import { messageBody, type TaskView } from "./message.ts";
import { type PostReply, pinnedPost } from "./pinned-post.ts";
import { parseRetryAfterMs } from "./retry-schedule.ts";
import { signatureHeaders } from "./signature.ts";
import { orAborted, within } from "./time-limit.ts";

const TRY_TIMEOUT_MS = 15_000;
const MAX_ERROR_CHARS = 300;

export interface SenderOptions {
  readonly clock: Clock;
  readonly guard: AddressGuard;
  readonly taskView: TaskView;
  /** The only CA that is trusted. Absent: those that Node trusts. */
  readonly caPem?: string | undefined;
}

export class Sender {
  readonly #options: SenderOptions;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Undefined when `stop` aborted before the outcome was known. */
  async send(delivery: Delivery, endpoint: Endpoint, stop: AbortSignal): Promise<TryResult | undefined> {
    const { clock } = this.#options;
    const atMs = clock.now();
    const beganMs = clock.monotonic();
    const durationMs = (): number => clock.monotonic() - beganMs;
    try {
      const work = (signal: AbortSignal) => this.#post(delivery, endpoint, signal);
      const { status, retryAfter } = await within(clock, TRY_TIMEOUT_MS, work, stop);
      const retryAfterMs = parseRetryAfterMs(retryAfter, clock.now());
      return { attempt: { atMs, status, durationMs: durationMs() }, retryAfterMs };
    } catch (error) {
      if (stop.aborted) return undefined;
      return { attempt: { atMs, error: describe(error), durationMs: durationMs() } };
    }
  }

  async #post(delivery: Delivery, endpoint: Endpoint, signal: AbortSignal): Promise<PostReply> {
    const { clock, guard, taskView, caPem } = this.#options;
    const target = await guard.check(endpoint.url, signal);
    const body = await orAborted(messageBody(delivery, taskView), signal);
    const nowMs = clock.now();
    const signature = signatureHeaders(
      { id: delivery.id, sentAtMs: nowMs, body },
      liveSecrets(endpoint, nowMs),
    );
    const headers = {
      ...signature,
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
      "user-agent": `legacygpu-webhooks/${VERSION}`,
    };
    try {
      return await pinnedPost({ target, headers, body, caPem, signal });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    }
  }
}

function describe(error: unknown): string {
  if (error instanceof LegacyGpuError) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  // An AggregateError, for several addresses, has no message of its own.
  const text = code === undefined || message.includes(code) ? message : `${code} ${message}`.trim();
  return text.slice(0, MAX_ERROR_CHARS);
}
