/** Webhooks as the rest of the gateway sees them: endpoints to register, deliveries to store, a courier to start and close. */

import type { DeliveryState } from "@legacygpu/shared/api/webhooks";
import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { SortableIds } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import { isAdmin, type Principal } from "../auth/principal.ts";
import type { Document, DocumentStore } from "../store/task-store.ts";
import type { TaskRecord, TaskWebhook, WebhookEvent } from "../tasks/record.ts";
import { AddressGuard, type Lookup } from "./address-guard.ts";
import { Courier } from "./courier.ts";
import { Deliveries, type DeliveryPage, documentsOf, dueEntry } from "./deliveries.ts";
import { type Delivery, newDelivery, sentAgain } from "./delivery.ts";
import { disabled, type Endpoint, enabled, rotated } from "./endpoint.ts";
import {
  type EndpointPage,
  Endpoints,
  type GivenWebhook,
  type NewEndpoint,
  type Registrant,
} from "./endpoints.ts";
import type { TaskView } from "./message.ts";
import { Sender } from "./sender.ts";

export interface WebhooksOptions {
  readonly documents: DocumentStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** In CIDR notation: not public, and allowed all the same. */
  readonly allowedNetworks: readonly string[];
  readonly taskView: TaskView;
  /** Default: how the operating system resolves names. */
  readonly lookup?: Lookup;
  /** The only CA that receivers are believed by. Default: those that Node trusts. */
  readonly caPem?: string;
}

const REVOKED = "the key that registered or last enabled it was revoked";

/** The keys on whose word endpoints are registered. */
export interface VouchingKeys {
  /** By somebody, which is more than that it has expired or was rotated. */
  isRevoked(keyId: string): boolean;
  /** Told of every key that ends, for whatever reason. */
  onRevoked(listener: (keyId: string) => void): void;
}

export class Webhooks {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #ids = new SortableIds();
  readonly #endpoints: Endpoints;
  readonly #deliveries: Deliveries;
  readonly #courier: Courier;

  /** @throws `config_invalid` when an allowed network is none. */
  constructor({ documents, clock, random, log, allowedNetworks, taskView, lookup, caPem }: WebhooksOptions) {
    const guard = new AddressGuard({ allowedNetworks, lookup });
    const endpoints = new Endpoints({ documents, clock, ids: this.#ids, guard });
    const deliveries = new Deliveries(documents);
    const sender = new Sender({ clock, guard, taskView, caPem });
    this.#clock = clock;
    this.#log = log;
    this.#endpoints = endpoints;
    this.#deliveries = deliveries;
    this.#courier = new Courier({ clock, random, log, endpoints, deliveries, sender });
  }

  /** Reads the endpoints and takes up every waiting delivery. Before anything else is called. @throws `store_corrupt` */
  start(): void {
    this.#endpoints.load();
    this.#courier.start();
  }

  /**
   * From now on a key that is revoked takes its endpoints with it: they are disabled until somebody enables them, who then vouches for them.
   * After `start`, for it also looks for what a crash has left undone.
   */
  follow(keys: VouchingKeys): void {
    this.#disable(this.#endpoints.vouchedFor((keyId) => keys.isRevoked(keyId)));
    keys.onRevoked((ended) => {
      if (keys.isRevoked(ended)) this.#disable(this.#endpoints.vouchedFor((keyId) => keyId === ended));
    });
  }

  /** Waits two seconds for what is under way. What is not noted by then is sent again after the next start. */
  close(): Promise<void> {
    return this.#courier.close();
  }

  /**
   * What a new task keeps about its webhook: the caller's endpoint, or the one for this URL, registered when there is none.
   * @throws `webhook_not_found`, `webhook_address_refused`, `request_invalid` at the limit of endpoints, `store_full`, `store_failed`
   */
  resolve(principal: Registrant, given: GivenWebhook): Promise<TaskWebhook> {
    return this.#endpoints.resolve(principal, given);
  }

  /** What is to be stored together with the change of the task, before `wake`. Empty when nobody wants to hear of it. */
  deliveriesFor(
    task: Pick<TaskRecord, "id" | "tenant" | "webhook" | "state">,
    event: WebhookEvent,
  ): Document[] {
    const { webhook } = task;
    if (webhook === undefined || !webhook.events.includes(event)) return [];
    const nowMs = this.#clock.now();
    const delivery = newDelivery(
      {
        id: this.#newId(nowMs),
        endpointId: webhook.endpointId,
        owner: task.tenant,
        event: `task.${event}`,
        task: { id: task.id, state: task.state },
      },
      nowMs,
    );
    return documentsOf(delivery);
  }

  /** Deliveries have been stored. */
  wake(): void {
    this.#courier.wake();
  }

  register(principal: Principal, given: NewEndpoint): Promise<Endpoint> {
    return this.#endpoints.register(principal, given);
  }

  endpoint(principal: Principal, id: string): Endpoint {
    return this.#endpoints.find(principal, id);
  }

  list(
    principal: Principal,
    page: { readonly limit: number; readonly cursor?: string | undefined },
  ): EndpointPage {
    return this.#endpoints.list(principal, page);
  }

  /** What waits for it is removed by the courier, soon. */
  async remove(principal: Principal, id: string): Promise<Endpoint> {
    const endpoint = this.#endpoints.find(principal, id);
    await this.#endpoints.remove(id);
    this.wake();
    return endpoint;
  }

  rotateSecret(principal: Principal, id: string): Promise<Endpoint> {
    this.#endpoints.find(principal, id);
    return this.#endpoints.change(id, (endpoint) => rotated(endpoint, this.#clock.now()));
  }

  enable(principal: Principal, id: string): Promise<Endpoint> {
    this.#endpoints.find(principal, id);
    return this.#endpoints.change(id, (endpoint) => enabled(endpoint, principal.keyId));
  }

  async sendTest(principal: Principal, id: string): Promise<Delivery> {
    const endpoint = this.#endpoints.find(principal, id);
    const nowMs = this.#clock.now();
    const order = { endpointId: id, owner: endpoint.owner, event: "webhook.test", task: undefined } as const;
    const delivery = newDelivery({ id: this.#newId(nowMs), ...order }, nowMs);
    await this.#deliveries.save(delivery);
    this.wake();
    return delivery;
  }

  deliveries(
    principal: Principal,
    endpointId: string,
    query: {
      readonly state?: DeliveryState | undefined;
      readonly limit: number;
      readonly cursor?: string | undefined;
    },
  ): DeliveryPage {
    this.#endpoints.find(principal, endpointId);
    return this.#deliveries.list(endpointId, query);
  }

  delivery(principal: Principal, id: string): Delivery {
    const delivery = this.#deliveries.get(id);
    const isKnown = delivery !== undefined && this.#endpoints.get(delivery.endpointId) !== undefined;
    if (isKnown && (delivery.owner === principal.tenant || isAdmin(principal))) return delivery;
    throw fail("delivery_not_found", `There is no webhook delivery '${id}'.`, { delivery: id });
  }

  /** Sent now, also when it was delivered or given up before; after the try that is under way, if there is one. */
  async redeliver(principal: Principal, id: string): Promise<Delivery> {
    this.delivery(principal, id);
    await this.#courier.whenFree(id);
    const delivery = this.delivery(principal, id);
    const again = sentAgain(delivery, this.#clock.now());
    await this.#deliveries.save(again, dueEntry(delivery));
    this.wake();
    return again;
  }

  #disable(ids: readonly string[]): void {
    for (const id of ids) {
      const change = this.#endpoints.change(id, (endpoint) => disabled(endpoint, REVOKED));
      change.then(
        () => this.#log.warn({ endpointId: id, reason: REVOKED }, "a webhook endpoint was disabled"),
        (error) =>
          this.#log.error({ err: error, endpointId: id }, "a webhook endpoint could not be disabled"),
      );
    }
  }

  #newId(nowMs: number): string {
    return `dlv_${this.#ids.next(nowMs)}`;
  }
}
