/** One direction of a proxied connection, and the weather on the way. */

import type { Socket } from "node:net";
import type { Random } from "@legacygpu/shared/clock";

/** What the proxy holds back unless the line is slow: enough that a delay by itself limits nothing. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** How much a slow line holds back, and how much of it leaves at a time. */
const SLOW_QUEUE_MS = 200;
const SLOW_PIECE_MS = 20;

/** How the network is now. */
export class Weather {
  delayMs = 0;
  jitterMs = 0;
  random: Random = Math.random;
  bytesPerSecond: number | undefined;
  corruption: { readonly probability: number; readonly random: Random } | undefined;
  isStill = false;

  get maxQueuedBytes(): number {
    return this.bytesPerSecond === undefined ? MAX_QUEUED_BYTES : this.#bytesIn(SLOW_QUEUE_MS);
  }
  get maxPieceBytes(): number {
    return this.bytesPerSecond === undefined ? MAX_QUEUED_BYTES : this.#bytesIn(SLOW_PIECE_MS);
  }

  #bytesIn(ms: number): number {
    return Math.max(1, Math.floor(((this.bytesPerSecond ?? 0) * ms) / 1000));
  }
}

/** One direction of the line that all connections share. */
export interface Line {
  freeAtMs: number;
}

interface Piece {
  /** Undefined: the sender has finished. */
  bytes: Buffer | undefined;
  readonly arrivedAtMs: number;
  /** Its share of the jitter, 0 to 1. */
  readonly luck: number;
}

/**
 * One direction of one connection.
 *
 * flowing: what arrives is passed on, in order. ended: the receiver has been told that nothing more comes. lost: something has vanished, so
 * nothing that follows can be of use. In the last two what arrives is read and thrown away.
 */
export class OneWay {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #weather: Weather;
  readonly #line: Line;
  #state: "flowing" | "ended" | "lost" = "flowing";
  #queue: Piece[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, weather: Weather, line: Line) {
    this.#from = from;
    this.#to = to;
    this.#weather = weather;
    this.#line = line;
    from.on("data", (chunk: Buffer) => this.#take(chunk));
    from.on("end", () => this.#take(undefined));
    to.on("close", () => {
      this.#discard("ended");
      from.resume();
    });
    to.on("drain", () => this.update());
  }

  /** The weather has changed, or it is time to pass something on. */
  update(): void {
    clearTimeout(this.#timer);
    if (this.#weather.isStill) {
      this.#from.pause();
      return;
    }
    this.#passOn();
    if (this.#queuedBytes < this.#weather.maxQueuedBytes) this.#from.resume();
    else this.#from.pause();
  }

  end(): void {
    if (this.#state !== "flowing") return;
    this.#discard("ended");
    this.#to.end();
  }

  lose(): void {
    this.#discard("lost");
    this.#from.resume();
  }

  #discard(state: "ended" | "lost"): void {
    this.#state = state;
    this.#queue = [];
    this.#queuedBytes = 0;
    clearTimeout(this.#timer);
  }

  #take(bytes: Buffer | undefined): void {
    if (this.#state !== "flowing") return;
    this.#queue.push({ bytes, arrivedAtMs: performance.now(), luck: this.#weather.random() });
    this.#queuedBytes += bytes?.length ?? 0;
    this.update();
  }

  #passOn(): void {
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      if (this.#to.writableNeedDrain) return;
      const waitMs = this.#dueMs(head) - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.update(), Math.ceil(waitMs));
        return;
      }
      if (head.bytes === undefined) this.end();
      else this.#write(this.#cut(head, head.bytes));
    }
  }

  #dueMs({ arrivedAtMs, luck }: Piece): number {
    const { delayMs, jitterMs, bytesPerSecond } = this.#weather;
    const fromDelay = arrivedAtMs + delayMs + luck * jitterMs;
    return bytesPerSecond === undefined ? fromDelay : Math.max(fromDelay, this.#line.freeAtMs);
  }

  /** What leaves now of the oldest piece; the rest stays. */
  #cut(head: Piece, bytes: Buffer): Buffer {
    const { maxPieceBytes } = this.#weather;
    if (bytes.length <= maxPieceBytes) this.#queue.shift();
    else head.bytes = bytes.subarray(maxPieceBytes);
    return bytes.subarray(0, maxPieceBytes);
  }

  #write(bytes: Buffer): void {
    const { bytesPerSecond } = this.#weather;
    this.#queuedBytes -= bytes.length;
    if (bytesPerSecond !== undefined)
      this.#line.freeAtMs =
        Math.max(this.#line.freeAtMs, performance.now()) + (bytes.length * 1000) / bytesPerSecond;
    this.#to.write(this.#corrupted(bytes));
  }

  #corrupted(bytes: Buffer): Buffer {
    const { corruption } = this.#weather;
    if (corruption === undefined || corruption.random() >= corruption.probability) return bytes;
    const copy = Buffer.from(bytes);
    const at = Math.floor(corruption.random() * copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << Math.floor(corruption.random() * 8));
    return copy;
  }
}
