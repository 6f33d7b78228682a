/** Loading a model into one runner process: whether it is worth asking for, what came of it, and who is told. */

import { asLegacyGpuError, fromWireError, LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { Tenant } from "./gpu-memory.ts";
import type { Handed } from "./handed.ts";
import type { LocalModel, ModelEvent } from "./job.ts";
import type { LoadPlan, LoadPlanner } from "./load-planner.ts";
import type { LoadedModels } from "./loaded-models.ts";
import { settleFailed } from "./outcomes.ts";
import type { SelfTestRecord } from "./self-test-record.ts";
import type { RunnerReport } from "./wire.ts";

type Loaded = Extract<RunnerReport, { readonly type: "loaded" }>;
export type LoadReport = Loaded | Extract<RunnerReport, { readonly type: "failed" }>;

export interface LaneModelsOptions {
  readonly planner: LoadPlanner;
  readonly selfTests: SelfTestRecord;
  readonly log: Logger;
}

export interface LaneModelsParts {
  readonly tenant: Tenant;
  readonly loaded: LoadedModels;
  readonly handed: Handed;
  readonly onModel: (event: ModelEvent) => void;
}

export class LaneModels {
  readonly #options: LaneModelsOptions;
  readonly #parts: LaneModelsParts;

  constructor(options: LaneModelsOptions, parts: LaneModelsParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** @returns how it is to be loaded, or why it cannot be. */
  plan(model: LocalModel): LoadPlan | LegacyGpuError {
    const plan = this.#planned(model);
    if (plan instanceof LegacyGpuError) this.#parts.onModel({ model, state: "failed", error: plan });
    else this.#parts.loaded.add(model, plan);
    return plan;
  }

  #planned(model: LocalModel): LoadPlan | LegacyGpuError {
    try {
      return this.#options.planner.plan(model, this.#parts.tenant);
    } catch (error) {
      return asLegacyGpuError(error);
    }
  }

  onAnswered(model: LocalModel, report: LoadReport): void {
    if (report.type === "failed") this.#onFailed(model, fromWireError(report.error));
    else this.#onLoaded(model, report);
  }

  #onFailed(model: LocalModel, error: LegacyGpuError): void {
    const { loaded, handed, onModel } = this.#parts;
    loaded.delete(model.key);
    onModel({ model, state: "failed", error });
    for (const ticket of handed.ticketsOf(model.key)) settleFailed(ticket, error);
  }

  #onLoaded(model: LocalModel, report: Loaded): void {
    const { loaded, handed, onModel } = this.#parts;
    const { provider, loadMs, warmUpMs } = report;
    for (const tested of report.tests ?? []) this.#options.selfTests.note(model.key, tested);
    // Unloaded since it was asked for.
    if (!loaded.has(model.key)) return;
    const passedOver = [...loaded.ready(model.key, provider), ...report.passedOver];
    for (const reason of passedOver)
      this.#options.log.warn({ model: model.key, reason }, "a provider was passed over");
    for (const ticket of handed.ticketsOf(model.key)) ticket.loadMs = loadMs;
    onModel({ model, state: "ready", provider, loadMs, warmUpMs, passedOver });
  }
}
