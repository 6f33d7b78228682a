/**
 * The network between the gateway and one worker: what is known of its site, and how much nearer or farther it is itself.
 *
 * A sample that stood behind something large is *suspect*: a queue only ever adds, so it counts when it is lower than what is known, and not when it
 * is higher. When nothing else has come for a while it counts too, or a link that is never quiet would never notice a new path.
 *
 * A worker whose samples never fit its site is somewhere else, under the same name, or holds its answers back: it goes by its own pings, and
 * the estimate of the site puts such samples aside by itself.
 */

import type { Clock } from "@legacygpu/shared/clock";
import type { Path } from "../dispatch/ports.ts";
import { RttEstimate } from "./rtt.ts";
import type { RttOffset } from "./site-rtt.ts";
import type { Site } from "./sites.ts";

export interface RttSample {
  readonly rttMs: number;
  /** Monotonic; when what was answered left. */
  readonly sentAtMs: number;
  /** Much else was on the link. Whether much was beside it, the path knows. */
  readonly isQueued: boolean;
}

/** Samples in a row that do not fit the site. */
const STRAY_SAMPLES = 4;
const FIT_DEVIATIONS = 4;
const FIT_MARGIN_MS = 0.5;
/** For so long what is suspect is passed over. */
const MAX_DOUBT_MS = 10_000;

export class WorkerPath implements Path, RttOffset {
  readonly site: Site;
  readonly #clock: Pick<Clock, "monotonic">;
  /** From its own pings alone. */
  readonly pings = new RttEstimate();
  /** Kept by the estimate of the site. */
  offsetMs = 0;
  #strays = 0;
  #believedAtMs: number;

  constructor(site: Site, clock: Pick<Clock, "monotonic">) {
    this.site = site;
    this.#clock = clock;
    this.#believedAtMs = clock.monotonic();
  }

  get rttMs(): number | undefined {
    return this.#isElsewhere ? this.pings.smoothedMs : (this.site.rtt.rttTo(this) ?? this.pings.smoothedMs);
  }

  get deviationMs(): number {
    return this.#isElsewhere ? this.pings.deviationMs : this.site.rtt.deviationMs;
  }

  uploadMs(bytes: number): number {
    return this.site.toSite.durationMs(bytes);
  }

  /** The same for the way from the worker to the gateway. */
  downloadMs(bytes: number): number {
    return this.site.fromSite.durationMs(bytes);
  }

  /** A ping was answered. */
  ponged(sample: RttSample): void {
    const { rttMs } = sample;
    if (this.#isBelieved(sample)) {
      this.pings.sample(rttMs);
      this.#sample(rttMs);
      return;
    }
    if (rttMs < (this.pings.smoothedMs ?? Number.POSITIVE_INFINITY)) this.pings.sample(rttMs);
    if (rttMs < (this.site.rtt.rttTo(this) ?? Number.POSITIVE_INFINITY)) this.#sample(rttMs);
  }

  /** A task was answered: what of its time the worker did not account for. */
  answered(sample: RttSample): void {
    if (this.#isBelieved(sample) || sample.rttMs < (this.rttMs ?? Number.POSITIVE_INFINITY))
      this.#sample(sample.rttMs);
  }

  get #isElsewhere(): boolean {
    return this.#strays >= STRAY_SAMPLES && this.pings.smoothedMs !== undefined;
  }

  #isBelieved({ isQueued, sentAtMs }: RttSample): boolean {
    const nowMs = this.#clock.monotonic();
    if (isQueued || this.site.wasBusySince(sentAtMs)) return nowMs - this.#believedAtMs > MAX_DOUBT_MS;
    this.#believedAtMs = nowMs;
    return true;
  }

  #sample(rttMs: number): void {
    const { rtt } = this.site;
    rtt.sample(this, rttMs);
    const errorMs = Math.abs(rttMs - (rtt.rttTo(this) ?? rttMs));
    this.#strays = errorMs > FIT_DEVIATIONS * rtt.deviationMs + FIT_MARGIN_MS ? this.#strays + 1 : 0;
  }
}
