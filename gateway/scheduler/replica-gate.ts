/** What the scheduler asks about models that are deployed: their tasks go only to workers that have them loaded. */

type ModelName = { readonly name: string; readonly version: string };

export interface ReplicaGate {
  /** The workers that may run it; undefined: it is not deployed, and whoever is able may. Asked for every task that is placed. */
  replicasOf(model: ModelName): ReadonlySet<string> | undefined;
  /** A task waits for a model that nobody has loaded. Said again and again. */
  starved(model: ModelName): void;
  /** Why nobody runs it yet; undefined when it is not deployed. */
  reason(model: ModelName): string | undefined;
}

/** Nothing is deployed. */
export const OPEN_GATE: ReplicaGate = {
  replicasOf: () => undefined,
  starved: () => {},
  reason: () => undefined,
};
