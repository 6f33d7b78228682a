/**
 * One direction of the line between the gateway and a site: its bandwidth, and whether something large is on it.
 *
 * How its transfers are measured: of an input fetched beside the link the agent tells how long that took, of a blob how much of it has arrived, once a
 * second; an output is timed here, from the request's head to its last byte. Nothing is taken from the moment at which the gateway has
 * *written* something: that only shows how fast a socket's buffer fills, and a payload smaller than it seems to take no time.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { Bandwidth } from "./bandwidth.ts";

/** What a line that nothing is known of is thought to carry, when the end of a transfer has to be guessed. */
const FIRST_BYTES_PER_SECOND = 1_000_000;
/** Whoever announces a terabyte and sends nothing must not blind us for long. */
const MAX_BUSY_MS = 10_000;
/** No line is faster; who says so is wrong. */
const MAX_BYTES_PER_MS = 100_000_000;

/** A transfer that is timed here. */
export interface Transfer {
  /** It is complete. One that never is tells nothing. */
  end(bytes: number): void;
}

export class SiteLine {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #bandwidth = new Bandwidth();
  #busyUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** Undefined while nothing large has been transferred. */
  get bytesPerSecond(): number | undefined {
    return this.#bandwidth.bytesPerSecond;
  }

  get transfers(): number {
    return this.#bandwidth.transfers;
  }

  /** How long so many bytes take, beyond the round trip; 0 while no bandwidth is known. */
  durationMs(bytes: number): number {
    const rate = this.#bandwidth.bytesPerSecond;
    return rate === undefined ? 0 : (1000 * bytes) / rate;
  }

  /** Something large has been on it since then, as far as can be foreseen: what was measured meanwhile stood in its queue. */
  wasBusySince(monotonicMs: number): boolean {
    return this.#busyUntilMs > monotonicMs;
  }

  /** So many bytes are about to be transferred. */
  expect(bytes: number): void {
    if (!(bytes > 0)) return;
    const nowMs = this.#clock.monotonic();
    const tookMs = (1000 * bytes) / (this.#bandwidth.bytesPerSecond ?? FIRST_BYTES_PER_SECOND);
    this.#busyUntilMs = Math.min(Math.max(nowMs, this.#busyUntilMs) + tookMs, nowMs + MAX_BUSY_MS);
  }

  /** Something of unknown size is on it, for so long at least. */
  expectFor(durationMs: number): void {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.#clock.monotonic() + durationMs);
  }

  begin(expectedBytes: number): Transfer {
    const startMs = this.#clock.monotonic();
    this.expect(expectedBytes);
    return { end: (bytes) => this.transferred(startMs, this.#clock.monotonic(), bytes) };
  }

  /** @param startMs monotonic, when its first byte arrived, or could have; @param endMs when its last one did. */
  transferred(startMs: number, endMs: number, bytes: number): void {
    if (bytes > MAX_BYTES_PER_MS * Math.max(1, endMs - startMs)) return;
    this.#bandwidth.transferred({ startMs, endMs, bytes });
  }
}
