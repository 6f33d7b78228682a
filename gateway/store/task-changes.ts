/** One change of a task at a time: who wants to change a task that is being changed waits, and then sees what became of it. */

import type { TaskId } from "@legacygpu/shared/ids";

export class TaskChanges {
  readonly #underWay = new Map<TaskId, Promise<void>>();

  /** @param change is begun when none of the tasks is being changed. */
  async run(ids: readonly TaskId[], change: () => Promise<void>): Promise<void> {
    for (let busy = this.#anyOf(ids); busy !== undefined; busy = this.#anyOf(ids)) await busy;
    const running = change();
    const settled = running.then(
      () => {},
      () => {},
    );
    for (const id of ids) this.#underWay.set(id, settled);
    try {
      await running;
    } finally {
      for (const id of ids) this.#underWay.delete(id);
    }
  }

  isChanging(id: TaskId): boolean {
    return this.#underWay.has(id);
  }

  /** When what is being written of this task is written, or has failed. */
  async settled(id: TaskId): Promise<void> {
    await this.#underWay.get(id);
  }

  async allSettled(): Promise<void> {
    await Promise.all(this.#underWay.values());
  }

  #anyOf(ids: readonly TaskId[]): Promise<void> | undefined {
    for (const id of ids) {
      const busy = this.#underWay.get(id);
      if (busy !== undefined) return busy;
    }
    return undefined;
  }
}
