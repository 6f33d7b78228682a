/** What a runner process has been handed and has not answered, oldest first, and how much more it should be handed. */

import type { LocalModel, Ticket } from "./job.ts";

export type Run = { readonly kind: "run"; readonly seq: number; readonly ticket: Ticket };
export type Load = { readonly kind: "load"; readonly seq: number; readonly model: LocalModel };

/** Enough is handed ahead to hide the pipe, about this much work; a slow task gets one behind it, whose picture is decoded meanwhile. */
const AHEAD_MS = 2;
const MAX_AHEAD = 64;
const MAX_AHEAD_BYTES = 32 * 1024 * 1024;
/** How much the newest run weighs in the estimate of a run's time. */
const SMOOTHING = 0.2;

export class Handed {
  #entries: (Run | Load)[] = [];
  #runCount = 0;
  #bytes = 0;
  #typicalMs = AHEAD_MS;

  get length(): number {
    return this.#entries.length;
  }

  /** What the process works on. */
  get head(): Run | Load | undefined {
    return this.#entries[0];
  }

  hasRoomFor(ticket: Ticket): boolean {
    const newest = this.#entries.at(-1);
    if (newest === undefined) return true;
    if (ticket.isSuspect || (newest.kind === "run" && newest.ticket.isSuspect)) return false;
    const ahead = Math.min(MAX_AHEAD, 1 + Math.ceil(AHEAD_MS / Math.max(this.#typicalMs, 0.01)));
    return this.#runCount < ahead && this.#bytes + ticket.job.inputBytes <= MAX_AHEAD_BYTES;
  }

  push(entry: Run | Load): void {
    this.#entries.push(entry);
    if (entry.kind === "load") return;
    this.#runCount += 1;
    this.#bytes += entry.ticket.job.inputBytes;
  }

  /** The head has been answered. @param workMs of the runner's time that it took. */
  shift(workMs: number): void {
    const head = this.#entries.shift();
    if (head?.kind !== "run") return;
    this.#runCount -= 1;
    this.#bytes -= head.ticket.job.inputBytes;
    this.#typicalMs += SMOOTHING * (workMs - this.#typicalMs);
  }

  find(ticket: Ticket): Run | undefined {
    return this.#entries.find((entry): entry is Run => entry.kind === "run" && entry.ticket === ticket);
  }

  /** Those that nobody has settled. */
  tickets(): Ticket[] {
    const tickets = this.#entries.flatMap((entry) => (entry.kind === "run" ? [entry.ticket] : []));
    return tickets.filter((ticket) => ticket.state !== "settled");
  }

  clear(): void {
    this.#entries = [];
    this.#runCount = 0;
    this.#bytes = 0;
  }
}
