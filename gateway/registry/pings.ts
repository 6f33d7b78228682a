/**
 * The pings of one connection: who is asked when, and what an answer is worth.
 *
 * A ping carries a random number and nothing else. When it was sent stays here, so that an answer can only be late, never early: whoever sends
 * a number that is not out, or one a second time, is not believed.
 */

import { randomBytes as systemRandomBytes } from "node:crypto";
import type { Clock } from "@legacygpu/shared/clock";
import type { RttSample } from "./worker-path.ts";

/** Between two pings of a connection. */
const INTERVAL_MS = 1000;
/** While one is out there is no other, unless it is as old as that. */
const OVERDUE_MS = 5000;
const NONCE_BYTES = 8;
/** Late answers are believed, but not for ever. */
const MAX_OUT = 4;
/** Behind more than that a ping, or its answer, has waited. */
export const QUEUE_BYTES = 16 * 1024;

export type RandomBytes = (size: number) => Uint8Array;

/** What else is on a connection. */
export interface LinkLoad {
  /** Sent, and not known to have arrived. */
  readonly unacknowledgedBytes: number;
  /** Since it was opened. */
  readonly receivedBytes: number;
}

export interface PingsOptions {
  readonly clock: Pick<Clock, "monotonic">;
  readonly load: LinkLoad;
  readonly randomBytes?: RandomBytes | undefined;
}

interface Out {
  readonly nonce: Uint8Array;
  readonly sentAtMs: number;
  readonly isQueued: boolean;
  readonly receivedBytes: number;
}

export class Pings {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #load: LinkLoad;
  readonly #randomBytes: RandomBytes;
  #out: Out[] = [];
  #latestAtMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, load, randomBytes = systemRandomBytes }: PingsOptions) {
    this.#clock = clock;
    this.#load = load;
    this.#randomBytes = randomBytes;
  }

  get isDue(): boolean {
    const sinceMs = this.#clock.monotonic() - this.#latestAtMs;
    return sinceMs >= (this.#isWaiting ? OVERDUE_MS : INTERVAL_MS);
  }

  /** @returns what to send now. */
  next(): Uint8Array {
    const nonce = new Uint8Array(this.#randomBytes(NONCE_BYTES));
    const { unacknowledgedBytes, receivedBytes } = this.#load;
    this.#latestAtMs = this.#clock.monotonic();
    const isQueued = unacknowledgedBytes > QUEUE_BYTES;
    this.#out.push({ nonce, sentAtMs: this.#latestAtMs, isQueued, receivedBytes });
    if (this.#out.length > MAX_OUT) this.#out.shift();
    return nonce;
  }

  /** @returns undefined when nobody asked. */
  answered(payload: Uint8Array): RttSample | undefined {
    const index = this.#out.findIndex(({ nonce }) => isSame(nonce, payload));
    const ping = this.#out[index];
    if (ping === undefined) return undefined;
    // Answers come in order: what was asked before is not answered any more.
    this.#out = this.#out.slice(index + 1);
    return {
      rttMs: this.#clock.monotonic() - ping.sentAtMs,
      sentAtMs: ping.sentAtMs,
      isQueued: ping.isQueued || this.#load.receivedBytes - ping.receivedBytes > QUEUE_BYTES,
    };
  }

  get #isWaiting(): boolean {
    return this.#out.at(-1)?.sentAtMs === this.#latestAtMs;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
