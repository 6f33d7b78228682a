/** A task of {@link FleetRig}: what the dispatcher is told of it, and what has become of it. */

import type { Flight } from "../../gateway/dispatch/flight.ts";
import type { DispatchTask } from "../../gateway/dispatch/ports.ts";

export interface TaskWishes {
  readonly model?: string;
  readonly group?: string;
  readonly inputBytes?: number;
  readonly mayBeCopied?: boolean;
}

export class RigTask implements DispatchTask {
  readonly id: number;
  readonly group: string;
  readonly model: string;
  readonly inputBytes: number;
  readonly mayBeCopied: boolean;
  readonly addedAtMs: number;
  readonly #maxAttempts: number;
  firstFailedAtMs: number | undefined = undefined;
  flights: Flight[] | undefined = undefined;
  triedWorkerIds: Set<string> | undefined = undefined;
  failures = 0;
  /** Undefined: it goes on. */
  end: { readonly workerId: string; readonly isOk: boolean; readonly afterMs: number } | undefined =
    undefined;

  constructor(id: number, wishes: TaskWishes, addedAtMs: number, maxAttempts: number) {
    this.id = id;
    this.model = wishes.model ?? "net";
    this.group = wishes.group ?? this.model;
    this.inputBytes = wishes.inputBytes ?? 0;
    this.mayBeCopied = wishes.mayBeCopied ?? true;
    this.addedAtMs = addedAtMs;
    this.#maxAttempts = maxAttempts;
  }

  get isLastAttempt(): boolean {
    return this.failures + 1 >= this.#maxAttempts;
  }
}
