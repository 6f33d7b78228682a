/**
 * How much may be on its way to this agent beside the link, so that it fills the site's line and not the queue in front of it: heartbeats
 * wait in that queue too.
 *
 * A download is asked for in pieces, a few at a time. What a piece's first byte takes beyond the least that any has taken is time in the queue; the
 * size of the pieces follows it, so that the queue stays at {@link TARGET_MS} (as FAST TCP and LEDBAT do with their windows, but by the receiver).
 *
 * | phase    | what holds                                                        | leaves by                                        |
 * | -------- | ----------------------------------------------------------------- | ------------------------------------------------ |
 * | starting | pieces grow with every one that finds no queue                    | half the target in the queue → steady, at once of the size that would have found the target |
 * | steady   | pieces grow or shrink towards the target                          | nothing asked for during a period → starting     |
 *
 * The least is measured anew in every period by a piece that travels alone, because a path can become longer.
 */

import type { Clock } from "@legacygpu/shared/clock";

export const TARGET_MS = 20;
const PERIOD_MS = 10_000;
/** At a time. */
const PIECES = 4;
const LEAST_PIECE_BYTES = 8 * 1024;
const FIRST_PIECE_BYTES = 16 * 1024;
const MOST_PIECE_BYTES = 1024 * 1024;
/** Of so many pieces the least delay counts: jitter strikes some, a queue all. */
const RECENT = PIECES;
/** Twice as much in two round trips: what a queue is told by is a round trip old. */
const GROWTH = 2 ** (1 / (2 * PIECES));
const MOST_GROWTH = 2;
const GAIN = 1 / 8;

/** Leave to ask for a piece. */
export interface Piece {
  readonly maxBytes: number;
  /** Its answer has begun. */
  began(expectedBytes: number): void;
  /** It is there, or will never be. */
  ended(): void;
}

export class PieceWindow {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #waiting = new Set<() => void>();
  #phase: "starting" | "steady" = "starting";
  #pieceBytes = FIRST_PIECE_BYTES;
  #free = PIECES;
  #leastMs = Number.POSITIVE_INFINITY;
  /** Since when that holds; undefined: not measured, or being measured. */
  #measuredAtMs: number | undefined;
  #isMeasuring = false;
  #recentMs: number[] = [];

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /** What may be on its way together. */
  get bytes(): number {
    return PIECES * this.#pieceBytes;
  }

  /** @param share `all`: everything that is free now, in one piece. @throws the reason of `signal` */
  async enter(share: "all" | "one", signal: AbortSignal): Promise<Piece> {
    while (!this.#isOpen()) await this.#change(signal);
    const isAlone = this.#free === PIECES;
    const isMeasurement = isAlone && this.#isMeasurementDue();
    if (isMeasurement) this.#beginMeasurement();
    const slots = share === "all" ? this.#free : 1;
    this.#free -= slots;
    return this.#piece(slots, isMeasurement);
  }

  #isOpen(): boolean {
    if (this.#free === 0 || this.#isMeasuring) return false;
    return this.#free === PIECES || !this.#isMeasurementDue();
  }

  #isMeasurementDue(): boolean {
    return this.#measuredAtMs === undefined || this.#clock.monotonic() - this.#measuredAtMs >= PERIOD_MS;
  }

  #beginMeasurement(): void {
    const sinceMs = this.#clock.monotonic() - (this.#measuredAtMs ?? 0);
    // Nobody has asked for anything during a whole period: what was learned may not hold any more.
    if (sinceMs >= 2 * PERIOD_MS) {
      this.#phase = "starting";
      this.#pieceBytes = Math.min(this.#pieceBytes, FIRST_PIECE_BYTES);
    }
    this.#isMeasuring = true;
  }

  #piece(slots: number, isMeasurement: boolean): Piece {
    const startMs = this.#clock.monotonic();
    const askedBytes = this.#pieceBytes;
    const maxBytes = slots * Math.floor(askedBytes);
    let isMeasured = false;
    let isEnded = false;
    const measured = (): void => {
      if (isMeasurement && !isMeasured) this.#isMeasuring = false;
      isMeasured = true;
      this.#wake();
    };
    return {
      maxBytes,
      began: (expectedBytes) => {
        const tookMs = this.#clock.monotonic() - startMs;
        if (isMeasurement) this.#measured(tookMs);
        this.#sampled(tookMs);
        // What is not made use of shows nothing of what more would do.
        this.#adjust(tookMs, askedBytes, { mayGrow: this.#free === 0 && expectedBytes >= maxBytes });
        measured();
      },
      ended: () => {
        if (isEnded) return;
        isEnded = true;
        this.#free += slots;
        measured();
      },
    };
  }

  #measured(tookMs: number): void {
    this.#leastMs = tookMs;
    this.#recentMs = [];
    this.#measuredAtMs = this.#clock.monotonic();
  }

  #sampled(tookMs: number): void {
    // A measurement may have opened its connection on the way.
    this.#leastMs = Math.min(this.#leastMs, tookMs);
    this.#recentMs.push(tookMs);
    if (this.#recentMs.length > RECENT) this.#recentMs.shift();
  }

  /** @param askedBytes the size of pieces when this one was asked for: what it took tells of that size. */
  #adjust(tookMs: number, askedBytes: number, { mayGrow }: { readonly mayGrow: boolean }): void {
    if (this.#recentMs.length < RECENT) return;
    const queueMs = Math.min(...this.#recentMs) - this.#leastMs;
    if (this.#phase === "steady") {
      const change = GAIN * (askedBytes * this.#factor(this.#leastMs + queueMs) - this.#pieceBytes);
      if (change < 0 || mayGrow) this.#resize(this.#pieceBytes + change);
    } else if (queueMs > TARGET_MS / 2) {
      this.#phase = "steady";
      this.#resize(Math.min(this.#pieceBytes, askedBytes * this.#factor(tookMs)));
    } else if (mayGrow) this.#resize(this.#pieceBytes * GROWTH);
  }

  /** In flight is bandwidth × (least + queue); with so much of it, it would be bandwidth × (least + target). */
  #factor(tookMs: number): number {
    return Math.min(MOST_GROWTH, (this.#leastMs + TARGET_MS) / tookMs);
  }

  #resize(bytes: number): void {
    this.#pieceBytes = Math.min(MOST_PIECE_BYTES, Math.max(LEAST_PIECE_BYTES, bytes));
  }

  async #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      signal.addEventListener("abort", wake);
      this.#waiting.add(wake);
    });
    signal.throwIfAborted();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
