/** Which blobs are still wanted, and the removal of the others. */

import type { Clock } from "@legacygpu/shared/clock";
import type { Digest } from "@legacygpu/shared/manifest";
import type { Blobs } from "./blobs.ts";

/** Between the arrival of a file and the version that names it; to send the file again costs more than to keep it. */
const HOLD_MS = 3_600_000;
/** What nobody has named for so long was given up. */
const ABANDONED_MS = 24 * 3_600_000;

export class BlobCare {
  readonly #blobs: Blobs;
  readonly #clock: Clock;
  readonly #isNamed: (digest: Digest) => boolean;
  /** Until when each is kept although no model names it. */
  readonly #held = new Map<Digest, number>();
  /** How many are about to name it. */
  readonly #pins = new Map<Digest, number>();
  readonly #removals = new Map<Digest, Promise<void>>();

  /** @param isNamed whether a model has it as its file or manifest */
  constructor(blobs: Blobs, clock: Clock, isNamed: (digest: Digest) => boolean) {
    this.#blobs = blobs;
    this.#clock = clock;
    this.#isNamed = isNamed;
  }

  /** Somebody has sent it, or is about to: it stays for an hour, whatever is removed. Waits for a removal that is under way. */
  async hold(digest: Digest): Promise<void> {
    this.#held.set(digest, this.#clock.now() + HOLD_MS);
    await this.#removals.get(digest);
  }

  /** It stays while `work` makes a model that names it. */
  async pinned<Result>(digest: Digest, work: () => Promise<Result>): Promise<Result> {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    try {
      await this.#removals.get(digest);
      const result = await work();
      // From here on it stays as long as a model names it.
      this.#held.delete(digest);
      return result;
    } finally {
      const left = (this.#pins.get(digest) ?? 0) - 1;
      if (left > 0) this.#pins.set(digest, left);
      else this.#pins.delete(digest);
    }
  }

  /** Removes those that no model names any more, unless somebody is pushing them. */
  async release(digests: Iterable<Digest>): Promise<void> {
    for (const digest of new Set(digests)) {
      if (this.#isNamed(digest) || this.#isHeld(digest)) continue;
      const removal = this.#blobs.remove(digest).finally(() => this.#removals.delete(digest));
      this.#removals.set(digest, removal);
      await removal;
    }
  }

  /** Removes what was sent and never named. */
  async removeAbandoned(): Promise<void> {
    const beforeMs = this.#clock.now() - ABANDONED_MS;
    const old = (await this.#blobs.all()).filter(({ storedAtMs }) => storedAtMs < beforeMs);
    await this.release(old.map(({ digest }) => digest));
    for (const digest of this.#held.keys()) this.#isHeld(digest);
  }

  #isHeld(digest: Digest): boolean {
    if (this.#pins.has(digest)) return true;
    const untilMs = this.#held.get(digest);
    if (untilMs === undefined) return false;
    if (untilMs > this.#clock.now()) return true;
    this.#held.delete(digest);
    return false;
  }
}
