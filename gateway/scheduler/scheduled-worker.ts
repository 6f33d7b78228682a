/** What the dispatcher has to know of a worker, from what its agent said and from what is measured. */

import { vramBytesOf } from "../balancers/known-cards.ts";
import { Latest } from "../dispatch/latest.ts";
import type { Path, WorkerFacts } from "../dispatch/ports.ts";
import type { Worker } from "../registry/worker.ts";

/** How many tasks of a model, by name and version, may run as one; 1: each runs alone. */
export type MaxBatchOf = (model: string) => number;

/** How fast a smaller batch than usual makes the usual one smaller; a larger one counts at once. */
const BATCH_DECAY = 0.05;
const MAX_MODELS = 256;

export class ScheduledWorker implements WorkerFacts {
  readonly worker: Worker;
  readonly id: string;
  readonly site: string;
  readonly slots: number;
  readonly hardwareClass: string;
  /** Workers are told apart by the labels that have ever been asked for; most are names of boxes, and would make each one of a kind. */
  capability = "";
  readonly path: Path;
  readonly memoryBytes: number;
  readonly hasCard: boolean;
  readonly #largestBatch: MaxBatchOf;
  /** How many tasks of a model it runs as one, usually. */
  readonly #usualBatches = new Latest<number>(MAX_MODELS);

  constructor(worker: Worker, largestBatch: MaxBatchOf) {
    const { site, slots, providers, hardware } = worker.hello;
    this.worker = worker;
    this.id = worker.id;
    this.site = site;
    this.slots = slots;
    this.path = worker.path;
    this.#largestBatch = largestBatch;
    this.hasCard = hardware.gpus.length > 0 && providers.some((provider) => provider !== "cpu");
    const cardBytes = Math.max(0, ...hardware.gpus.map((gpu) => vramBytesOf(gpu) ?? 0));
    this.memoryBytes = this.hasCard && cardBytes > 0 ? cardBytes : hardware.memoryBytes;
    const computesOn = this.hasCard ? hardware.gpus[0]?.name : hardware.cpu.model;
    this.hardwareClass = `${providers[0] ?? "cpu"} ${computesOn ?? ""}`;
    this.tellApartBy([]);
  }

  /** @param labelNames those that a placement may ask for; undefined: every one */
  tellApartBy(labelNames: Iterable<string> | undefined): void {
    const { providers, labels, hardware } = this.worker.hello;
    const cards = hardware.gpus.map((gpu) => [gpu.name, vramBytesOf(gpu) ?? 0]);
    const wanted =
      labelNames === undefined
        ? Object.entries(labels).toSorted()
        : [...labelNames].map((name) => labels[name] ?? null);
    this.capability = JSON.stringify([providers, cards, wanted]);
  }

  get canSend(): boolean {
    return this.worker.link?.canSend === true;
  }

  /** Twice what it usually makes, so that it can make more. An older agent joins none, and not all tasks fit together. */
  maxBatch(model: string): number {
    const largest = this.#largestBatch(model);
    return largest === 1 ? 1 : Math.min(largest, Math.ceil(2 * (this.#usualBatches.get(model) ?? 1)));
  }

  ranAsOne(model: string, batchSize: number): void {
    if (batchSize === 1 && this.#usualBatches.size === 0) return;
    const usual = this.#usualBatches.get(model) ?? 1;
    const next = batchSize >= usual ? batchSize : usual + BATCH_DECAY * (batchSize - usual);
    this.#usualBatches.set(model, next);
  }
}
