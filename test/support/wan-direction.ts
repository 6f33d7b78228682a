/**
 * One direction of a site's line: a queue of bounded size, a bandwidth, a delay. All connections of the site share it.
 *
 * What a connection sends waits in its own socket until there is room in the queue; the connections that wait take turns, a packet each. So the
 * queue fills as TCP fills that of a router, and whoever sends too much is slowed down instead of losing packets: what retransmissions would
 * cost is not emulated. In the queue it is first come, first served, so that a small message waits behind a large one.
 */

import type { Random } from "@legacygpu/shared/clock";

export interface LineConditions {
  readonly delayMs: number;
  /** Up to so much more, drawn for each packet; order is kept. */
  readonly jitterMs: number;
  /** Undefined: no limit. */
  readonly bytesPerSecond: number | undefined;
  /** What waits for a slow line before its senders have to wait. */
  readonly queueBytes: number;
}

/** A small router's. */
const QUEUE_BYTES = 128 * 1024;
export const CLEAR_LINE: LineConditions = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecond: undefined,
  queueBytes: QUEUE_BYTES,
};

/** Something that has bytes to send. */
export interface Sender {
  /** Undefined: nothing can be sent now. */
  next(maxBytes: number): Packet | undefined;
}

export interface Packet {
  readonly sizeBytes: number;
  /** It has come through. */
  arrive(): void;
}

interface Queued {
  readonly packet: Packet;
  readonly enteredAtMs: number;
}
interface Travelling {
  readonly packet: Packet;
  readonly arrivesAtMs: number;
}

const PACKET_BYTES = 1448;
/** On a fast line packets are as large as what it carries in this time: timers are no finer. */
const PACKET_MS = 1;
/** On a line without limit. */
const MAX_PACKET_BYTES = 64 * 1024;

export class WanDirection {
  readonly #random: Random;
  readonly #waiting = new Set<Sender>();
  #conditions = CLEAR_LINE;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #travelling: Travelling[] = [];
  /** Until then it is busy with what has left the queue. */
  #freeAtMs = 0;
  #latestArrivalMs = 0;
  #isFrozen = false;
  #isWorking = false;
  #timer: NodeJS.Timeout | undefined;
  /** The most that has waited in the queue. */
  peakQueuedBytes = 0;
  carriedBytes = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** For what enters from now on; what is on its way arrives as it would have. */
  change(conditions: Partial<LineConditions>): void {
    this.#conditions = { ...this.#conditions, ...conditions };
    this.#work();
  }

  /** Nothing moves any more, nothing is lost. */
  freeze(isFrozen: boolean): void {
    this.#isFrozen = isFrozen;
    this.#work();
  }

  /** The sender has something to send, or can send again. */
  offer(sender: Sender): void {
    this.#waiting.add(sender);
    this.#work();
  }

  /** Everything on the line is lost. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#waiting.clear();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#travelling = [];
  }

  #work(): void {
    // What arrives may make another sender ready at once.
    if (this.#isWorking) return;
    this.#isWorking = true;
    clearTimeout(this.#timer);
    if (!this.#isFrozen) {
      const nowMs = performance.now();
      // Room in the queue comes before those who wait for it, and again after them on a line without limit.
      this.#leaveQueue(nowMs);
      this.#enterQueue(nowMs);
      this.#leaveQueue(nowMs);
      this.#arrive(nowMs);
      this.#wakeAtNextEvent(nowMs);
    }
    this.#isWorking = false;
  }

  #enterQueue(nowMs: number): void {
    const { queueBytes, bytesPerSecond } = this.#conditions;
    const packetBytes = packetSize(bytesPerSecond);
    for (let [sender] = this.#waiting; sender !== undefined; [sender] = this.#waiting) {
      if (this.#queuedBytes >= queueBytes) {
        if (bytesPerSecond !== undefined) return;
        this.#leaveQueue(nowMs);
      }
      this.#waiting.delete(sender);
      const packet = sender.next(packetBytes);
      if (packet === undefined) continue;
      this.#queue.push({ packet, enteredAtMs: nowMs });
      this.#queuedBytes += packet.sizeBytes;
      this.peakQueuedBytes = Math.max(this.peakQueuedBytes, this.#queuedBytes);
      this.#waiting.add(sender);
    }
  }

  #leaveQueue(nowMs: number): void {
    const { delayMs, jitterMs } = this.#conditions;
    let leaving = 0;
    for (; leaving < this.#queue.length; leaving += 1) {
      const queued = this.#queue[leaving] as Queued;
      const leftAtMs = this.#leavesAtMs(queued);
      if (leftAtMs > nowMs) break;
      this.#freeAtMs = leftAtMs;
      this.#queuedBytes -= queued.packet.sizeBytes;
      this.carriedBytes += queued.packet.sizeBytes;
      const arrivesAtMs = leftAtMs + delayMs + this.#random() * jitterMs;
      this.#latestArrivalMs = Math.max(this.#latestArrivalMs, arrivesAtMs);
      this.#travelling.push({ packet: queued.packet, arrivesAtMs: this.#latestArrivalMs });
    }
    if (leaving > 0) this.#queue = this.#queue.slice(leaving);
  }

  #leavesAtMs({ packet, enteredAtMs }: Queued): number {
    const { bytesPerSecond } = this.#conditions;
    const startsAtMs = Math.max(this.#freeAtMs, enteredAtMs);
    return bytesPerSecond === undefined
      ? startsAtMs
      : startsAtMs + (packet.sizeBytes * 1000) / bytesPerSecond;
  }

  #arrive(nowMs: number): void {
    let arriving = 0;
    while ((this.#travelling[arriving]?.arrivesAtMs ?? Number.POSITIVE_INFINITY) <= nowMs) arriving += 1;
    for (const { packet } of this.#travelling.splice(0, arriving)) packet.arrive();
  }

  #wakeAtNextEvent(nowMs: number): void {
    const [queued] = this.#queue;
    const [travelling] = this.#travelling;
    const atMs = Math.min(
      queued === undefined ? Number.POSITIVE_INFINITY : this.#leavesAtMs(queued),
      travelling?.arrivesAtMs ?? Number.POSITIVE_INFINITY,
    );
    if (atMs < Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.#work(), Math.max(0, Math.ceil(atMs - nowMs)));
  }
}

function packetSize(bytesPerSecond: number | undefined): number {
  if (bytesPerSecond === undefined) return MAX_PACKET_BYTES;
  return Math.min(MAX_PACKET_BYTES, Math.max(PACKET_BYTES, Math.floor((bytesPerSecond * PACKET_MS) / 1000)));
}
