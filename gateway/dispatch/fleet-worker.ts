/** One worker as the dispatcher sees it: what it holds, when its slots get free, how fast and how well it is. */

import type { Candidate } from "../balancers/strategy.ts";
import type { Cohort } from "./cohort.ts";
import { Doubt } from "./doubt.ts";
import type { Flight } from "./flight.ts";
import { WorkerHealth } from "./health.ts";
import type { Run, WaitingBatch } from "./lanes.ts";
import type { WorkerFacts } from "./ports.ts";
import { Residency } from "./residency.ts";
import { WorkerSpeed } from "./speeds.ts";

/** How early before a slot gets free, in its uncertainty, when nothing presses. */
const EASY = 0.05;

const NO_REFUSALS: ReadonlyMap<string, number> = new Map();

export class FleetWorker implements Candidate {
  readonly facts: WorkerFacts;
  /** Its own, among all workers of this process. */
  readonly serial: number;
  /** What it holds, in the order in which it was sent. */
  readonly flights: Flight[] = [];
  /** What is believed to run there, and what is believed to be joined there into one run. */
  readonly runs: Run[] = [];
  readonly waitingBatches: WaitingBatch[] = [];
  readonly speed: WorkerSpeed;
  readonly health: WorkerHealth;
  readonly doubt = new Doubt();
  readonly residency: Residency;
  /** Models that it has refused, and until when. */
  #refusedUntilMs: ReadonlyMap<string, number> = NO_REFUSALS;
  /** False while it has no link, or finishes what it holds. */
  isAvailable = true;

  /** When each slot gets free; the past: it is free. */
  readonly slotsFreeAtMs: Float64Array;
  /** When the next task can begin there. */
  freeAtMs = 0;
  /** Tasks of the present round that wait for it. */
  booked = 0;
  /** The largest batch that it may make of what was sent to it. */
  batchLimit = 1;
  oneWayMs = 0;
  /** How uncertain the time is at which a slot gets free. */
  uncertaintyMs = 0;
  /** How much before that a task is sent anyway. */
  leadMs = 0;
  /** How many attempts it may hold. */
  credit = 1;
  /** Tasks per millisecond. */
  ratePerMs = 0;
  /** When it was last sent a copy to find out how fast it is. */
  exploredAtMs = Number.NEGATIVE_INFINITY;
  /** From then on, what is above is to be worked out anew. */
  staleAtMs = 0;

  cohort: Cohort | undefined = undefined;
  /** In one of the heaps of its cohort. */
  heapPosition = -1;
  /** What its cohort has counted of it. */
  readonly counted = { ratePerMs: 0, slots: 0, busySlots: 0 };
  /** The key of its cohort, and what it was made of. */
  key = "";
  keyStep = Number.NaN;
  keySignature = "";
  keyRefusals = "";
  keyCapability = "";
  #refusals = "";

  constructor(facts: WorkerFacts, serial: number, nowMs: number) {
    this.facts = facts;
    this.serial = serial;
    this.speed = new WorkerSpeed(nowMs);
    this.health = new WorkerHealth(nowMs);
    this.residency = new Residency(facts.modelCapacity);
    this.slotsFreeAtMs = new Float64Array(facts.slots);
  }

  get id(): string {
    return this.facts.id;
  }

  get slots(): number {
    return this.facts.slots;
  }

  get inFlight(): number {
    return this.flights.length;
  }

  get memoryBytes(): number | undefined {
    return this.facts.memoryBytes;
  }

  get hasCard(): boolean {
    return this.facts.hasCard === true;
  }

  get busySlots(): number {
    return Math.min(this.facts.slots, this.flights.length);
  }

  /** When a task may be sent at the earliest so that it does not wait there for long, if nothing presses. */
  get opensAtMs(): number {
    return this.freeAtMs - this.oneWayMs - this.leadMs - EASY * this.uncertaintyMs;
  }

  get hasCredit(): boolean {
    return this.flights.length + this.booked < this.credit;
  }

  /** Whether it takes tasks, as far as it is well. */
  get isUsable(): boolean {
    return this.isAvailable && this.health.isTrusted && !this.health.isSilent;
  }

  /** Whether it can be weighed against others. Nobody knows when a full link has room again, so it is not waited for. */
  get isOnOffer(): boolean {
    return this.isUsable && this.facts.canSend;
  }

  /** Names of the models that it refuses, as one text. */
  get refusals(): string {
    return this.#refusals;
  }

  hasRefused(model: string, nowMs: number): boolean {
    if (this.#refusedUntilMs.size === 0) return false;
    return nowMs < (this.#refusedUntilMs.get(model) ?? 0);
  }

  refuseOnly(untilMs: ReadonlyMap<string, number>): void {
    this.#refusedUntilMs = untilMs;
    this.#nameRefusals();
  }

  /** @returns whether it takes a model again that it has refused. */
  forgetRefusals(nowMs: number): boolean {
    if (this.#refusedUntilMs.size === 0) return false;
    const left = [...this.#refusedUntilMs].filter(([, untilMs]) => nowMs < untilMs);
    if (left.length === this.#refusedUntilMs.size) return false;
    this.refuseOnly(new Map(left));
    return true;
  }

  #nameRefusals(): void {
    this.#refusals = [...this.#refusedUntilMs.keys()].toSorted().join(" ");
  }
}
