/**
 * All registered webhook endpoints: in memory, and as documents in the store.
 *
 * They are few (bounded per owner) and asked for with every task that is submitted. Changes are made one after another: each begins with what
 * the one before has stored.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { SortableIds } from "@legacygpu/shared/ids";
import { isAdmin, type Principal } from "../auth/principal.ts";
import type { DocumentStore } from "../store/task-store.ts";
import type { TaskWebhook, WebhookEvent } from "../tasks/record.ts";
import type { AddressGuard } from "./address-guard.ts";
import { type Endpoint, endpointSchema } from "./endpoint.ts";
import { newSecret } from "./signature.ts";
import { within } from "./time-limit.ts";

const COLLECTION = "webhooks";
const LOAD_CHUNK = 256;
const MAX_PER_OWNER = 100;
const RESOLVE_TIMEOUT_MS = 5000;
const DEFAULT_EVENTS: readonly WebhookEvent[] = ["completed"];

export interface EndpointsOptions {
  readonly documents: DocumentStore;
  readonly clock: Clock;
  readonly ids: SortableIds;
  readonly guard: AddressGuard;
}

/** Whose endpoint it is, and on the word of which key. */
export type Registrant = Pick<Principal, "tenant" | "keyId">;

export interface NewEndpoint {
  readonly url: string;
  readonly events?: readonly WebhookEvent[] | undefined;
  readonly description?: string | undefined;
}

/** What a task says about its webhook. */
export type GivenWebhook =
  | { readonly url: string; readonly events?: readonly WebhookEvent[] | undefined }
  | { readonly endpoint: string; readonly events?: readonly WebhookEvent[] | undefined };

export interface EndpointPage {
  readonly endpoints: readonly Endpoint[];
  readonly nextCursor: string | null;
}

export class Endpoints {
  readonly #options: EndpointsOptions;
  /** In the order of their registration. */
  readonly #byId = new Map<string, Endpoint>();
  readonly #idsByOwner = new Map<string, Set<string>>();
  /** By owner and URL: tasks that name a new URL at the same time share one endpoint. */
  readonly #registering = new Map<string, Promise<Endpoint>>();
  #lastChange: Promise<unknown> = Promise.resolve();

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  /** @throws `store_corrupt` */
  load(): void {
    for (let after: string | undefined; ; ) {
      const page = this.#options.documents.list(COLLECTION, { after, limit: LOAD_CHUNK });
      for (const { id, value } of page) this.#remember(parseEndpoint(id, value));
      if (page.length < LOAD_CHUNK) return;
      after = page.at(-1)?.id;
    }
  }

  get(id: string): Endpoint | undefined {
    return this.#byId.get(id);
  }

  /** @throws `webhook_not_found` when there is none that the caller may see. */
  find(principal: Principal, id: string): Endpoint {
    const endpoint = this.#byId.get(id);
    if (endpoint !== undefined && (endpoint.owner === principal.tenant || isAdmin(principal)))
      return endpoint;
    throw notFound(id);
  }

  /** Oldest first. Administrators see those of everybody. */
  list(
    principal: Principal,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): EndpointPage {
    const found: Endpoint[] = [];
    const ids = isAdmin(principal) ? this.#byId.keys() : (this.#idsByOwner.get(principal.tenant) ?? []);
    for (const id of ids) {
      const endpoint = this.#byId.get(id);
      if (endpoint === undefined || (cursor !== undefined && id <= cursor)) continue;
      if (found.length === limit) return { endpoints: found, nextCursor: found.at(-1)?.id ?? null };
      found.push(endpoint);
    }
    return { endpoints: found, nextCursor: null };
  }

  /**
   * @throws `webhook_address_refused`, `request_invalid` when the owner has as many as may be, `store_full`, `store_failed`
   */
  async register(principal: Registrant, given: NewEndpoint): Promise<Endpoint> {
    const { clock, guard, documents } = this.#options;
    const target = await within(clock, RESOLVE_TIMEOUT_MS, (signal) => guard.check(given.url, signal)).catch(
      (error) => {
        throw asRefusal(error, given.url);
      },
    );
    const endpoint = this.#create(principal, target.url.href, given);
    try {
      await documents.put([toDocument(endpoint)]);
    } catch (error) {
      this.#forget(endpoint);
      throw error;
    }
    return endpoint;
  }

  /**
   * The endpoint that a task means: the caller's own one, or the latest of the caller's with this URL, registered when there is none.
   * @throws `webhook_not_found`, and what `register` throws
   */
  async resolve(principal: Registrant, given: GivenWebhook): Promise<TaskWebhook> {
    const endpoint =
      "endpoint" in given
        ? this.#own(principal.tenant, given.endpoint)
        : (this.#latestWithUrl(principal.tenant, given.url) ??
          (await this.#registerOnce(principal, given.url)));
    return { endpointId: endpoint.id, events: [...new Set(given.events ?? endpoint.events)] };
  }

  /** @throws `webhook_not_found` when it is gone by then, `store_full`, `store_failed` */
  change(id: string, edit: (endpoint: Endpoint) => Endpoint): Promise<Endpoint> {
    return this.#afterOthers(async () => {
      const before = this.#byId.get(id);
      if (before === undefined) throw notFound(id);
      const after = edit(before);
      if (after === before) return before;
      await this.#options.documents.put([toDocument(after)]);
      this.#byId.set(id, after);
      return after;
    });
  }

  /** Those that are active on the word of a key for which this is true. */
  vouchedFor(isMeant: (keyId: string) => boolean): string[] {
    const found: string[] = [];
    for (const { id, state, vouchedBy } of this.#byId.values())
      if (state === "active" && vouchedBy !== undefined && isMeant(vouchedBy)) found.push(id);
    return found;
  }

  /** @throws `store_failed` */
  remove(id: string): Promise<void> {
    return this.#afterOthers(async () => {
      const endpoint = this.#byId.get(id);
      if (endpoint === undefined) return;
      await this.#options.documents.remove(COLLECTION, [id]);
      this.#forget(endpoint);
    });
  }

  #afterOthers<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#lastChange.then(work);
    this.#lastChange = result.catch(() => {});
    return result;
  }

  #own(owner: string, id: string): Endpoint {
    const endpoint = this.#byId.get(id);
    if (endpoint?.owner === owner) return endpoint;
    throw notFound(id);
  }

  #latestWithUrl(owner: string, given: string): Endpoint | undefined {
    const wanted = normalUrl(given);
    const ids = [...(this.#idsByOwner.get(owner) ?? [])].reverse();
    // One that is just being registered is not in the store yet: whoever waits for it gets it from there.
    if (this.#registering.has(registrationKey(owner, wanted))) return undefined;
    return ids.map((id) => this.#byId.get(id)).find((endpoint) => endpoint?.url === wanted);
  }

  #registerOnce(principal: Registrant, url: string): Promise<Endpoint> {
    const key = registrationKey(principal.tenant, normalUrl(url));
    const known = this.#registering.get(key);
    if (known !== undefined) return known;
    const registration = this.register(principal, { url }).finally(() => this.#registering.delete(key));
    this.#registering.set(key, registration);
    return registration;
  }

  #create({ tenant: owner, keyId }: Registrant, url: string, { events, description }: NewEndpoint): Endpoint {
    if ((this.#idsByOwner.get(owner)?.size ?? 0) >= MAX_PER_OWNER) {
      const message = `This key has ${MAX_PER_OWNER} webhook endpoints, which is the limit: delete some (\`GET /webhooks\` lists them).`;
      throw fail("request_invalid", message, { limit: MAX_PER_OWNER });
    }
    const createdAtMs = this.#options.clock.now();
    const endpoint: Endpoint = {
      id: `wh_${this.#options.ids.next(createdAtMs)}`,
      owner,
      vouchedBy: keyId,
      url,
      events: [...new Set(events ?? DEFAULT_EVENTS)],
      description,
      secret: newSecret(),
      createdAtMs,
      state: "active",
    };
    this.#remember(endpoint);
    return endpoint;
  }

  #remember(endpoint: Endpoint): void {
    const { id, owner } = endpoint;
    const ids = this.#idsByOwner.get(owner) ?? new Set();
    this.#idsByOwner.set(owner, ids.add(id));
    this.#byId.set(id, endpoint);
  }

  #forget({ id, owner }: Endpoint): void {
    this.#byId.delete(id);
    const ids = this.#idsByOwner.get(owner);
    ids?.delete(id);
    if (ids?.size === 0) this.#idsByOwner.delete(owner);
  }
}

function toDocument(endpoint: Endpoint) {
  return { collection: COLLECTION, id: endpoint.id, value: endpoint };
}

function parseEndpoint(id: string, value: unknown): Endpoint {
  const parsed = endpointSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const where = `${COLLECTION}/${id}`;
  throw fail(
    "store_corrupt",
    `The stored webhook endpoint ${where} is damaged.`,
    { key: where },
    parsed.error,
  );
}

const registrationKey = (owner: string, url: string): string => `${owner}\n${url}`;

function normalUrl(given: string): string {
  if (!URL.canParse(given)) return given;
  const url = new URL(given);
  url.hash = "";
  return url.href;
}

function asRefusal(error: unknown, given: string): unknown {
  if (!(error instanceof LegacyGpuError) || error.code !== "timed_out") return error;
  const host = new URL(given).hostname;
  const why = `the name does not resolve within ${RESOLVE_TIMEOUT_MS / 1000} s`;
  return fail("webhook_address_refused", `No webhook is sent to "${host}": ${why}. Check the name.`, {
    host,
    reason: why,
  });
}

function notFound(id: string) {
  return fail("webhook_not_found", `There is no webhook endpoint '${id}'.`, { webhook: id });
}
