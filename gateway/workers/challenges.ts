/**
 * What workers sign to prove that they have their key: random, for one worker id, good for one try within a minute.
 *
 * Anybody may ask for one, so they are few at most: when there are too many the oldest is forgotten, and its worker asks again.
 */

import { randomBytes } from "node:crypto";
import type { Clock } from "@legacygpu/shared/clock";

const MAX_CHALLENGES = 50_000;
const RANDOM_BYTES = 32;
export const CHALLENGE_LIFE_MS = 60_000;

interface Issued {
  readonly workerId: string;
  /** Monotonic. */
  readonly endsAtMs: number;
}

export class Challenges {
  readonly #clock: Clock;
  readonly #maxCount: number;
  /** Oldest first. */
  readonly #issued = new Map<string, Issued>();

  constructor(clock: Clock, maxCount = MAX_CHALLENGES) {
    this.#clock = clock;
    this.#maxCount = maxCount;
  }

  get size(): number {
    return this.#issued.size;
  }

  issue(workerId: string): string {
    const nowMs = this.#clock.monotonic();
    this.#makeRoom(nowMs);
    const challenge = randomBytes(RANDOM_BYTES).toString("base64url");
    this.#issued.set(challenge, { workerId, endsAtMs: nowMs + CHALLENGE_LIFE_MS });
    return challenge;
  }

  /** Whether it was issued to this worker and is still good. Whatever the answer, it is not good any more. */
  take(challenge: string, workerId: string): boolean {
    const issued = this.#issued.get(challenge);
    this.#issued.delete(challenge);
    return issued?.workerId === workerId && this.#clock.monotonic() < issued.endsAtMs;
  }

  #makeRoom(nowMs: number): void {
    for (const [challenge, { endsAtMs }] of this.#issued) {
      if (endsAtMs > nowMs && this.#issued.size < this.#maxCount) return;
      this.#issued.delete(challenge);
    }
  }
}
