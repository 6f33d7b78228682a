/**
 * The round-trip time to a site, pooled over all its workers: one estimate that a worker which has just connected starts from, and that follows the
 * path with few samples from each.
 *
 * A single late sample says nothing (a retransmission, a stalled socket), so one far outside the usual deviation is put aside. Four of them in
 * a row on the same side are a new path: the estimate jumps to their median.
 */

const GAIN = 1 / 12;
const DEVIATION_GAIN = 1 / 16;
const OFFSET_GAIN = 0.02;
const OFFSET_DECAY = 0.05;
/** Outside so many mean deviations a sample is suspect. */
const SUSPECT_DEVIATIONS = 4;
const SUSPECT_MARGIN_MS = 0.5;
const NEW_PATH_SAMPLES = 4;
/** A path is never thought steadier than this share of its RTT. */
const LEAST_DEVIATION = 0.02;
const FIRST_DEVIATION = 0.1;
const LEAST_RTT_MS = 0.2;

/** How much nearer or farther one worker is than its site. */
export interface RttOffset {
  offsetMs: number;
}

export class SiteRtt {
  #rttMs: number | undefined;
  #deviationMs = 0;
  /** Those put aside, all on the same side. */
  #suspects: number[] = [];
  #suspectSide = 0;
  #samples = 0;

  /** Undefined before the first sample. */
  get rttMs(): number | undefined {
    return this.#rttMs;
  }

  /** Mean deviation of the samples. */
  get deviationMs(): number {
    return this.#deviationMs;
  }

  /** How many samples were believed. */
  get samples(): number {
    return this.#samples;
  }

  /** The round trip to one worker of the site. */
  rttTo({ offsetMs }: RttOffset): number | undefined {
    return this.#rttMs === undefined ? undefined : Math.max(LEAST_RTT_MS, this.#rttMs + offsetMs);
  }

  sample(worker: RttOffset, rttMs: number): void {
    if (this.#rttMs === undefined) {
      this.#jump(rttMs, rttMs * FIRST_DEVIATION);
      return;
    }
    const error = rttMs - (this.#rttMs + worker.offsetMs);
    if (Math.abs(error) > SUSPECT_DEVIATIONS * this.#deviationMs + SUSPECT_MARGIN_MS) {
      this.#suspect(rttMs - worker.offsetMs, Math.sign(error));
      return;
    }
    this.#suspects.length = 0;
    this.#samples += 1;
    const deviation = this.#deviationMs + DEVIATION_GAIN * (Math.abs(error) - this.#deviationMs);
    this.#deviationMs = Math.max(deviation, LEAST_DEVIATION * this.#rttMs);
    this.#rttMs += GAIN * error;
    worker.offsetMs += OFFSET_GAIN * (error - OFFSET_DECAY * worker.offsetMs);
  }

  #suspect(rttMs: number, side: number): void {
    if (side !== this.#suspectSide) this.#suspects.length = 0;
    this.#suspectSide = side;
    this.#suspects.push(rttMs);
    if (this.#suspects.length < NEW_PATH_SAMPLES) {
      // A path that has become restless is believed more by and by.
      this.#deviationMs = Math.min(this.#deviationMs * 1.1, 0.5 * (this.#rttMs ?? 0) + 5);
      return;
    }
    const sorted = this.#suspects.toSorted((a, b) => a - b);
    const [, low = rttMs, high = rttMs] = sorted;
    const median = (low + high) / 2;
    this.#jump(median, Math.max(FIRST_DEVIATION * median, high - low));
  }

  #jump(rttMs: number, deviationMs: number): void {
    this.#rttMs = rttMs;
    this.#deviationMs = deviationMs;
    this.#suspects.length = 0;
    this.#samples += 1;
  }
}
