/**
 * What is known of each site: the path to it, which all its workers share.
 *
 * A site is kept while it has workers, and for a while after that: a worker which comes back starts from what was known. Names come from agents, so the
 * number of those without workers is bounded.
 */

import type { Clock } from "@legacygpu/shared/clock";
import { SiteLine } from "./site-line.ts";
import { SiteRtt } from "./site-rtt.ts";

const KEEP_IDLE_MS = 60 * 60_000;
const MAX_IDLE = 256;

type SiteClock = Pick<Clock, "monotonic" | "now">;

export class Site {
  readonly name: string;
  readonly rtt = new SiteRtt();
  /** From the gateway to the site. */
  readonly toSite: SiteLine;
  readonly fromSite: SiteLine;
  /** Tasks that its workers have completed. */
  completed = 0;
  /** Workers that are connected, or whose work is kept for them. */
  workers = 0;
  /** Wall clock; the latest sign of life of one of them. */
  lastSeenAtMs: number;

  constructor(name: string, clock: SiteClock) {
    this.name = name;
    this.toSite = new SiteLine(clock);
    this.fromSite = new SiteLine(clock);
    this.lastSeenAtMs = clock.now();
  }

  /** Something large has been on its line since then, in either direction. */
  wasBusySince(monotonicMs: number): boolean {
    return this.toSite.wasBusySince(monotonicMs) || this.fromSite.wasBusySince(monotonicMs);
  }
}

export class Sites {
  readonly #clock: SiteClock;
  /** Those without workers in the order in which their last one left. */
  readonly #sites = new Map<string, Site>();

  constructor(clock: SiteClock) {
    this.#clock = clock;
  }

  get all(): Iterable<Site> {
    this.#forget();
    return this.#sites.values();
  }

  get(name: string): Site | undefined {
    return this.#sites.get(name);
  }

  /** A worker of the site has come. */
  enter(name: string): Site {
    this.#forget();
    let site = this.#sites.get(name);
    if (site === undefined) {
      site = new Site(name, this.#clock);
      this.#sites.set(name, site);
    }
    site.workers += 1;
    return site;
  }

  /** It has gone for good. */
  leave(site: Site): void {
    site.workers -= 1;
    if (site.workers > 0) return;
    this.#sites.delete(site.name);
    this.#sites.set(site.name, site);
    this.#forget();
  }

  #forget(): void {
    const nowMs = this.#clock.now();
    const idle = [...this.#sites.values()].filter(({ workers }) => workers === 0);
    for (const [index, { name, lastSeenAtMs }] of idle.entries())
      if (nowMs - lastSeenAtMs > KEEP_IDLE_MS || idle.length - index > MAX_IDLE) this.#sites.delete(name);
  }
}
