/** How workers were chosen for the tasks that want it remembered. In memory, of the latest ones. */

import type { TaskId } from "@legacygpu/shared/ids";
import type { Choice } from "../dispatch/choice.ts";

const MAX_REMEMBERED = 1000;

export class Choices {
  readonly #choices = new Map<TaskId, Choice>();

  of(id: TaskId): Choice | undefined {
    return this.#choices.get(id);
  }

  /** Of a task that is tried again the latest one counts. */
  remember(id: TaskId, choice: Choice): void {
    this.#choices.delete(id);
    this.#choices.set(id, choice);
    if (this.#choices.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#choices.keys();
    if (oldest !== undefined) this.#choices.delete(oldest);
  }
}
