/** How much unfinished work is let in: tasks and bytes, of each key and of all together. What has been let in is never dropped. */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";

/** Nobody knows when a worker will be free; soon enough to be of use, late enough not to be a load. */
const RETRY_AFTER_SECONDS = 5;

export interface QueueLimits {
  readonly maxTasks: number;
  readonly maxBytes: number;
  readonly maxTasksPerKey: number;
  readonly maxBytesPerKey: number;
}

interface Usage {
  tasks: number;
  bytes: number;
}

const NOTHING: Readonly<Usage> = { tasks: 0, bytes: 0 };

type Unit = "tasks" | "bytes";

/** One of the four limits, and how it stands. */
interface Bound {
  readonly holder: string;
  readonly code: "key_queue_full" | "queue_full";
  readonly unit: Unit;
  readonly pending: number;
  readonly limit: number;
}

export class Admission {
  readonly #limits: QueueLimits;
  readonly #byOwner = new Map<string, Usage>();
  readonly #total: Usage = { tasks: 0, bytes: 0 };

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get tasks(): number {
    return this.#total.tasks;
  }

  get bytes(): number {
    return this.#total.bytes;
  }

  /** Keys that have anything unfinished. */
  get owners(): number {
    return this.#byOwner.size;
  }

  usageOf(owner: string): { readonly tasks: number; readonly bytes: number } {
    const { tasks, bytes } = this.#byOwner.get(owner) ?? NOTHING;
    return { tasks, bytes };
  }

  /**
   * Reserves room for all of it or for nothing. The caller's own limits are looked at first: who fills their own share is not told that the system
   * is full.
   *
   * @throws `key_queue_full` at the caller's own limit, `queue_full` at the system's, `body_too_large` when an empty queue could not hold it either.
   */
  reserve(owner: string, tasks: number, bytes: number): void {
    const refused = refusal(this.#bounds(owner), { tasks, bytes });
    if (refused !== undefined) throw refused;
    this.#add(owner, tasks, bytes);
  }

  /** For what an earlier start accepted: counted, never refused. */
  restore(owner: string, tasks: number, bytes: number): void {
    this.#add(owner, tasks, bytes);
  }

  /** Gives back what was reserved or restored. */
  release(owner: string, tasks: number, bytes: number): void {
    const usage = this.#byOwner.get(owner);
    if (usage === undefined || usage.tasks < tasks || usage.bytes < bytes) {
      throw new RangeError(`Key ${owner} has less in the queue than is given back.`);
    }
    this.#add(owner, -tasks, -bytes);
  }

  /** In the order in which they are looked at. */
  #bounds(owner: string): Bound[] {
    const { maxTasks, maxBytes, maxTasksPerKey, maxBytesPerKey } = this.#limits;
    const own = this.#byOwner.get(owner) ?? NOTHING;
    const all = this.#total;
    const key = `Key ${owner}`;
    const queue = "The queue";
    return [
      { holder: key, code: "key_queue_full", unit: "tasks", pending: own.tasks, limit: maxTasksPerKey },
      { holder: key, code: "key_queue_full", unit: "bytes", pending: own.bytes, limit: maxBytesPerKey },
      { holder: queue, code: "queue_full", unit: "tasks", pending: all.tasks, limit: maxTasks },
      { holder: queue, code: "queue_full", unit: "bytes", pending: all.bytes, limit: maxBytes },
    ];
  }

  #add(owner: string, tasks: number, bytes: number): void {
    let usage = this.#byOwner.get(owner);
    if (usage === undefined) {
      usage = { tasks: 0, bytes: 0 };
      this.#byOwner.set(owner, usage);
    }
    usage.tasks += tasks;
    usage.bytes += bytes;
    this.#total.tasks += tasks;
    this.#total.bytes += bytes;
    if (usage.tasks === 0 && usage.bytes === 0) this.#byOwner.delete(owner);
  }
}

/** The first bound that would be passed. What can never fit is told so, lest it be sent again and again. */
function refusal(
  bounds: readonly Bound[],
  requested: Readonly<Record<Unit, number>>,
): LegacyGpuError | undefined {
  for (const bound of bounds) {
    if (requested[bound.unit] > bound.limit) return neverFits(bound, requested[bound.unit]);
  }
  for (const bound of bounds) {
    if (bound.pending + requested[bound.unit] > bound.limit) return isFull(bound, requested[bound.unit]);
  }
  return undefined;
}

function isFull({ holder, code, unit, pending, limit }: Bound, requested: number): LegacyGpuError {
  const message = `${holder} has ${pending} ${unit} in unfinished tasks, and ${requested} more would pass the limit of ${limit}.`;
  return fail(code, message, { pending, requested, limit, unit, retryAfterSeconds: RETRY_AFTER_SECONDS });
}

function neverFits({ holder, unit, limit }: Bound, requested: number): LegacyGpuError {
  const message = `${holder} can never hold these ${requested} ${unit} at once: the limit is ${limit}. Send less at a time.`;
  return fail("body_too_large", message, {
    requested,
    limit,
    unit,
    ...(unit === "bytes" ? { limitBytes: limit } : {}),
  });
}
