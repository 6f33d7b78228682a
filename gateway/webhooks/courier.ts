/**
 * Brings deliveries to their endpoints, so many at a time in all and so many per endpoint.
 *
 * Every endpoint with anything in its queue has a lane. A lane is in one of these places:
 *
 * asleep   the first in its queue is due later: a timer calls it
 * ready    something may be due: it stands in line for a slot and gets one at a time, so that no endpoint holds up another
 * full     it has as many under way as it may; the first that ends puts it back into the line
 * gone     nothing in its queue and nothing under way
 *
 * What waits is known by the store alone. A delivery under way is found by its id in `#inHand`; it stays there until its outcome is stored, so
 * that a store without room slows the courier down and makes nobody receive the same message in a loop.
 */

import { Backoff } from "@legacygpu/shared/backoff";
import { type Clock, type Random, sleep, type Timer } from "@legacygpu/shared/clock";
import type { Logger } from "@legacygpu/shared/log";
import type { Deliveries, DueEntry } from "./deliveries.ts";
import { afterTry, type Delivery, GONE, givenUp, isSuccess } from "./delivery.ts";
import { disabled, type Endpoint, failing, succeeding } from "./endpoint.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Sender } from "./sender.ts";

const MAX_UNDER_WAY = 8;
const MAX_PER_ENDPOINT = 2;
/** Nothing gets through for so long, and one more delivery is given up: nobody is there. */
const DISABLE_AFTER_MS = 5 * 24 * 3_600_000;
const READ_AGAIN_MS = 60_000;
const STORE_AGAIN = { baseMs: 1000, capMs: 60_000 };
/** Time for what is under way when the gateway closes; whatever is cut off is sent again by the next one. */
const CLOSE_GRACE_MS = 2000;
/** Lanes that are looked at before others get their turn. */
const LOOK_CHUNK = 64;
/** After a look at more than a chunk, per lane: about ten times what the look cost. */
const REST_PER_LANE_MS = 1;

export interface CourierOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly endpoints: Endpoints;
  readonly deliveries: Deliveries;
  readonly sender: Sender;
}

interface Lane {
  underWay: number;
  timer: Timer | undefined;
}

export class Courier {
  readonly #options: CourierOptions;
  readonly #lanes = new Map<string, Lane>();
  /** Endpoints in line for a slot. */
  readonly #ready = new Set<string>();
  readonly #inHand = new Map<string, Promise<void>>();
  readonly #jobs = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  /** Cuts off what is under way. */
  readonly #stop = new AbortController();
  #state: "new" | "running" | "closed" = "new";
  #wakes = 0;
  #looking: Promise<void> | undefined;

  constructor(options: CourierOptions) {
    this.#options = options;
  }

  /** Takes up everything that waits. */
  start(): void {
    this.#state = "running";
    this.wake();
  }

  /** Something may have been added to the queues. */
  wake(): void {
    if (this.#state !== "running") return;
    this.#wakes += 1;
    this.#looking ??= this.#lookAtAll();
  }

  /** Resolves when a delivery is not being sent and the outcome of its last try is stored. */
  async whenFree(deliveryId: string): Promise<void> {
    await this.#inHand.get(deliveryId);
  }

  /** Waits a little for what is under way, then cuts it off. */
  async close(): Promise<void> {
    this.#state = "closed";
    this.#closing.abort();
    for (const { timer } of this.#lanes.values()) timer?.cancel();
    this.#ready.clear();
    await this.#looking;
    const done = Promise.allSettled(this.#jobs);
    const grace = new AbortController();
    void done.then(() => grace.abort());
    await sleep(this.#options.clock, CLOSE_GRACE_MS, grace.signal);
    this.#stop.abort();
    await done;
    this.#lanes.clear();
  }

  async #lookAtAll(): Promise<void> {
    for (let seen = 0; seen !== this.#wakes; ) {
      // All that is added in this turn is found by one look.
      await new Promise(setImmediate);
      seen = this.#wakes;
      const lanes = await this.#lineUpAll();
      // Hundreds of endpoints that are down must not make every finished task expensive.
      if (lanes > LOOK_CHUNK)
        await sleep(this.#options.clock, lanes * REST_PER_LANE_MS, this.#closing.signal);
    }
    this.#looking = undefined;
  }

  /** Returns how many lanes there are. */
  async #lineUpAll(): Promise<number> {
    const { deliveries, log } = this.#options;
    let count = 0;
    try {
      for (const endpointId of deliveries.waitingEndpoints()) {
        this.#lineUp(endpointId);
        count += 1;
        if (count % LOOK_CHUNK === 0) await new Promise(setImmediate);
        if (this.#state !== "running") break;
      }
    } catch (error) {
      log.error({ err: error }, "the webhook deliveries that wait cannot be read");
    }
    return count;
  }

  #lineUp(endpointId: string): void {
    this.#ready.add(endpointId);
    this.#fillSlots();
  }

  #fillSlots(): void {
    // A lane that was served goes to the end of the line, where this same loop meets it again.
    for (const endpointId of this.#ready) {
      if (this.#state !== "running" || this.#jobs.size >= MAX_UNDER_WAY) return;
      this.#ready.delete(endpointId);
      this.#serve(endpointId);
    }
  }

  /** Begins one delivery of a lane, or finds out when there will be one. */
  #serve(endpointId: string): void {
    const lane = this.#lane(endpointId);
    if (lane.underWay >= MAX_PER_ENDPOINT) return;
    lane.timer?.cancel();
    lane.timer = undefined;
    const entry = this.#next(endpointId, lane);
    if (entry === undefined) return;
    const waitMs = entry.atMs - this.#options.clock.now();
    if (waitMs > 0) this.#callLater(endpointId, lane, waitMs);
    else this.#begin(lane, entry);
  }

  #lane(endpointId: string): Lane {
    let lane = this.#lanes.get(endpointId);
    if (lane === undefined) {
      lane = { underWay: 0, timer: undefined };
      this.#lanes.set(endpointId, lane);
    }
    return lane;
  }

  #next(endpointId: string, lane: Lane): DueEntry | undefined {
    try {
      const entry = this.#options.deliveries.next(endpointId, this.#inHand);
      if (entry === undefined && lane.underWay === 0) this.#lanes.delete(endpointId);
      return entry;
    } catch (error) {
      this.#options.log.error({ err: error, endpointId }, "the queue of a webhook endpoint cannot be read");
      this.#callLater(endpointId, lane, READ_AGAIN_MS);
      return undefined;
    }
  }

  #callLater(endpointId: string, lane: Lane, waitMs: number): void {
    lane.timer = this.#options.clock.after(waitMs, () => this.#lineUp(endpointId));
  }

  #begin(lane: Lane, entry: DueEntry): void {
    const { endpointId, deliveryId } = entry;
    lane.underWay += 1;
    const job = this.#handle(entry).then(
      () => void this.#inHand.delete(deliveryId),
      // Left in hand: what fails in an unforeseen way would fail again at once.
      (error) => this.#options.log.error({ err: error, deliveryId }, "a fault while a webhook was sent"),
    );
    this.#jobs.add(job);
    this.#inHand.set(deliveryId, job);
    void job.then(() => {
      lane.underWay -= 1;
      this.#jobs.delete(job);
      if (this.#state === "running") this.#lineUp(endpointId);
    });
    this.#ready.add(endpointId);
  }

  async #handle(entry: DueEntry): Promise<void> {
    const { deliveries, endpoints } = this.#options;
    const endpoint = endpoints.get(entry.endpointId);
    // Deleted while its deliveries were being written.
    if (endpoint === undefined) return this.#untilStored(() => deliveries.removeWaiting(entry.endpointId));
    const delivery = this.#read(entry);
    if (delivery === undefined) return this.#untilStored(() => deliveries.drop(entry));
    const after = await this.#deliver(delivery, endpoint);
    if (after === undefined) return;
    await this.#untilStored(async () => {
      const isDeleted = endpoints.get(entry.endpointId) === undefined;
      await (isDeleted ? deliveries.removeWaiting(entry.endpointId) : deliveries.save(after, entry));
    });
  }

  /** Undefined when the queue's entry means nothing any more. */
  #read(entry: DueEntry): Delivery | undefined {
    try {
      const delivery = this.#options.deliveries.get(entry.deliveryId);
      return delivery?.nextAtMs === entry.atMs ? delivery : undefined;
    } catch (error) {
      this.#options.log.error(
        { err: error, deliveryId: entry.deliveryId },
        "a webhook delivery cannot be read",
      );
      return undefined;
    }
  }

  /** The delivery after one more try; undefined when the gateway closed before its outcome was known. */
  async #deliver(delivery: Delivery, endpoint: Endpoint): Promise<Delivery | undefined> {
    const { clock, random, log, sender } = this.#options;
    if (endpoint.state === "disabled" && delivery.event !== "webhook.test")
      return givenUp(delivery, "the endpoint is disabled", clock.now());
    const result = await sender.send(delivery, endpoint, this.#stop.signal);
    if (result === undefined) return undefined;
    const nowMs = clock.now();
    const after = afterTry(delivery, result, nowMs, random);
    const { status, error, durationMs } = result.attempt;
    const facts = {
      deliveryId: delivery.id,
      endpointId: endpoint.id,
      tries: after.tries,
      status,
      error,
      durationMs,
    };
    if (after.state === "delivered") log.debug(facts, "a webhook was delivered");
    else log.info({ ...facts, state: after.state, nextAtMs: after.nextAtMs }, "a webhook was not delivered");
    await this.#noteHealth(after, endpoint.id, nowMs);
    return after;
  }

  async #noteHealth(after: Delivery, endpointId: string, nowMs: number): Promise<void> {
    const { endpoints, log } = this.#options;
    try {
      const before = endpoints.get(endpointId);
      const endpoint = await endpoints.change(endpointId, (known) => afterOutcome(known, after, nowMs));
      if (before?.state === "active" && endpoint.state === "disabled")
        log.warn({ endpointId, reason: endpoint.disabledReason }, "a webhook endpoint was disabled");
    } catch (error) {
      // Deleted meanwhile, or no room to store it: the next outcome tells the same.
      log.debug({ err: error, endpointId }, "the state of a webhook endpoint was not noted");
    }
  }

  async #untilStored(write: () => Promise<void>): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = new Backoff(STORE_AGAIN, random);
    while (!this.#stop.signal.aborted) {
      try {
        return await write();
      } catch (error) {
        log.error({ err: error }, "the outcome of a webhook delivery cannot be stored yet");
        await sleep(clock, backoff.nextMs(), this.#stop.signal);
      }
    }
  }
}

/** What one outcome says about the endpoint. Tests say nothing: they are asked for when something is wrong. */
function afterOutcome(endpoint: Endpoint, delivery: Delivery, nowMs: number): Endpoint {
  if (delivery.event === "webhook.test") return endpoint;
  const latest = delivery.attempts.at(-1);
  if (latest !== undefined && isSuccess(latest)) return succeeding(endpoint);
  if (latest?.status === GONE) return disabled(endpoint, "the receiver answered 410: it wants no more");
  const failed = failing(endpoint, nowMs);
  const isLost = delivery.state === "failed" && nowMs - (failed.failingSinceMs ?? nowMs) >= DISABLE_AFTER_MS;
  return isLost ? disabled(failed, "nothing has got through for five days") : failed;
}
