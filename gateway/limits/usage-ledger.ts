/**
 * Counts what each tenant has used today (UTC), and keeps the counts through restarts.
 *
 * Counting is in memory; what has changed is written to the store's documents at most every 5 seconds and at the end, one document for each
 * tenant and day. So a crash loses at most the last 5 seconds of counting, to the advantage of the tenant. When the wall clock is set to
 * another day, that day is counted on from what is stored of it.
 */

import type { Clock, Timer } from "@legacygpu/shared/clock";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";
import type { Visit } from "../auth/gatekeeper.ts";
import type { DocumentStore } from "../store/task-store.ts";

const COLLECTION = "usage";
const WRITE_INTERVAL_MS = 5_000;
const DAY_MS = 86_400_000;
const KEPT_DAYS = 40;

const countsSchema = z.object({
  tasks: z.number().nonnegative(),
  gpuMs: z.number().nonnegative(),
  bytes: z.number().nonnegative(),
  requests: z.number().nonnegative(),
});
export type UsageCounts = z.infer<typeof countsSchema>;

const NOTHING: UsageCounts = { tasks: 0, gpuMs: 0, bytes: 0, requests: 0 };

export interface UsageLedgerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly documents: DocumentStore;
}

/** One tenant's counts of one day. As a visit it counts the bytes of a request: one object serves all of the tenant's. */
export class Account implements Visit {
  readonly tenant: string;
  readonly #ledger: UsageLedger;
  /** Days since the Unix epoch. */
  day: number;
  #counts: UsageCounts;
  /** Announced bodies that are under way: they count against the quota before they are here. */
  pendingBytes = 0;

  constructor(ledger: UsageLedger, tenant: string, day: number, counts: UsageCounts) {
    this.#ledger = ledger;
    this.tenant = tenant;
    this.day = day;
    this.#counts = { ...counts };
  }

  get counts(): Readonly<UsageCounts> {
    return this.#counts;
  }

  add(what: keyof UsageCounts, amount: number): void {
    this.#counts[what] += amount;
    this.#ledger.changed(this);
  }

  turnTo(day: number, counts: UsageCounts): void {
    this.day = day;
    this.#counts = { ...counts };
  }

  /** The request has ended, perhaps on another day than it began. */
  leave(receivedBytes: number): void {
    if (receivedBytes > 0) this.#ledger.account(this.tenant).add("bytes", receivedBytes);
  }
}

export class UsageLedger {
  readonly #options: UsageLedgerOptions;
  readonly #accounts = new Map<string, Account>();
  /** Differ from what is stored, and from `#unwritten`. */
  readonly #changed = new Set<Account>();
  /** By id of the document: what is to be written or is being written. */
  readonly #unwritten = new Map<string, UsageCounts>();
  #state: "open" | "closed" = "open";
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #today = 0;

  constructor(options: UsageLedgerOptions) {
    this.#options = options;
    this.#today = this.#dayNow();
  }

  /** When today ends, wall clock. */
  get dayEndsAtMs(): number {
    return (this.#dayNow() + 1) * DAY_MS;
  }

  /** `YYYY-MM-DD` */
  get dayText(): string {
    return dayText(this.#dayNow());
  }

  /** Of today. */
  account(tenant: string): Account {
    const day = this.#dayNow();
    const known = this.#accounts.get(tenant);
    if (known?.day === day) return known;
    if (known === undefined) {
      const account = new Account(this, tenant, day, this.#read(day, tenant));
      this.#accounts.set(tenant, account);
      return account;
    }
    if (this.#changed.delete(known)) this.#note(known);
    known.turnTo(day, this.#read(day, tenant));
    return known;
  }

  /** Today's counts, for those who only look: remembers nobody. */
  countsOf(tenant: string): Readonly<UsageCounts> {
    const day = this.#dayNow();
    const known = this.#accounts.get(tenant);
    return known?.day === day ? known.counts : this.#read(day, tenant);
  }

  /** For {@link Account}. */
  changed(account: Account): void {
    this.#changed.add(account);
    if (this.#timer === undefined) this.#schedule();
  }

  /** Writes what has not been written. */
  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#timer?.cancel();
    await this.#writing;
    await this.#write();
  }

  #schedule(): void {
    if (this.#state === "closed") return;
    this.#timer = this.#options.clock.after(WRITE_INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined;
        // What changed meanwhile waits for its own five seconds, what could not be written too.
        if (this.#timer === undefined && this.#changed.size + this.#unwritten.size > 0) this.#schedule();
      });
    });
  }

  async #write(): Promise<void> {
    for (const account of this.#changed) this.#note(account);
    this.#changed.clear();
    this.#forgetOtherDays();
    const batch = [...this.#unwritten];
    if (batch.length === 0) return;
    try {
      await this.#options.documents.put(
        batch.map(([id, counts]) => ({
          collection: COLLECTION,
          id,
          value: counts,
          expiresAtMs: expiryOf(id),
        })),
      );
    } catch (error) {
      this.#options.log.error({ err: error, tenants: batch.length }, "what tenants have used was not stored");
      return;
    }
    for (const [id, counts] of batch) if (this.#unwritten.get(id) === counts) this.#unwritten.delete(id);
  }

  #note({ day, tenant, counts }: Account): void {
    this.#unwritten.set(idOf(day, tenant), { ...counts });
  }

  /** Once a day: who does not come any more is not kept. */
  #forgetOtherDays(): void {
    const day = this.#dayNow();
    if (day === this.#today) return;
    this.#today = day;
    for (const [tenant, account] of this.#accounts)
      if (account.day !== day && account.pendingBytes === 0) this.#accounts.delete(tenant);
  }

  #read(day: number, tenant: string): UsageCounts {
    const id = idOf(day, tenant);
    const unwritten = this.#unwritten.get(id);
    if (unwritten !== undefined) return unwritten;
    try {
      const stored = this.#options.documents.get(COLLECTION, id);
      return stored === undefined ? NOTHING : countsSchema.parse(stored);
    } catch (error) {
      // Better to count anew than to let nobody in.
      this.#options.log.error({ err: error, tenant, day: dayText(day) }, "stored usage cannot be read");
      return NOTHING;
    }
  }

  #dayNow(): number {
    return Math.floor(this.#options.clock.now() / DAY_MS);
  }
}

const dayText = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);
const idOf = (day: number, tenant: string): string => `${dayText(day)}/${tenant}`;
const expiryOf = (id: string): number => Date.parse(id.slice(0, 10)) + KEPT_DAYS * DAY_MS;
