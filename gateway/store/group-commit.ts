/**
 * Many callers, one sync: writes that come while a commit is under way go together into the next one.
 *
 * idle        nothing waits; the first write starts a round
 * committing  one commit at a time; whatever is added meanwhile waits for the next
 * broken      a commit failed for another reason than room: what the disk holds is unknown, so nothing more is written until a restart
 */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Write } from "./table.ts";

/** Bounds how long one commit takes and what it keeps in memory. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024;

/** `insert` may be refused when there is no room; the others make room or end tasks, and get a commit without inserts. */
export type WriteKind = "insert" | "other";

interface Request {
  readonly kind: WriteKind;
  readonly writes: readonly Write[];
  readonly sizeBytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #commit: (writes: readonly Write[]) => Promise<void>;
  #waiting: Request[] = [];
  #waitingBytes = 0;
  #round: Promise<void> | undefined;
  #broken: LegacyGpuError | undefined;

  constructor(commit: (writes: readonly Write[]) => Promise<void>) {
    this.#commit = commit;
  }

  /** Resolves when the writes are on disk. @throws `store_full`, `store_failed` */
  add(kind: WriteKind, writes: readonly Write[]): Promise<void> {
    return new Promise((resolve, reject) => {
      let sizeBytes = 0;
      for (const { value } of writes) sizeBytes += value?.length ?? 0;
      this.#waiting.push({ kind, writes, sizeBytes, resolve, reject });
      this.#waitingBytes += sizeBytes;
      this.#round ??= this.#run();
    });
  }

  /** Of what no commit has taken yet. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    await this.#round;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Callers that the last commit has just answered may have more: let them come along.
      await new Promise(setImmediate);
      await this.#settle(this.#take());
    }
    this.#round = undefined;
  }

  async #settle(requests: readonly Request[]): Promise<void> {
    const error = await this.#attempt(requests);
    if (error?.code !== "store_full") return answer(requests, error);
    const others = requests.filter(({ kind }) => kind !== "insert");
    answer(
      requests.filter(({ kind }) => kind === "insert"),
      error,
    );
    if (others.length > 0)
      answer(others, others.length === requests.length ? error : await this.#attempt(others));
  }

  async #attempt(requests: readonly Request[]): Promise<LegacyGpuError | undefined> {
    if (this.#broken !== undefined) return this.#broken;
    try {
      await this.#commit(allWrites(requests));
      return undefined;
    } catch (error) {
      const known = error as LegacyGpuError;
      if (known.code !== "store_full")
        this.#broken = fail("store_failed", `${known.message} Nothing is stored until a restart.`, {}, error);
      return this.#broken ?? known;
    }
  }

  #take(): Request[] {
    let takenBytes = 0;
    let count = 0;
    for (const { sizeBytes } of this.#waiting) {
      if (count > 0 && takenBytes + sizeBytes > MAX_BATCH_BYTES) break;
      takenBytes += sizeBytes;
      count += 1;
    }
    const taken = this.#waiting;
    this.#waiting = taken.splice(count);
    this.#waitingBytes -= takenBytes;
    return taken;
  }
}

function allWrites(requests: readonly Request[]): Write[] {
  const all: Write[] = [];
  for (const { writes } of requests) for (const write of writes) all.push(write);
  return all;
}

function answer(requests: readonly Request[], error: LegacyGpuError | undefined): void {
  for (const { resolve, reject } of requests) error === undefined ? resolve() : reject(error);
}
