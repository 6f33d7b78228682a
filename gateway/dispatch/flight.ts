/** One attempt as the dispatcher follows it, from sending until its worker is known to be done with it. */

import type { FleetWorker } from "./fleet-worker.ts";
import type { HedgeAccount } from "./hedge-budget.ts";
import type { Run } from "./lanes.ts";
import type { CopyPurpose, DispatchTask } from "./ports.ts";

export type FlightPurpose = "first" | "retry" | CopyPurpose;

export class Flight {
  readonly task: DispatchTask;
  readonly worker: FleetWorker;
  readonly purpose: FlightPurpose;
  readonly sentAtMs: number;
  /** When it can be at the worker: half a round trip and its payload's time after it was sent. */
  readonly arrivesAtMs: number;
  /** How long it is expected to take its slot, with loading the model. */
  readonly expectedMs: number;
  /** What it is believed to be running in; undefined while it is believed to wait. */
  run: Run | undefined = undefined;
  /** Its task has ended elsewhere; it takes a slot until it is answered. */
  isSuperseded = false;
  /** The worker does not hold it any more. */
  isOver = false;
  /** When it was expected to begin. */
  readonly plannedStartMs: number;
  /** Copies that were made of it because it is late. */
  hedges = 0;
  /** Shared by a late attempt and the copy that was made of it. */
  hedge: HedgeAccount | undefined = undefined;
  /** Where it stands among those that are watched for being late. */
  watchSlot = -1;

  constructor(
    task: DispatchTask,
    worker: FleetWorker,
    purpose: FlightPurpose,
    times: Pick<Flight, "sentAtMs" | "arrivesAtMs" | "expectedMs" | "plannedStartMs">,
  ) {
    this.task = task;
    this.worker = worker;
    this.purpose = purpose;
    this.sentAtMs = times.sentAtMs;
    this.arrivesAtMs = times.arrivesAtMs;
    this.expectedMs = times.expectedMs;
    this.plannedStartMs = times.plannedStartMs;
  }

  get isCopy(): boolean {
    return this.purpose !== "first" && this.purpose !== "retry";
  }
}
