/**
 * Which of the tasks that wait in the runner run as one with the oldest of them.
 *
 * A batch is made of what has queued while the runner was busy. It waits for more only for as long as the manifest allows, and only while
 * pictures of the same model are being decoded here: nothing else is known to be coming, and a task that is alone runs at once. Tasks that were
 * withdrawn stay behind. The oldest one is always taken, so whatever others are preferred to it, nothing waits for ever.
 */

import type { Entry, RunItem } from "./run-item.ts";
import type { ServedModel } from "./served-model.ts";

export interface BatchLimits {
  readonly maxRows: number;
  /** From when the oldest task could run. */
  readonly maxDelayMs: number;
}

/**
 * @param waiting oldest first, without `head`; who is taken leaves it.
 * @returns `head` and those that run with it.
 */
export async function gather(
  head: RunItem,
  waiting: Entry[],
  model: ServedModel,
  { maxRows, maxDelayMs }: BatchLimits,
): Promise<RunItem[]> {
  // What has arrived while the last run kept the process busy is read now, withdrawals too.
  await nextTurn();
  await head.preparing;
  const waitUntil = performance.now() + maxDelayMs;
  for (;;) {
    const { companions, isFull, coming } = survey(head, waiting, model, maxRows);
    const leftMs = waitUntil - performance.now();
    if (isFull || coming.length === 0 || leftMs <= 0) {
      takeOut(companions, waiting);
      return [head, ...companions];
    }
    await firstOf(coming, leftMs);
  }
}

interface Survey {
  readonly companions: readonly RunItem[];
  readonly isFull: boolean;
  /** Of tasks of the model whose picture is being decoded. */
  readonly coming: readonly Promise<void>[];
}

const NOBODY: Survey = { companions: [], isFull: true, coming: [] };

function survey(head: RunItem, waiting: readonly Entry[], model: ServedModel, maxRows: number): Survey {
  const { modelKey } = head.command;
  const own = head.isSkipped ? undefined : head.partFor(model);
  if (own === undefined) return NOBODY;
  const companions: RunItem[] = [];
  const coming: Promise<void>[] = [];
  let { rows } = own;
  for (const entry of waiting) {
    if (rows >= maxRows) break;
    if (entry.type !== "run") {
      // What follows is meant for the model as it is loaded then.
      if (entry.modelKey === modelKey) break;
      continue;
    }
    if (entry.command.modelKey !== modelKey || entry.isSkipped) continue;
    if (entry.preparing !== undefined) coming.push(entry.preparing);
    const part = entry.partFor(model);
    if (part?.kind !== own.kind || rows + part.rows > maxRows) continue;
    companions.push(entry);
    rows += part.rows;
  }
  return { companions, isFull: rows >= maxRows, coming };
}

function takeOut(taken: readonly RunItem[], waiting: Entry[]): void {
  if (taken.length === 0) return;
  const leaving = new Set<Entry>(taken);
  const staying = waiting.filter((entry) => !leaving.has(entry));
  waiting.splice(0, waiting.length, ...staying);
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function firstOf(promises: readonly Promise<void>[], timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([...promises, timeout]);
  clearTimeout(timer);
}
