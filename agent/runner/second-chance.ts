/**
 * What one runner process could not do and the next one can: load a model without the provider that took the process down, or find memory on
 * the GPU where the old one held it.
 */

import type { GpuMemory, Tenant } from "./gpu-memory.ts";
import type { Load, Run } from "./handed.ts";
import type { LocalModel, Ticket } from "./job.ts";
import { crashedWhileLoading, type SelfTestRecord } from "./self-test-record.ts";
import type { RunnerReport } from "./wire.ts";

export interface SecondChanceOptions {
  readonly memory: GpuMemory;
  readonly selfTests: SelfTestRecord;
}

export class SecondChance {
  readonly #options: SecondChanceOptions;
  /** The provider that a load under way has come to, unless that is the CPU. */
  #trying: string | undefined;
  #tickets: Ticket[] = [];
  #models: LocalModel[] = [];

  constructor(options: SecondChanceOptions) {
    this.#options = options;
  }

  /** Whether something waits for the next process. */
  get isDue(): boolean {
    return this.#tickets.length > 0 || this.#models.length > 0;
  }

  onTrying(provider: string): void {
    this.#trying = provider;
  }

  /** The load has an answer, or its process is gone. */
  onLoadEnded(): void {
    this.#trying = undefined;
  }

  /** A process died, or hung, while it loaded a model. @returns false when no provider is to blame for that. */
  blamesProvider({ model }: Load, reason: string): boolean {
    if (this.#trying === undefined) return false;
    this.#options.selfTests.note(model.key, { provider: this.#trying, test: crashedWhileLoading(reason) });
    this.#trying = undefined;
    this.#models.push(model);
    return true;
  }

  /** A GPU without memory left: a new process has none of what the old one holds, and what is idle elsewhere makes room. Once. */
  wantsMemory(tenant: Tenant, entry: Run | Load, report: RunnerReport): boolean {
    const { memory } = this.#options;
    const { key } = entry.kind === "load" ? entry.model : entry.ticket.job.model;
    const isShort = report.type === "failed" && report.error.code === "out_of_memory";
    const isWanted = entry.kind === "load" || entry.ticket.state !== "settled";
    if (!isShort || !isWanted || !memory.mayRetry(key)) return false;
    if (entry.kind === "load") this.#models.push(entry.model);
    else this.#tickets.push(entry.ticket);
    memory.clearFor(tenant, key);
    return true;
  }

  takeTickets(): Ticket[] {
    return this.#tickets.splice(0);
  }

  takeModels(): LocalModel[] {
    return this.#models.splice(0);
  }
}
