/**
 * When a worker can begin the next task: from what it holds, when that was sent, and how long each is expected to take.
 *
 * All times are the gateway's. What happens at a worker is seen half a round trip later, so what should have ended by then and was not answered
 * goes on for as long as such runs usually do.
 */

import type { FleetWorker } from "./fleet-worker.ts";
import type { Flight } from "./flight.ts";
import { expectedRemainingMs } from "./remaining-time.ts";
import type { Speeds } from "./speeds.ts";

/** From so many expected times on, a run is stuck rather than long. */
const STUCK = 2.5;
const STUCK_MAX_SIGMA = 0.7;

/** Tasks that are believed to run together: a batch, or one alone. */
export class Run {
  readonly flights: Flight[];
  readonly startMs: number;
  readonly expectedMs: number;

  constructor(flights: Flight[], startMs: number, expectedMs: number) {
    this.flights = flights;
    this.startMs = startMs;
    this.expectedMs = expectedMs;
  }
}

/** Tasks that wait at the worker and will run together; more of the model may join them. */
export interface WaitingBatch {
  readonly model: string;
  readonly slot: number;
  readonly startMs: number;
  readonly aloneMs: number;
  readonly limit: number;
  size: number;
}

/** The worker holds one more. */
export function addFlight(worker: FleetWorker, flight: Flight): void {
  const { flights, runs, facts } = worker;
  const isFirst = runs.length < facts.slots && flights.every(({ run }) => run !== undefined);
  flights.push(flight);
  worker.batchLimit = Math.max(worker.batchLimit, facts.maxBatch(flight.task.model));
  if (isFirst) begin(worker, [flight], flight.arrivesAtMs, flight.expectedMs);
}

/** The worker has done with it: the next ones are believed to have begun half a round trip ago. */
export function removeFlight(worker: FleetWorker, flight: Flight, speeds: Speeds, nowMs: number): void {
  const { flights, runs, facts } = worker;
  const index = flights.indexOf(flight);
  if (index >= 0) flights.splice(index, 1);
  const { run } = flight;
  if (run !== undefined) {
    run.flights.splice(run.flights.indexOf(flight), 1);
    if (run.flights.length === 0) runs.splice(runs.indexOf(run), 1);
  }
  while (runs.length < facts.slots) {
    const next = flights.find((waiting) => waiting.run === undefined);
    if (next === undefined) return;
    const startMs = Math.max(next.arrivesAtMs, nowMs - worker.oneWayMs);
    const together = batchFrom(worker, next, startMs);
    begin(worker, together, startMs, next.expectedMs * speeds.batchFactor(next.task.model, together.length));
  }
}

/** Works out anew when each slot gets free, and with it {@link FleetWorker.freeAtMs}. */
export function projectLanes(worker: FleetWorker, speeds: Speeds, nowMs: number): void {
  const { slotsFreeAtMs, runs, flights, waitingBatches } = worker;
  const seenUntilMs = nowMs - worker.oneWayMs;
  slotsFreeAtMs.fill(0);
  waitingBatches.length = 0;
  const { sigma } = speeds;
  for (let slot = 0; slot < runs.length; slot += 1)
    slotsFreeAtMs[slot] = endOf(runs[slot] as Run, sigma, seenUntilMs);
  if (flights.length > runs.length) {
    for (const flight of flights) {
      if (flight.run !== undefined) continue;
      queueThere(
        worker,
        speeds,
        flight.task.model,
        flight.expectedMs,
        Math.max(flight.arrivesAtMs, seenUntilMs),
      );
    }
  }
  settleFree(worker);
}

/** Reserves time for a task that waits at the gateway for this worker. */
export function bookLane(
  worker: FleetWorker,
  speeds: Speeds,
  { model, expectedMs, nowMs }: { model: string; expectedMs: number; nowMs: number },
): void {
  worker.booked += 1;
  queueThere(worker, speeds, model, expectedMs, nowMs + worker.oneWayMs);
  settleFree(worker);
}

function queueThere(
  worker: FleetWorker,
  speeds: Speeds,
  model: string,
  expectedMs: number,
  earliestMs: number,
): void {
  const { slotsFreeAtMs, waitingBatches } = worker;
  const limit = worker.facts.maxBatch(model);
  const open =
    limit > 1 ? waitingBatches.find((batch) => batch.model === model && batch.size < batch.limit) : undefined;
  if (open !== undefined) {
    open.size += 1;
    slotsFreeAtMs[open.slot] = open.startMs + open.aloneMs * speeds.batchFactor(model, open.size);
    return;
  }
  let slot = 0;
  for (let i = 1; i < slotsFreeAtMs.length; i += 1)
    if ((slotsFreeAtMs[i] as number) < (slotsFreeAtMs[slot] as number)) slot = i;
  const startMs = Math.max(slotsFreeAtMs[slot] as number, earliestMs);
  slotsFreeAtMs[slot] = startMs + expectedMs;
  if (limit === 1) return;
  const behind = waitingBatches.findIndex((batch) => batch.slot === slot);
  if (behind >= 0) waitingBatches.splice(behind, 1);
  waitingBatches.push({ model, slot, startMs, aloneMs: expectedMs, limit, size: 1 });
}

/** A task that joins a batch begins with it. */
function settleFree(worker: FleetWorker): void {
  const { slotsFreeAtMs } = worker;
  let freeAtMs = slotsFreeAtMs[0] as number;
  for (let slot = 1; slot < slotsFreeAtMs.length; slot += 1)
    if ((slotsFreeAtMs[slot] as number) < freeAtMs) freeAtMs = slotsFreeAtMs[slot] as number;
  for (const { startMs, size, limit } of worker.waitingBatches)
    if (size < limit && startMs < freeAtMs) freeAtMs = startMs;
  worker.freeAtMs = freeAtMs;
}

function begin(worker: FleetWorker, flights: Flight[], startMs: number, expectedMs: number): void {
  const run = new Run(flights, startMs, expectedMs);
  for (const flight of flights) flight.run = run;
  worker.runs.push(run);
}

function batchFrom(worker: FleetWorker, first: Flight, startMs: number): Flight[] {
  const limit = worker.facts.maxBatch(first.task.model);
  const together = [first];
  if (limit === 1) return together;
  for (const flight of worker.flights) {
    if (together.length === limit) break;
    if (flight === first || flight.run !== undefined || flight.task.model !== first.task.model) continue;
    if (flight.arrivesAtMs <= startMs) together.push(flight);
  }
  return together;
}

function endOf({ startMs, expectedMs }: Run, sigma: number, seenUntilMs: number): number {
  const endMs = startMs + expectedMs;
  if (seenUntilMs <= startMs) return endMs;
  const remainingMs = remainingOf(seenUntilMs - startMs, expectedMs, sigma);
  return endMs < seenUntilMs ? seenUntilMs + remainingMs : Math.max(endMs, seenUntilMs + remainingMs);
}

/** How long a run goes on that has taken so long. */
export function remainingOf(elapsedMs: number, expectedMs: number, sigma: number): number {
  const remainingMs = expectedRemainingMs(elapsedMs, expectedMs, sigma);
  const isStuck = elapsedMs > STUCK * expectedMs && sigma < STUCK_MAX_SIGMA;
  return isStuck ? Math.max(remainingMs, 0.5 * (elapsedMs - 2 * expectedMs)) : remainingMs;
}
