/**
 * What may be spent on second copies, in milliseconds of workers' time: it grows with the work that is sent, and the less so the less time copies have
 * saved lately.
 */

const SHARE_OF_WORK = 0.03;
const LEAST_WORTH = 0.05;
/** In tasks. */
const MAX_SAVED_UP = 40;
const FIRST_MS = 200;
const GAIN = 0.05;
const MAX_SAVING_MS = 5000;

/** What became of one copy. */
export interface HedgeAccount {
  readonly costMs: number;
  /** When the copy's answer came first. */
  wonAtMs: number | undefined;
  isClosed: boolean;
}

export class HedgeBudget {
  #tokensMs = FIRST_MS;
  #savedMs = 100;
  #spentMs = 100;

  /** A task was sent that is expected to take so long. */
  earn(expectedMs: number): void {
    const worth = Math.max(LEAST_WORTH, Math.min(1, this.#savedMs / (this.#spentMs + 1)));
    this.#tokensMs = Math.min(MAX_SAVED_UP * expectedMs, this.#tokensMs + SHARE_OF_WORK * expectedMs * worth);
  }

  canSpend(costMs: number): boolean {
    return this.#tokensMs >= costMs;
  }

  spend(costMs: number): HedgeAccount {
    this.#tokensMs -= costMs;
    return { costMs, wonAtMs: undefined, isClosed: false };
  }

  /** One of the two has been answered well. */
  answered(account: HedgeAccount, isCopy: boolean, nowMs: number): void {
    if (account.isClosed) return;
    if (account.wonAtMs === undefined && isCopy) {
      account.wonAtMs = nowMs;
      return;
    }
    if (account.wonAtMs !== undefined && isCopy) return;
    const savedMs = account.wonAtMs === undefined ? 0 : Math.min(nowMs - account.wonAtMs, MAX_SAVING_MS);
    this.#savedMs += GAIN * (savedMs - this.#savedMs);
    this.#spentMs += GAIN * (account.costMs - this.#spentMs);
    account.isClosed = true;
  }
}
