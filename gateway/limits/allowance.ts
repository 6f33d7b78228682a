/** What one key, one tenant or one address may do at a time and has left of it. */

import { fail } from "@legacygpu/shared/errors";
import type { Forgettable } from "./bounded-table.ts";
import type { CallerConfig } from "./limits-config.ts";
import { type RateLimitState, type Refusal, refusalOf, stateOf } from "./refusal.ts";
import { Rate, TokenBucket } from "./token-bucket.ts";

/** Nobody knows when one of the requests under way will end. */
const CONCURRENCY_WAIT_US = 1_000_000;

/** Length of a body as its head tells it. */
export type AnnouncedBody = number | "chunked";

/** The limits of every holder of a kind. */
export interface AllowanceLimits {
  /** In words: "this key". */
  readonly holder: string;
  readonly requests: Rate | undefined;
  readonly bytes: Rate | undefined;
  readonly concurrentRequests: number | undefined;
}

/**
 * @param name of this part of the configuration.
 * @returns undefined when nothing is limited.
 * @throws `config_invalid`
 */
export function allowanceLimits(
  name: string,
  holder: string,
  { requestsPerSecond, requestBurst, bytesPerSecond, byteBurst, concurrentRequests }: CallerConfig = {},
): AllowanceLimits | undefined {
  requireRate(`${name}.requestBurst`, requestBurst, requestsPerSecond);
  requireRate(`${name}.byteBurst`, byteBurst, bytesPerSecond);
  const requests = rateOf(`${name}.requestsPerSecond`, requestsPerSecond, requestBurst);
  const bytes = rateOf(`${name}.bytesPerSecond`, bytesPerSecond, byteBurst);
  if (
    concurrentRequests !== undefined &&
    !(Number.isSafeInteger(concurrentRequests) && concurrentRequests >= 1)
  ) {
    const path = `${name}.concurrentRequests`;
    throw fail("config_invalid", `${path}: ${concurrentRequests} is not a whole number from 1.`, { path });
  }
  const isLimited = requests !== undefined || bytes !== undefined || concurrentRequests !== undefined;
  return isLimited ? { holder, requests, bytes, concurrentRequests } : undefined;
}

function requireRate(path: string, burst: number | undefined, perSecond: number | undefined): void {
  if (burst === undefined || perSecond !== undefined) return;
  throw fail("config_invalid", `${path} limits nothing without a rate per second.`, { path });
}

function rateOf(path: string, perSecond: number | undefined, burst: number | undefined): Rate | undefined {
  return perSecond === undefined ? undefined : new Rate({ name: path, count: perSecond, burst });
}

export class Allowance implements Forgettable {
  readonly #limits: AllowanceLimits;
  readonly #requests: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;
  #underWay = 0;

  constructor(limits: AllowanceLimits, nowUs: number) {
    const { requests, bytes } = limits;
    this.#limits = limits;
    this.#requests = requests === undefined ? undefined : new TokenBucket(requests, nowUs);
    this.#bytes = bytes === undefined ? undefined : new TokenBucket(bytes, nowUs);
  }

  isIdle(nowUs: number): boolean {
    return (
      this.#underWay === 0 && (this.#requests?.isIdle(nowUs) ?? true) && (this.#bytes?.isIdle(nowUs) ?? true)
    );
  }

  /** The limit that lasts longest of those that do not let in a request with this body; nothing is taken. */
  refusal(body: AnnouncedBody, nowUs: number): Refusal | undefined {
    return longest(
      longest(this.#requestRefusal(nowUs), this.#byteRefusal(body, nowUs)),
      this.#concurrencyRefusal(),
    );
  }

  enter(announcedBytes: number, nowUs: number): void {
    this.#underWay += 1;
    this.#requests?.take(1, nowUs);
    if (announcedBytes > 0) this.#bytes?.take(announcedBytes, nowUs);
  }

  leave(announcedBytes: number, receivedBytes: number, nowUs: number): void {
    this.#underWay -= 1;
    if (receivedBytes > announcedBytes) this.#bytes?.take(receivedBytes - announcedBytes, nowUs);
    else if (receivedBytes < announcedBytes) this.#bytes?.giveBack(announcedBytes - receivedBytes, nowUs);
  }

  /** Undefined when its requests are not limited. */
  requestState(nowUs: number): RateLimitState | undefined {
    return this.#requests === undefined ? undefined : stateOf(this.#requests, nowUs);
  }

  #requestRefusal(nowUs: number): Refusal | undefined {
    if (this.#requests === undefined) return undefined;
    const refusal = refusalOf(this.#requests, `requests of ${this.#limits.holder}`, nowUs);
    return refusal === undefined ? undefined : { ...refusal, rateLimit: stateOf(this.#requests, nowUs) };
  }

  /** Who owes for bodies may still send requests without one. A body of unknown length is let in when there is room for its first byte. */
  #byteRefusal(body: AnnouncedBody, nowUs: number): Refusal | undefined {
    if (this.#bytes === undefined || body === 0) return undefined;
    const waitUs = this.#bytes.waitUs(body === "chunked" ? 1 : body, nowUs);
    if (waitUs === 0) return undefined;
    return { limit: `bytes of ${this.#limits.holder}`, allowed: this.#bytes.burst, waitUs };
  }

  #concurrencyRefusal(): Refusal | undefined {
    const { concurrentRequests, holder } = this.#limits;
    if (concurrentRequests === undefined || this.#underWay < concurrentRequests) return undefined;
    const limit = `concurrent requests of ${holder}`;
    return { limit, allowed: concurrentRequests, waitUs: CONCURRENCY_WAIT_US };
  }
}

export function longest(a: Refusal | undefined, b: Refusal | undefined): Refusal | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.waitUs > a.waitUs ? b : a;
}
