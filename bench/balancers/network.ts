/** Messages on their way: half a round trip with jitter, stalls, and in order, as a socket delivers them. */

import type { RandomStream } from "./random.ts";
import type { SiteSpec } from "./scenario.ts";

const JITTER = 0.1;
/** Nothing is much faster than the path. */
const FASTEST = 0.85;
const STALL_MS = 200;

/** Of the path itself, without jitter. */
export function rttMsOf({ rtt }: SiteSpec, atMs: number): number {
  return typeof rtt === "function" ? rtt(atMs) : rtt;
}

/** @returns how long one message takes. */
export function oneWayMs(site: SiteSpec, atMs: number, random: RandomStream): number {
  const { jitter = JITTER, spikeP = 0, spikeMs = STALL_MS } = site;
  const delayMs = (rttMsOf(site, atMs) / 2) * Math.max(FASTEST, random.lognormal(jitter));
  return spikeP > 0 && random.next() < spikeP ? delayMs + random.exponential(spikeMs) : delayMs;
}

/** One direction of a connection. */
export class Channel {
  readonly #site: SiteSpec;
  readonly #random: RandomStream;
  #lastMs = 0;

  constructor(site: SiteSpec, random: RandomStream) {
    this.#site = site;
    this.#random = random;
  }

  /** When a message arrives that is sent now. */
  deliveryMs(nowMs: number): number {
    this.#lastMs = Math.max(this.#lastMs, nowMs + oneWayMs(this.#site, nowMs, this.#random));
    return this.#lastMs;
  }

  /** A new connection: nothing is in front. */
  reopen(nowMs: number): void {
    this.#lastMs = nowMs;
  }
}
