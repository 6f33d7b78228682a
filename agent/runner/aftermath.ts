/**
 * What follows when a runner process went over a limit or died: who is to blame, and what is tried once more.
 *
 * | what it worked on                     | what becomes of that                                                        |
 * | ------------------------------------- | --------------------------------------------------------------------------- |
 * | a task                                | it fails with the cause                                                     |
 * | a batch                               | nobody knows which of it is to blame: all run again, alone, and later batches are smaller |
 * | loading a model, with a provider      | the next process loads it without that provider (`second-chance.ts`)        |
 * | loading a model, with no provider     | the load fails, and with it the tasks that wait for it                      |
 *
 * The rest of what it held goes back to the queue, unharmed. After a death it runs alone, so that a second one has one suspect only.
 */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { BatchSizes } from "./batch-sizes.ts";
import type { Handed, Load, Run } from "./handed.ts";
import type { LocalModel, ModelEvent, Ticket } from "./job.ts";
import { settleFailed } from "./outcomes.ts";
import { crashError, type RunnerExit } from "./process.ts";
import type { SecondChance } from "./second-chance.ts";

export interface AftermathParts {
  readonly handed: Handed;
  readonly batchSizes: BatchSizes;
  readonly secondChance: SecondChance;
}

export interface AftermathEvents {
  onReturned(tickets: readonly Ticket[]): void;
  onModel(event: ModelEvent): void;
  onCrashed(model: LocalModel, exit: RunnerExit): void;
}

export class Aftermath {
  readonly #parts: AftermathParts;
  readonly #events: AftermathEvents;

  constructor(parts: AftermathParts, events: AftermathEvents) {
    this.#parts = parts;
    this.#events = events;
  }

  /** It took longer than it may and is being killed. */
  onLimit(head: Run | Load, limitMs: number): void {
    const message = `It ran longer than ${limitMs / 1000} s and was stopped.`;
    if (this.#blamesProvider(head, message) || this.#suspectsBatch(message)) return;
    this.#blame(head, fail("execution_timeout", message, { limitMs }));
  }

  /** The process died by itself while it was up. */
  onDeath(exit: RunnerExit): void {
    const { handed, secondChance } = this.#parts;
    const { head } = handed;
    const error = crashError(exit);
    const isProviders = head !== undefined && this.#blamesProvider(head, error.message);
    secondChance.onLoadEnded();
    if (head !== undefined && !isProviders && !this.#suspectsBatch(error.message)) {
      this.#blame(head, error);
      this.#events.onCrashed(modelOf(head), exit);
    }
    this.#giveBack({ areSuspect: !isProviders });
  }

  /** The process is gone because it was killed, or never was up. */
  onEnd(): void {
    this.#parts.secondChance.onLoadEnded();
    this.#giveBack({ areSuspect: false });
  }

  #blamesProvider(head: Run | Load, reason: string): boolean {
    return head.kind === "load" && this.#parts.secondChance.blamesProvider(head, reason);
  }

  /** @returns false when the process worked on one thing only. */
  #suspectsBatch(reason: string): boolean {
    const { together, rowsTogether } = this.#parts.handed;
    const [first, ...others] = together;
    if (first === undefined || others.length === 0) return false;
    for (const { ticket } of together) ticket.isSuspect = true;
    this.#parts.batchSizes.ended(first.ticket.job.model.key, rowsTogether, reason);
    return true;
  }

  /** What the process was working on is not tried again here. */
  #blame(head: Run | Load, error: LegacyGpuError): void {
    if (head.kind === "run") {
      this.#parts.batchSizes.acquit(head.ticket.job.model.key);
      settleFailed(head.ticket, error);
      return;
    }
    const failure = fail("model_load_failed", error.message, { ...error.details, cause: error.code });
    this.#events.onModel({ model: head.model, state: "failed", error: failure });
    for (const ticket of this.#parts.handed.ticketsOf(head.model.key)) settleFailed(ticket, failure);
  }

  #giveBack({ areSuspect }: { readonly areSuspect: boolean }): void {
    const { handed, secondChance } = this.#parts;
    const tickets = [...secondChance.takeTickets(), ...handed.tickets()];
    handed.clear();
    for (const ticket of tickets) {
      ticket.state = "waiting";
      ticket.isSuspect ||= areSuspect;
    }
    this.#events.onReturned(tickets);
  }
}

function modelOf(entry: Run | Load): LocalModel {
  return entry.kind === "load" ? entry.model : entry.ticket.job.model;
}
