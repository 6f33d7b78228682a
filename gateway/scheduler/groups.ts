/** The groups that tasks wait in: what each needs, how many it has, and which models are held back. */

import { groupOf, type Requirements, requirementsOf, type TaskOrder } from "../tasks/record.ts";

interface Group {
  /** The one string that every waiting task of the group shares. */
  readonly name: string;
  readonly requirements: Requirements;
  count: number;
}

export class Groups {
  readonly #groups = new Map<string, Group>();
  readonly #pausedModels = new Set<string>();

  /** The group of a task that is going to wait. */
  nameFor(task: Pick<TaskOrder, "model" | "placement">): string {
    const name = groupOf(task);
    return this.#groups.get(name)?.name ?? name;
  }

  add(name: string): void {
    const known = this.#groups.get(name);
    if (known === undefined) this.#groups.set(name, { name, requirements: requirementsOf(name), count: 1 });
    else known.count += 1;
  }

  remove(group: string): void {
    const known = this.#groups.get(group);
    if (known === undefined) return;
    known.count -= 1;
    if (known.count === 0) this.#groups.delete(group);
  }

  requirements(group: string): Requirements {
    return this.#groups.get(group)?.requirements ?? requirementsOf(group);
  }

  /** The groups of one model, or of one of its versions. */
  of(model: string, version?: string): string[] {
    const found: string[] = [];
    for (const [group, { requirements }] of this.#groups) {
      const isWanted = version === undefined || requirements.model.version === version;
      if (requirements.model.name === model && isWanted) found.push(group);
    }
    return found;
  }

  /** A paused model's tasks wait until it is resumed. */
  pause(model: string, isPaused: boolean): void {
    if (isPaused) this.#pausedModels.add(model);
    else this.#pausedModels.delete(model);
  }

  isModelPaused(model: string): boolean {
    return this.#pausedModels.has(model);
  }

  isPaused(group: string): boolean {
    return this.#pausedModels.size > 0 && this.#pausedModels.has(this.requirements(group).model.name);
  }
}
