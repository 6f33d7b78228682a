/**
 * Inputs that agents are fetching over HTTPS, as the bytes that they are sent. An agent asks for a large one piece by piece, and to read and to encode all of
 * it for each would cost more than to send it.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import { encodeValue } from "@legacygpu/shared/protocol/codec";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";

/** An agent that has not asked for more by then has gone, or asks again. */
const IDLE_MS = 30_000;
/** Of all together; beyond it those go that were asked for longest ago, to be read again when the next piece is wanted. */
const MAX_BYTES = 512 * 1024 ** 2;

interface Fetched {
  readonly bytes: Uint8Array;
  usedAtMs: number;
}

export class AttemptInputs {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  /** Those asked for longest ago first. */
  readonly #fetched = new Map<number, Fetched>();
  #heldBytes = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock, maxBytes = MAX_BYTES) {
    this.#clock = clock;
    this.#maxBytes = maxBytes;
  }

  /** How many are being fetched. */
  get count(): number {
    return this.#fetched.size;
  }

  encoded(token: number, read: () => TaskInput): Uint8Array {
    const usedAtMs = this.#clock.monotonic();
    const known = this.#fetched.get(token);
    if (known !== undefined) {
      known.usedAtMs = usedAtMs;
      this.#fetched.delete(token);
      this.#fetched.set(token, known);
      return known.bytes;
    }
    const bytes = encodeValue(read());
    this.#fetched.set(token, { bytes, usedAtMs });
    this.#heldBytes += bytes.length;
    this.#makeRoom();
    this.#timer ??= this.#clock.after(IDLE_MS, () => this.#sweep());
    return bytes;
  }

  /** The last of it has been sent. */
  forget(token: number): void {
    this.#heldBytes -= this.#fetched.get(token)?.bytes.length ?? 0;
    this.#fetched.delete(token);
  }

  close(): void {
    this.#timer?.cancel();
    this.#fetched.clear();
    this.#heldBytes = 0;
  }

  /** The latest stays, however large it is: it is being sent. */
  #makeRoom(): void {
    for (const token of this.#fetched.keys()) {
      if (this.#heldBytes <= this.#maxBytes || this.#fetched.size === 1) return;
      this.forget(token);
    }
  }

  #sweep(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonic();
    for (const [token, { usedAtMs }] of this.#fetched) {
      if (nowMs - usedAtMs >= IDLE_MS) this.forget(token);
    }
    if (this.#fetched.size > 0) this.#timer = this.#clock.after(IDLE_MS, () => this.#sweep());
  }
}
