/**
 * Which sites, labels and kinds of cards a placement may name: a name that nobody has is a mistake, and better refused than waited for.
 *
 * What a worker said of itself is kept for a month, also across restarts: a box that is away for a while has not become a mistake. A cluster that
 * has never had a worker cannot know, and takes every name.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { type ErrorCode, fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import { PROVIDERS } from "@legacygpu/shared/manifest";
import { z } from "zod";
import { CARD_FAMILIES, familyNamed } from "../balancers/known-cards.ts";
import type { Registry } from "../registry/registry.ts";
import type { Worker } from "../registry/worker.ts";
import { REGION_LABEL } from "../scheduler/able.ts";
import type { DocumentStore } from "../store/task-store.ts";
import { storedRecords } from "../workers/stored-records.ts";
import type { Placement } from "./record.ts";

const COLLECTION = "known-workers";
const DAY_MS = 86_400_000;
const KEEP_MS = 30 * DAY_MS;
/** More would not be read. */
const MAX_NAMED = 20;

const seenSchema = z.object({
  id: z.string(),
  site: z.string(),
  labels: z.record(z.string(), z.string()),
  seenAtMs: z.number(),
});
type Seen = Readonly<z.infer<typeof seenSchema>>;

export interface KnownPlacesParts {
  readonly registry: Pick<Registry, "all">;
  readonly documents: DocumentStore;
  readonly clock: Pick<Clock, "now">;
  readonly log: Logger;
  /** Of workers that have enrolled and may never have connected. Default: none. */
  readonly enrolledSites?: (() => Iterable<string>) | undefined;
}

export class KnownPlaces {
  readonly #parts: KnownPlacesParts;
  readonly #seen = new Map<string, Seen>();
  #sites = new Set<string>();
  #labels = new Map<string, Set<string>>();

  /** @throws `store_corrupt` */
  constructor(parts: KnownPlacesParts) {
    this.#parts = parts;
    for (const seen of storedRecords(parts.documents, COLLECTION, seenSchema)) this.#seen.set(seen.id, seen);
    this.#index();
  }

  /** It has left: its name stays known. Whole sites leave at once, so nothing is gone through here. */
  gone(worker: Worker): void {
    this.#remember([worker]);
  }

  /**
   * @param allowedSites of the credential, absent: all. Names of others are not told.
   * @throws `provider_unknown`, `family_unknown`, `site_unknown`, `label_unknown`
   */
  check(placement: Placement, allowedSites?: ReadonlySet<string>): void {
    const { sites = [], labels = {}, providers = [], families = [], residency = [] } = placement;
    for (const name of providers)
      if (!PROVIDERS.some((known) => known === name)) throw unknown("provider", "providers", name, PROVIDERS);
    for (const name of families)
      if (familyNamed(name) === undefined) throw unknown("family", "families", name, CARD_FAMILIES);
    const wanted = [...Object.entries(labels), ...residency.map((region) => [REGION_LABEL, region] as const)];
    if (this.#hasAll(sites, wanted)) return;
    this.#remember(this.#parts.registry.all);
    this.#forget();
    this.#index();
    if (this.#sites.size === 0) return;
    for (const name of sites) {
      // Of a site that is not the credential's nothing is told, not even that there is none.
      if (allowedSites !== undefined && !allowedSites.has(name)) continue;
      const told = [...this.#sites].filter((site) => allowedSites?.has(site) ?? true);
      if (!this.#sites.has(name)) throw unknown("site", "sites", name, told);
    }
    // Boxes that have only enrolled have a site, and have not said their labels yet.
    if (this.#seen.size === 0) return;
    const isToldMore = allowedSites === undefined;
    for (const [name, value] of Object.entries(labels))
      this.#checkLabel(`labels.${name}`, name, value, isToldMore);
    for (const region of residency) this.#checkLabel("residency", REGION_LABEL, region, isToldMore);
  }

  #checkLabel(field: string, name: string, value: string, isToldMore: boolean): void {
    const values = this.#labels.get(name);
    if (values?.has(value)) return;
    const there =
      values === undefined ? [...this.#labels.keys()] : [...values].map((has) => `${name}=${has}`);
    throw unknown("label", field, `${name}=${value}`, isToldMore ? there : []);
  }

  #hasAll(sites: readonly string[], labels: readonly (readonly [string, string])[]): boolean {
    return (
      sites.every((site) => this.#sites.has(site)) &&
      labels.every(([name, value]) => this.#labels.get(name)?.has(value) === true)
    );
  }

  /** In memory at once, and on disk soon. */
  #remember(workers: Iterable<Worker>): void {
    const { clock, documents, log } = this.#parts;
    const nowMs = clock.now();
    const news: Seen[] = [];
    for (const { id, hello } of workers) {
      const seen = { id, site: hello.site, labels: hello.labels, seenAtMs: nowMs };
      if (!isNews(seen, this.#seen.get(id))) continue;
      this.#seen.set(id, seen);
      news.push(seen);
    }
    if (news.length === 0) return;
    const put = documents.put(
      news.map((value) => ({ collection: COLLECTION, id: value.id, value, expiresAtMs: nowMs + KEEP_MS })),
    );
    put.catch((error: unknown) => log.warn({ err: error }, "the places of workers were not stored"));
  }

  #forget(): void {
    const nowMs = this.#parts.clock.now();
    for (const { id, seenAtMs } of this.#seen.values()) if (nowMs - seenAtMs > KEEP_MS) this.#seen.delete(id);
  }

  #index(): void {
    this.#sites = new Set(this.#parts.enrolledSites?.() ?? []);
    this.#labels = new Map();
    for (const { site, labels } of this.#seen.values()) {
      this.#sites.add(site);
      for (const [name, value] of Object.entries(labels)) {
        const values = this.#labels.get(name);
        if (values === undefined) this.#labels.set(name, new Set([value]));
        else values.add(value);
      }
    }
  }
}

function isNews(seen: Seen, before: Seen | undefined): boolean {
  if (before === undefined || seen.seenAtMs - before.seenAtMs > DAY_MS || seen.site !== before.site)
    return true;
  return JSON.stringify(seen.labels) !== JSON.stringify(before.labels);
}

function unknown(
  kind: "site" | "label" | "provider" | "family",
  field: string,
  name: string,
  known: readonly string[],
): Error {
  const path = `placement.${field}`;
  const sorted = [...known].sort();
  const told = sorted.slice(0, MAX_NAMED).join(", ");
  const instead = told === "" ? "" : `; there ${known.length === 1 ? "is" : "are"} ${told}`;
  const code: ErrorCode = `${kind}_unknown`;
  return fail(code, `${path}: there is no ${kind} \`${name}\`${instead}.`, {
    path,
    given: name,
    known: sorted.slice(0, MAX_NAMED),
  });
}
