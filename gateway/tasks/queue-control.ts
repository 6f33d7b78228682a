/** What an operator does to the queue of one model: holds it back, lets it go, empties it. A pause survives restarts. */

import type { Logger } from "@legacygpu/shared/log";
import type { Scheduler } from "../scheduler/scheduler.ts";
import type { DocumentStore } from "../store/task-store.ts";

const PAUSED = "paused-queues";
const PAGE = 1000;
/** Tasks that are cancelled before others get their turn. */
const CHUNK = 256;

export interface QueueControlOptions {
  readonly documents: DocumentStore;
  readonly scheduler: Scheduler;
  readonly log: Logger;
}

export class QueueControl {
  readonly #options: QueueControlOptions;

  constructor(options: QueueControlOptions) {
    this.#options = options;
    const { documents, scheduler } = options;
    for (let after: string | undefined; ; ) {
      const page = documents.list(PAUSED, { after, limit: PAGE });
      for (const { id } of page) scheduler.groups.pause(id, true);
      after = page.at(-1)?.id;
      if (page.length < PAGE) return;
    }
  }

  isPaused(model: string): boolean {
    return this.#options.scheduler.groups.isModelPaused(model);
  }

  /** What runs goes on; what waits, waits. */
  async pause(model: string): Promise<void> {
    const { documents, scheduler, log } = this.#options;
    await documents.put([{ collection: PAUSED, id: model, value: {} }]);
    scheduler.groups.pause(model, true);
    log.info({ model }, "a queue is paused");
  }

  async resume(model: string): Promise<void> {
    const { documents, scheduler, log } = this.#options;
    await documents.remove(PAUSED, [model]);
    scheduler.groups.pause(model, false);
    scheduler.dispatch();
    log.info({ model }, "a queue is resumed");
  }

  /** Cancels everything that no worker has begun. @returns how many */
  async purge(model: string, reason: string): Promise<number> {
    const { scheduler, log } = this.#options;
    let count = 0;
    for (const id of [...scheduler.view.pendingOf(model)]) {
      if (!scheduler.cancel(id, reason)) continue;
      count += 1;
      if (count % CHUNK === 0) await new Promise(setImmediate);
    }
    log.info({ model, tasks: count }, "a queue was emptied");
    return count;
  }
}
