/**
 * The removal of models: refused while they are in use, unless it is forced, and then their tasks end. What is deployed is never removed: the
 * deployment says that it is wanted.
 *
 * A task that waits or runs when its model goes FAILED with `model_not_found`: it could never be completed, and a retry would not help. That
 * also holds for the few that are accepted while the removal is under way. Tasks that have ended keep their results.
 */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { TaskId } from "@legacygpu/shared/ids";
import type { Catalogue, Model } from "./catalogue.ts";
import { LATEST } from "./model-family.ts";

/** Tasks that are ended before others get their turn. */
const CHUNK = 256;

/** The tasks of models, as far as their removal concerns them. */
export interface ModelTasks {
  readonly view: { unfinishedOf(model: string, version?: string): Iterable<TaskId> };
  abandon(id: TaskId, error: LegacyGpuError): boolean;
}

/** Which models are to be kept loaded, and in which version or under which alias; absent: the newest. */
export interface DeployedModels {
  find(model: string): { readonly version?: string | undefined } | undefined;
}

export interface Removed {
  readonly models: readonly Model[];
  readonly failedTasks: number;
}

export class ModelRemoval {
  readonly #catalogue: Catalogue;
  readonly #tasks: ModelTasks;
  readonly #deployed: DeployedModels | undefined;

  /** @param deployed absent: nothing is */
  constructor(catalogue: Catalogue, tasks: ModelTasks, deployed?: DeployedModels) {
    this.#catalogue = catalogue;
    this.#tasks = tasks;
    this.#deployed = deployed;
  }

  /**
   * @param version or an alias of one; absent: all of them, with every alias
   * @throws `model_not_found`, `model_deployed`, `model_in_use`, `store_full`
   */
  async remove(
    name: string,
    version: string | undefined,
    { isForced }: { readonly isForced: boolean },
  ): Promise<Removed> {
    const only = version === undefined ? undefined : this.#catalogue.find(name, version);
    this.#assertNotDeployed(name, only);
    if (!isForced) this.#assertUnused(name, only);
    const models = await this.#catalogue.remove(name, only?.ref.version);
    let failedTasks = 0;
    for (const { ref } of models) failedTasks += await this.#abandonTasks(ref.name, ref.version);
    return { models, failedTasks };
  }

  #assertNotDeployed(name: string, only: Model | undefined): void {
    const family = this.#catalogue.family(name);
    const deployment = this.#deployed?.find(name);
    if (deployment === undefined) return;
    const deployed = deployment.version === undefined ? family.newest : family.seek(deployment.version);
    if (only !== undefined && only !== deployed) return;
    const title = only === undefined ? name : `${name} version ${only.ref.version}`;
    const message = `${title} is deployed: undeploy it (\`DELETE /models/${name}/deployment\`) before it is removed.`;
    throw fail("model_deployed", message, { model: name, version: deployed?.ref.version });
  }

  #assertUnused(name: string, only: Model | undefined): void {
    const title = only === undefined ? name : `${name} version ${only.ref.version}`;
    this.#catalogue.family(name);
    const tasks = [...this.#tasks.view.unfinishedOf(name, only?.ref.version)].length;
    if (tasks > 0) {
      const message = `${tasks} ${tasks === 1 ? "task waits" : "tasks wait"} for ${title} or ${tasks === 1 ? "runs" : "run"} it.`;
      throw fail("model_in_use", message, { model: name, tasks });
    }
    const aliases = only === undefined ? [] : this.#catalogue.aliasesOf(only);
    const given = aliases.filter((alias) => alias !== LATEST);
    if (given.length === 0) return;
    const message = `${given.join(", ")} of ${name} ${given.length === 1 ? "points" : "point"} to version ${only?.ref.version}.`;
    throw fail("model_in_use", message, { model: name, aliases: given });
  }

  async #abandonTasks(name: string, version: string): Promise<number> {
    const message = `Model ${name} version ${version} was removed before the task had ended.`;
    let count = 0;
    for (const id of [...this.#tasks.view.unfinishedOf(name, version)]) {
      if (!this.#tasks.abandon(id, fail("model_not_found", message, { model: name, version }))) continue;
      count += 1;
      if (count % CHUNK === 0) await new Promise(setImmediate);
    }
    return count;
  }
}
