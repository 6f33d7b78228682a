/**
 * Deliveries as documents in the store. Three collections, so that nothing has to be remembered in memory and nothing searched for:
 *
 * deliveries              by id: the deliveries themselves
 * deliveries_by_endpoint  by endpoint and id: the log of an endpoint
 * deliveries_due          by endpoint and time of the next try: the queue of an endpoint; only those that wait
 *
 * All entries of a delivery are written together. What is no longer due is removed after that: a crash in between leaves an entry in the queue
 * whose time is not its delivery's, which is dropped when it is found.
 */

import type { DeliveryState } from "@legacygpu/shared/api/webhooks";
import { fail } from "@legacygpu/shared/errors";
import type { Document, DocumentStore } from "../store/task-store.ts";
import { type Delivery, deliverySchema } from "./delivery.ts";

const DELIVERIES = "deliveries";
const BY_ENDPOINT = "deliveries_by_endpoint";
const DUE = "deliveries_due";

const KEPT_MS = 7 * 24 * 3_600_000;
const CHUNK = 256;
/** How many entries of a log one page looks at: most may be in another state than the one asked for. */
const MAX_SCANNED = 500;
const TIME_DIGITS = 15;

/** A place in an endpoint's queue. */
export interface DueEntry {
  readonly id: string;
  readonly endpointId: string;
  readonly atMs: number;
  readonly deliveryId: string;
}

export interface DeliveryQuery {
  readonly state?: DeliveryState | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface DeliveryPage {
  readonly deliveries: readonly Delivery[];
  readonly nextCursor: string | null;
}

export class Deliveries {
  readonly #documents: DocumentStore;

  constructor(documents: DocumentStore) {
    this.#documents = documents;
  }

  /** @throws `store_corrupt` */
  get(id: string): Delivery | undefined {
    const value = this.#documents.get(DELIVERIES, id);
    if (value === undefined) return undefined;
    const parsed = deliverySchema.safeParse(value);
    if (parsed.success) return parsed.data;
    const where = `${DELIVERIES}/${id}`;
    throw fail("store_corrupt", `The stored delivery ${where} is damaged.`, { key: where }, parsed.error);
  }

  /** Newest first. @throws `store_corrupt` */
  list(endpointId: string, { state, limit, cursor }: DeliveryQuery): DeliveryPage {
    const deliveries: Delivery[] = [];
    let scanned = 0;
    for (let last = cursor; ; ) {
      const ids = this.#logOf(endpointId, last, CHUNK);
      for (const id of ids) {
        if (deliveries.length === limit || scanned === MAX_SCANNED)
          return { deliveries, nextCursor: last ?? null };
        const delivery = this.get(id);
        if (delivery !== undefined && (state === undefined || delivery.state === state))
          deliveries.push(delivery);
        last = id;
        scanned += 1;
      }
      if (ids.length < CHUNK) return { deliveries, nextCursor: null };
    }
  }

  /** The entry of an endpoint's queue whose turn is next, but for those `inHand`. @throws `store_corrupt` */
  next(endpointId: string, inHand: ReadonlyMap<string, unknown>): DueEntry | undefined {
    // Those in hand are few, and all of them may be at the front.
    const page = this.#documents.list(DUE, { ...within(endpointId), limit: inHand.size + 1 });
    return page.map(({ id }) => parseDue(id)).find(({ deliveryId }) => !inHand.has(deliveryId));
  }

  /** Endpoints with anything in their queues, registered or not, in the order of their ids. @throws `store_corrupt` */
  *waitingEndpoints(): Iterable<string> {
    for (let after: string | undefined; ; ) {
      const [first] = this.#documents.list(DUE, { after, limit: 1 });
      if (first === undefined) return;
      const { endpointId } = parseDue(first.id);
      yield endpointId;
      after = within(endpointId).before;
    }
  }

  /** @param entry its place in the queue until now. @throws `store_full`, `store_failed` */
  async save(delivery: Delivery, entry?: DueEntry): Promise<void> {
    await this.#documents.put(documentsOf(delivery));
    if (entry !== undefined && entry.id !== dueId(delivery)) await this.drop(entry);
  }

  /** @throws `store_failed` */
  async drop(entry: DueEntry): Promise<void> {
    await this.#documents.remove(DUE, [entry.id]);
  }

  /**
   * What waits for an endpoint that is no more; what has ended expires by itself. The queue goes last, so that it is found again when this
   * is cut short. @throws `store_failed`
   */
  async removeWaiting(endpointId: string): Promise<void> {
    for (;;) {
      const page = this.#documents.list(DUE, { ...within(endpointId), limit: CHUNK });
      if (page.length === 0) return;
      const ids = page.map(({ id }) => parseDue(id).deliveryId);
      const logged = ids.map((id) => `${endpointId}/${id}`);
      await this.#documents.remove(DELIVERIES, ids);
      await this.#documents.remove(BY_ENDPOINT, logged);
      await this.#documents.remove(
        DUE,
        page.map(({ id }) => id),
      );
    }
  }

  #logOf(endpointId: string, olderThan: string | undefined, limit: number): string[] {
    const { after, before } = within(endpointId);
    const range = { after, before: olderThan === undefined ? before : `${endpointId}/${olderThan}`, limit };
    const page = this.#documents.list(BY_ENDPOINT, { ...range, order: "falling" });
    return page.map(({ id }) => id.slice(endpointId.length + 1));
  }
}

/** All that is stored of a delivery. While it waits it does not expire. */
export function documentsOf(delivery: Delivery): Document[] {
  const { id, endpointId, endedAtMs } = delivery;
  const expiresAtMs = endedAtMs === undefined ? undefined : endedAtMs + KEPT_MS;
  const documents: Document[] = [
    { collection: DELIVERIES, id, value: delivery, expiresAtMs },
    { collection: BY_ENDPOINT, id: `${endpointId}/${id}`, value: true, expiresAtMs },
  ];
  const due = dueId(delivery);
  if (due !== undefined) documents.push({ collection: DUE, id: due, value: true });
  return documents;
}

/** The place of a waiting delivery in its endpoint's queue. */
export function dueEntry(delivery: Delivery): DueEntry | undefined {
  const id = dueId(delivery);
  return id === undefined ? undefined : parseDue(id);
}

function dueId({ id, endpointId, nextAtMs }: Delivery): string | undefined {
  if (nextAtMs === undefined) return undefined;
  return `${endpointId}/${String(nextAtMs).padStart(TIME_DIGITS, "0")}/${id}`;
}

function parseDue(id: string): DueEntry {
  const [endpointId = "", time = "", deliveryId = ""] = id.split("/");
  return { id, endpointId, atMs: Number(time), deliveryId };
}

/** The range of an endpoint's entries: `0` is the character after `/`. */
function within(endpointId: string): { readonly after: string; readonly before: string } {
  return { after: `${endpointId}/`, before: `${endpointId}0` };
}
