/**
 * Which strategy decides about which model: one for all, and those that models have of their own. What is set at run time is on disk before it holds.
 *
 * The latest decision of a person wins. A strategy that was set at run time holds across restarts, until the configuration names another one
 * than it did when that was set: then somebody has changed the configuration since, and that holds.
 */

import { STRATEGY_NAMES, type StrategyName } from "@legacygpu/shared/task";
import { z } from "zod";
import type { DocumentStore } from "../store/task-store.ts";
import { storedRecords } from "../workers/stored-records.ts";
import { strategyNamed } from "./strategy-name.ts";

const STRATEGY = "balancing-strategy";
const OVERRIDES = "balancing-overrides";
/** The only document of its collection. */
const ALL = "all";

const strategySchema = z.object({
  strategy: z.enum(STRATEGY_NAMES),
  /** What the configuration said when it was set. */
  configured: z.enum(STRATEGY_NAMES),
});
const overrideSchema = z.object({ model: z.string(), strategy: z.enum(STRATEGY_NAMES) });

export interface BalancingConfigParts {
  readonly documents: DocumentStore;
  /** By the configuration. */
  readonly configured: string;
}

export class BalancingConfig {
  readonly #documents: DocumentStore;
  readonly #configured: StrategyName;
  readonly #overrides = new Map<string, StrategyName>();
  #name: StrategyName;

  /** @throws `strategy_unknown`, `store_corrupt` */
  constructor({ documents, configured }: BalancingConfigParts) {
    this.#documents = documents;
    this.#configured = strategyNamed(configured);
    this.#name = this.#configured;
    for (const stored of storedRecords(documents, STRATEGY, strategySchema))
      if (stored.configured === this.#configured) this.#name = stored.strategy;
    for (const { model, strategy } of storedRecords(documents, OVERRIDES, overrideSchema))
      this.#overrides.set(model, strategy);
  }

  /** For models that have none of their own. */
  get name(): StrategyName {
    return this.#name;
  }

  get overrides(): ReadonlyMap<string, StrategyName> {
    return this.#overrides;
  }

  /** @param model its name, without a version */
  nameFor(model: string): StrategyName {
    return this.#overrides.get(model) ?? this.#name;
  }

  /** @param name undefined: the configured one again. @returns what holds now. @throws `strategy_unknown`, `store_full`, `store_failed` */
  async use(name: string | undefined): Promise<StrategyName> {
    if (name === undefined) {
      await this.#documents.remove(STRATEGY, [ALL]);
      this.#name = this.#configured;
      return this.#name;
    }
    const strategy = strategyNamed(name);
    const value = { strategy, configured: this.#configured };
    await this.#documents.put([{ collection: STRATEGY, id: ALL, value }]);
    this.#name = strategy;
    return strategy;
  }

  /** @param name undefined: no longer its own. @returns what holds for the model now. @throws as {@link use} */
  async override(model: string, name: string | undefined): Promise<StrategyName> {
    if (name === undefined) {
      await this.#documents.remove(OVERRIDES, [model]);
      this.#overrides.delete(model);
      return this.#name;
    }
    const strategy = strategyNamed(name);
    await this.#documents.put([{ collection: OVERRIDES, id: model, value: { model, strategy } }]);
    this.#overrides.set(model, strategy);
    return strategy;
  }
}
