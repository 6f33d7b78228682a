/** What a runner process has been handed and has not answered, oldest first, and how much more it should be handed. */

import type { LocalModel, Ticket } from "./job.ts";

export interface Run {
  readonly kind: "run";
  readonly seq: number;
  readonly ticket: Ticket;
  /** Of a run of the engine: tasks of a model that batches share one. */
  readonly share: number;
}
export type Load = { readonly kind: "load"; readonly seq: number; readonly model: LocalModel };

/** Enough is handed ahead to hide the pipe, about this much work; a slow task gets one behind it, whose picture is decoded meanwhile. */
const AHEAD_MS = 2;
const MAX_AHEAD = 64;
/** Of a model with large batches: enough for two, within reason. */
const MAX_AHEAD_BATCHED = 256;
const MAX_AHEAD_BYTES = 32 * 1024 * 1024;
/** How much the newest run weighs in the estimate of a run's time. */
const SMOOTHING = 0.2;

export class Handed {
  #entries: (Run | Load)[] = [];
  #runCount = 0;
  /** The sum of the shares. */
  #runs = 0;
  /** How many, from the oldest on, are computed as one; 1: the oldest alone. */
  #together = 1;
  #rowsTogether = 0;
  #bytes = 0;
  #typicalMs = AHEAD_MS;

  get length(): number {
    return this.#entries.length;
  }

  /** What the process works on. */
  get head(): Run | Load | undefined {
    return this.#entries[0];
  }

  /** The runs that the process computes at this moment: one, or a batch. */
  get together(): readonly Run[] {
    const { head } = this;
    if (head?.kind !== "run") return [];
    return this.#together === 1 ? [head] : (this.#entries.slice(0, this.#together) as Run[]);
  }

  get rowsTogether(): number {
    return this.#rowsTogether;
  }

  /** @param share what it would add, of a run */
  hasRoomFor(ticket: Ticket, share: number): boolean {
    const newest = this.#entries.at(-1);
    if (newest === undefined) return true;
    if (ticket.isSuspect || (newest.kind === "run" && newest.ticket.isSuspect)) return false;
    const ahead = Math.min(MAX_AHEAD, 1 + Math.ceil(AHEAD_MS / Math.max(this.#typicalMs, 0.01)));
    const most = Math.max(MAX_AHEAD, Math.min(MAX_AHEAD_BATCHED, 2 / share));
    return (
      this.#runs < ahead && this.#runCount < most && this.#bytes + ticket.job.inputBytes <= MAX_AHEAD_BYTES
    );
  }

  push(entry: Run | Load): void {
    this.#entries.push(entry);
    if (entry.kind === "load") return;
    this.#runCount += 1;
    this.#runs += entry.share;
    this.#bytes += entry.ticket.job.inputBytes;
  }

  /** The head has been answered. @param workMs of the runner's time that it took. */
  shift(workMs: number): void {
    const head = this.#entries.shift();
    this.#together = Math.max(1, this.#together - 1);
    if (head?.kind !== "run") return;
    this.#runCount -= 1;
    // Thirds do not add up to a whole exactly.
    this.#runs = this.#runCount === 0 ? 0 : this.#runs - head.share;
    this.#bytes -= head.ticket.job.inputBytes;
    this.#typicalMs += SMOOTHING * (workMs - this.#typicalMs);
  }

  /** These are computed as one now and answered next, in this order. @returns false when they are not here, or the oldest is not the first. */
  bringForward(seqs: readonly number[], rows: number): boolean {
    const bySeq = new Map(this.#entries.map((entry) => [entry.seq, entry]));
    const batch = seqs.map((seq) => bySeq.get(seq));
    if (batch[0] !== this.head || !batch.every((entry): entry is Run => entry?.kind === "run")) return false;
    const forward = new Set<Run | Load>(batch);
    this.#entries = [...batch, ...this.#entries.filter((entry) => !forward.has(entry))];
    this.#together = batch.length;
    this.#rowsTogether = rows;
    return true;
  }

  find(ticket: Ticket): Run | undefined {
    return this.#entries.find((entry): entry is Run => entry.kind === "run" && entry.ticket === ticket);
  }

  /** Whether something here is about the model, wanted or not. */
  holds(modelKey: string): boolean {
    return this.#entries.some(
      (entry) => (entry.kind === "run" ? entry.ticket.job.model : entry.model).key === modelKey,
    );
  }

  /** Those that nobody has settled. */
  tickets(): Ticket[] {
    const tickets = this.#entries.flatMap((entry) => (entry.kind === "run" ? [entry.ticket] : []));
    return tickets.filter((ticket) => ticket.state !== "settled");
  }

  /** Those of them that want the model. */
  ticketsOf(modelKey: string): Ticket[] {
    return this.tickets().filter(({ job }) => job.model.key === modelKey);
  }

  clear(): void {
    this.#entries = [];
    this.#runCount = 0;
    this.#runs = 0;
    this.#together = 1;
    this.#bytes = 0;
  }
}
