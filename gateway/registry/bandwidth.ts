/**
 * How many bytes per second get through one direction of a site's line, from transfers that had to be made anyway.
 *
 * Transfers of one moment share the line, and what is known of a transfer comes when it is over. So each is kept as an interval with its bytes, those
 * that overlap are put together to *bursts*, and a burst's rate is all its bytes over the time in which at least one of them ran. The
 * estimate is the median of the bursts, weighted by bytes: a stall moves nothing. Some bursts in a row at less than half of it, or at more than
 * twice it, are another line: what was known before is forgotten. Fewer are needed to believe that it has become slower.
 *
 * It is what transfers got: a source or a receiver slower than the line makes it too low, never too high.
 */

export interface Transferred {
  /** Monotonic. */
  readonly startMs: number;
  readonly endMs: number;
  readonly bytes: number;
}

interface Burst {
  readonly startMs: number;
  endMs: number;
  bytes: number;
  /** A transfer began in it: it is not only what another burst has left over. */
  isOfItsOwn: boolean;
}

/** What is smaller is over before the line has come up to speed. */
export const LEAST_TRANSFER_BYTES = 64 * 1024;
/** No clock and no event loop tells less. */
const LEAST_MS = 1;
const MAX_KEPT = 64;
/** What begins so long after a burst belongs to the next one, or a busy line would be one burst for ever. */
const BURST_MS = 5000;
/** So many bursts, or so much time, in a row are another line. */
const SLOWER = { bursts: 2, busyMs: 2000 };
const FASTER = { bursts: 3, busyMs: 3000 };

export class Bandwidth {
  /** By start. */
  #kept: Transferred[] = [];
  #bytesPerSecond: number | undefined;
  #transfers = 0;

  /** Undefined before the first transfer that is large enough. */
  get bytesPerSecond(): number | undefined {
    return this.#bytesPerSecond;
  }

  /** How many transfers were large enough to tell. */
  get transfers(): number {
    return this.#transfers;
  }

  /** In any order: who ran longer is heard of later. */
  transferred({ startMs, endMs, bytes }: Transferred): void {
    if (bytes < LEAST_TRANSFER_BYTES || !Number.isFinite(endMs - startMs)) return;
    this.#transfers += 1;
    this.#kept.push({ startMs, endMs: Math.max(endMs, startMs + LEAST_MS), bytes });
    this.#kept = this.#kept.sort((a, b) => a.startMs - b.startMs).slice(-MAX_KEPT);
    this.#estimate();
  }

  #estimate(): void {
    const bursts = burstsOf(this.#kept);
    const since = this.#changedSince(bursts);
    if (since !== undefined) this.#kept = this.#kept.filter(({ startMs }) => startMs >= since.startMs);
    this.#bytesPerSecond = medianRate(since === undefined ? bursts : bursts.slice(bursts.indexOf(since)));
  }

  /** The first burst of another line, if there is one. */
  #changedSince(bursts: readonly Burst[]): Burst | undefined {
    const usual = this.#bytesPerSecond;
    if (usual === undefined) return undefined;
    return (
      lastRun(bursts, SLOWER, (rate) => rate < usual / 2) ??
      lastRun(bursts, FASTER, (rate) => rate > usual * 2)
    );
  }
}

function burstsOf(transfers: readonly Transferred[]): Burst[] {
  const bursts: Burst[] = [];
  for (const { startMs, endMs, bytes } of transfers) {
    const last = bursts.at(-1);
    if (last === undefined || startMs >= last.endMs) {
      bursts.push({ startMs, endMs, bytes, isOfItsOwn: true });
    } else if (startMs - last.startMs < BURST_MS) {
      last.bytes += bytes;
      last.endMs = Math.max(last.endMs, endMs);
      last.isOfItsOwn = true;
    } else {
      const beyond = Math.max(0, endMs - last.endMs) / (endMs - startMs);
      last.bytes += bytes * (1 - beyond);
      if (beyond > 0) bursts.push({ startMs: last.endMs, endMs, bytes: bytes * beyond, isOfItsOwn: false });
    }
  }
  return bursts.filter(({ isOfItsOwn }) => isOfItsOwn);
}

function rateOf({ startMs, endMs, bytes }: Burst): number {
  return (1000 * bytes) / (endMs - startMs);
}

/** Where the latest bursts that satisfy `accept` begin, if they are enough. */
function lastRun(
  bursts: readonly Burst[],
  enough: { readonly bursts: number; readonly busyMs: number },
  accept: (rate: number) => boolean,
): Burst | undefined {
  let busyMs = 0;
  for (let i = bursts.length - 1; i >= 0; i -= 1) {
    const burst = bursts[i] as Burst;
    if (!accept(rateOf(burst))) return undefined;
    busyMs += burst.endMs - burst.startMs;
    if (bursts.length - i >= enough.bursts || busyMs >= enough.busyMs) return burst;
  }
  return undefined;
}

function medianRate(bursts: readonly Burst[]): number {
  const sorted = bursts.toSorted((a, b) => rateOf(a) - rateOf(b));
  let left = sorted.reduce((sum, { bytes }) => sum + bytes, 0) / 2;
  for (const burst of sorted) {
    left -= burst.bytes;
    if (left <= 0) return rateOf(burst);
  }
  return rateOf(sorted.at(-1) as Burst);
}
