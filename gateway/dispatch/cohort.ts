/**
 * Workers that are as good as each other for any task, as far as a price goes: of one site, about as fast, with the same models and abilities. Only the
 * one of them that gets free first has to be looked at.
 *
 * Two heaps on the absolute time at which a worker gets free, so that nothing changes while time passes: those with credit, and those that
 * are full, which can still be worth waiting for.
 */

import { type HeapArray, settle } from "../queue/heap.ts";
import type { Board } from "./board.ts";
import type { FleetWorker } from "./fleet-worker.ts";

export class Cohort {
  readonly key: string;
  readonly #ready = new WorkerHeap();
  readonly #full = new WorkerHeap();
  /** Its row on the board of heads. */
  readonly row: number;
  readonly #board: Board;
  slots = 0;
  busySlots = 0;
  /** The one with credit that gets free first; when nobody has credit, of all. */
  head: FleetWorker | undefined = undefined;

  constructor(key: string, board: Board) {
    this.key = key;
    this.#board = board;
    this.row = board.take();
    board.ratePerMs[this.row] = 0;
  }

  get size(): number {
    return this.#ready.size + this.#full.size;
  }

  /** Tasks per millisecond, of all its workers. */
  get ratePerMs(): number {
    return this.#board.ratePerMs[this.row] as number;
  }

  /** Of those with credit the one that gets free first. */
  get firstReady(): FleetWorker | undefined {
    return this.#ready.first;
  }

  *workers(): Iterable<FleetWorker> {
    yield* this.#ready.all;
    yield* this.#full.all;
  }

  /** The worker comes, or its time, credit or rate has changed. */
  put(worker: FleetWorker): void {
    const counted = worker.counted;
    this.#addRate(worker.ratePerMs - counted.ratePerMs);
    this.slots += worker.facts.slots - counted.slots;
    this.busySlots += worker.busySlots - counted.busySlots;
    counted.ratePerMs = worker.ratePerMs;
    counted.slots = worker.facts.slots;
    counted.busySlots = worker.busySlots;
    const { hasCredit } = worker;
    (hasCredit ? this.#full : this.#ready).remove(worker);
    (hasCredit ? this.#ready : this.#full).put(worker);
    this.#noteHead();
  }

  remove(worker: FleetWorker): void {
    const { counted } = worker;
    this.#addRate(-counted.ratePerMs);
    this.slots -= counted.slots;
    this.busySlots -= counted.busySlots;
    counted.ratePerMs = 0;
    counted.slots = 0;
    counted.busySlots = 0;
    this.#ready.remove(worker);
    this.#full.remove(worker);
    this.#noteHead();
  }

  #addRate(perMs: number): void {
    const rates = this.#board.ratePerMs;
    rates[this.row] = (rates[this.row] as number) + perMs;
  }

  #noteHead(): void {
    this.head = this.#ready.first ?? this.#full.first;
    if (this.head === undefined) this.#board.clear(this.row);
    else this.#board.write(this.row, this.head);
  }
}

class WorkerHeap implements HeapArray {
  readonly all: FleetWorker[] = [];

  get size(): number {
    return this.all.length;
  }

  get first(): FleetWorker | undefined {
    return this.all[0];
  }

  put(worker: FleetWorker): void {
    if (this.all[worker.heapPosition] !== worker) {
      worker.heapPosition = this.all.length;
      this.all.push(worker);
    }
    settle(this, worker.heapPosition);
  }

  remove(worker: FleetWorker): void {
    const position = worker.heapPosition;
    if (this.all[position] !== worker) return;
    this.swap(position, this.all.length - 1);
    this.all.pop();
    worker.heapPosition = -1;
    if (position < this.all.length) settle(this, position);
  }

  isBefore(a: number, b: number): boolean {
    return (this.all[a] as FleetWorker).freeAtMs < (this.all[b] as FleetWorker).freeAtMs;
  }

  swap(a: number, b: number): void {
    const one = this.all[a] as FleetWorker;
    const other = this.all[b] as FleetWorker;
    this.all[a] = other;
    this.all[b] = one;
    other.heapPosition = a;
    one.heapPosition = b;
  }
}
