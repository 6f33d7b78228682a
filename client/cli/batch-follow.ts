/** Waits for the end of a batch, shows how far it is meanwhile, and prints its results or writes them into a file. */

import { type BatchJson, type BatchResult, endedIn, type LegacyGpuClient } from "../index.ts";
import { barText, countsText, resultsTable, stepText } from "./batch-text.ts";
import type { Context } from "./context.ts";
import { exitCodeOfBatch } from "./exit-codes.ts";
import { withProgress } from "./interrupt.ts";
import { writeJsonLines } from "./output-file.ts";

export interface BatchFollowing {
  /** A file for the results as JSON lines, instead of standard output. */
  readonly output?: string | undefined;
  /** When its first task was sent, on the monotonic clock. Default: unknown, so that the rate is told from what is seen. */
  readonly startedAtMs?: number;
}

export async function followBatch(
  context: Context,
  client: LegacyGpuClient,
  id: string,
  { output, startedAtMs }: BatchFollowing,
): Promise<number> {
  const { clock } = context.io;
  const { first: signal } = context.signals;
  let since = startedAtMs === undefined ? undefined : { doneCount: 0, atMs: startedAtMs };
  const bar = (now: BatchJson): string => {
    const doneCount = endedIn(now);
    const atMs = clock.monotonic();
    since ??= { doneCount, atMs };
    return barText(now, (doneCount - since.doneCount) / (atMs - since.atMs));
  };
  const batch = await withProgress(
    context,
    () => batchGoesOn(id),
    (progress) =>
      client.waitForBatch(id, {
        signal,
        onUpdate: (now) => progress.update(stepText(now), bar(now)),
        onTrouble: (error) => progress.update(`${id}: ${error.message} · trying again`),
      }),
  );
  const results = client.batchResults(id, { signal });
  if (output === undefined) {
    const all = await collected(results);
    context.print({ ...batch, results: all }, () => resultsTable(all));
  } else {
    await writeJsonLines(output, results);
    context.print(batch, () => "");
    context.remark(`The results are in ${output}.`);
  }
  context.remark(summary(batch));
  return exitCodeOfBatch(batch);
}

export function batchGoesOn(id: string): string {
  return `Batch ${id} goes on. legacygpu batch get ${id} --wait · legacygpu batch results ${id} · legacygpu batch cancel ${id}`;
}

export async function collected(results: AsyncIterable<BatchResult>): Promise<BatchResult[]> {
  const all: BatchResult[] = [];
  for await (const result of results) all.push(result);
  return all;
}

function summary(batch: BatchJson): string {
  const { total } = batch.counts;
  return `${batch.id}: ${total} ${total === 1 ? "task" : "tasks"}, ${countsText(batch)}`;
}
