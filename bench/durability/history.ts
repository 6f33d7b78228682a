/** What the clients of the loss test have been told, in their own memory: the gateway's word is held against it. */

import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { isFinal } from "@legacygpu/shared/task";
import { isRightAnswer, MODELS, type ModelName } from "./workload.ts";

/** How a task ended, as somebody saw it. */
export interface Ending {
  readonly status: TaskJson["status"];
  readonly errorCode: string | undefined;
  readonly completedAtMs: number;
  readonly isRight: boolean;
  /** Attempts that gave a result. */
  readonly results: number;
}

export interface Accepted {
  readonly id: string;
  readonly n: number;
  readonly deadlineAtMs: number | undefined;
  ending: Ending | undefined;
  /** Of the ending, to tell it from another one, and since when it is known (monotonic). */
  mark: string | undefined;
  markedAtMs: number;
  /** What must not be: it was gone, or ended twice. */
  readonly contradictions: string[];
  isMissing: boolean;
}

export class History {
  readonly accepted = new Map<string, Accepted>();
  /** The ids that were acknowledged for each request; two are one too many. */
  readonly idsOf = new Map<number, Set<string>>();
  /** Requests without an answer that were not sent again. */
  readonly unknown = new Set<number>();
  /** Error codes of requests that were refused, which is no loss. */
  readonly refusals = new Map<string, number>();
  /** Answers that no gateway may give. */
  readonly violations: string[] = [];
  readonly #open = new Set<string>();

  /** Acknowledged tasks that nobody has seen end. */
  get open(): ReadonlySet<string> {
    return this.#open;
  }

  get progress(): { readonly accepted: number; readonly ended: number } {
    return { accepted: this.accepted.size, ended: this.accepted.size - this.#open.size };
  }

  /** @param askedAtMs when the request was sent, monotonic. */
  acknowledged(n: number, task: TaskJson, askedAtMs: number): void {
    const ids = this.idsOf.get(n) ?? new Set();
    this.idsOf.set(n, ids.add(task.id));
    if (!this.accepted.has(task.id)) {
      const deadlineAtMs = task.deadline_at === null ? undefined : Date.parse(task.deadline_at);
      this.accepted.set(task.id, {
        id: task.id,
        n,
        deadlineAtMs,
        ending: undefined,
        mark: undefined,
        markedAtMs: Number.POSITIVE_INFINITY,
        contradictions: [],
        isMissing: false,
      });
      this.#open.add(task.id);
    }
    this.seen(task, askedAtMs);
  }

  refused(code: string): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  /**
   * Somebody looked at the task.
   * @param askedAtMs when the request was sent: answers overtake each other, so only one that was asked for later can contradict.
   */
  seen(task: TaskJson, askedAtMs: number): void {
    const known = this.accepted.get(task.id);
    if (known === undefined) return;
    if (!isFinal(task.status)) {
      if (askedAtMs > known.markedAtMs) known.contradictions.push(`${known.mark}, then ${task.status}`);
      return;
    }
    const mark = markOf(task);
    if (known.mark !== undefined && known.mark !== mark)
      known.contradictions.push(`${known.mark}, then ${mark}`);
    if (known.mark === undefined) {
      known.mark = mark;
      known.markedAtMs = performance.now();
      known.ending = endingOf(known.n, task);
    }
    this.#open.delete(task.id);
  }

  missing(id: string): void {
    const known = this.accepted.get(id);
    if (known !== undefined) known.isMissing = true;
    this.#open.delete(id);
  }
}

function endingOf(n: number, task: TaskJson): Ending {
  const { result, attempts, model } = task;
  const data = result?.outputs[0]?.data ?? [];
  return {
    status: task.status,
    errorCode: task.error?.code,
    completedAtMs: Date.parse(task.completed_at ?? ""),
    isRight: task.status === "COMPLETED" && model in MODELS && isRightAnswer(n, model as ModelName, data),
    results: attempts.filter(({ outcome }) => outcome === "completed").length,
  };
}

/** The same for the same end, whenever one looks. */
function markOf({ status, completed_at, error, attempts, result }: TaskJson): string {
  const tokens = attempts.map(({ token, outcome }) => `${token}:${outcome}`);
  const numbers = result?.outputs[0]?.data ?? [];
  return `${status} at ${completed_at} ${error?.code ?? ""} [${tokens.join(" ")}] ${numbers[0] ?? ""}…${numbers.length}`;
}
