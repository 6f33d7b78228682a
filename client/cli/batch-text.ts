/** Batches as text for people. */

import { type BatchJson, type BatchResult, endedIn } from "../index.ts";
import { durationText, facts, table } from "./table.ts";

export function batchText(batch: BatchJson): string {
  return facts([
    ["batch", batch.id],
    ["status", batch.status],
    ["model", `${batch.model} version ${batch.version}`],
    ["created", batch.created_at],
    ["tasks", `${batch.counts.total}: ${countsText(batch)}`],
  ]);
}

/** Such as `412 completed, 3 failed, 85 pending`; at least one. */
export function countsText({ counts }: BatchJson): string {
  const { completed, failed, cancelled, timed_out, running, pending } = counts;
  const all = { completed, failed, cancelled, "timed out": timed_out, running, pending };
  const some = Object.entries(all).filter(([, count]) => count > 0);
  return some.length === 0 ? "none" : some.map(([name, count]) => `${count} ${name}`).join(", ");
}

/** For places where each change is a line: it changes ten times at most. */
export function stepText(batch: BatchJson): string {
  const tenths = Math.floor((10 * endedIn(batch)) / Math.max(1, batch.counts.total));
  return `${batch.id}: ${10 * tenths} % done`;
}

const BAR_CHARS = 24;

/** Such as `██████░░░░ 412/1000 done, 3 failed, 85.0/s, 6.9 s left`. @param perMs how many end in a millisecond; NaN: unknown. */
export function barText(batch: BatchJson, perMs: number): string {
  const { total, failed, cancelled, timed_out } = batch.counts;
  const done = endedIn(batch);
  const full = Math.round((BAR_CHARS * done) / Math.max(1, total));
  const parts = [`${"█".repeat(full)}${"░".repeat(BAR_CHARS - full)} ${done}/${total} done`];
  const lost = failed + cancelled + timed_out;
  if (lost > 0) parts.push(`${lost} failed`);
  if (perMs > 0 && Number.isFinite(perMs)) {
    parts.push(rateText(perMs * 1000), `${durationText((total - done) / perMs)} left`);
  }
  return parts.join(", ");
}

function rateText(perSecond: number): string {
  return `${perSecond < 100 ? perSecond.toFixed(1) : Math.round(perSecond)}/s`;
}

export function resultsTable(results: readonly BatchResult[]): string {
  return table(
    results,
    [
      { title: "INPUT", value: ({ external_reference, index }) => external_reference ?? String(index) },
      { title: "TASK", value: ({ task }) => task },
      { title: "STATUS", value: ({ status }) => status },
      { title: "RESULT", value: resultText },
      { title: "SCORE", value: scoreText, align: "right" },
    ],
    "The batch has no tasks.",
  );
}

function resultText({ result, error }: BatchResult): string {
  if (error !== null) return `${error.code}: ${error.message}`;
  const best = result?.predictions?.[0];
  if (best !== undefined) return best.label;
  return result?.outputs.map(({ name, shape }) => `${name}[${shape.join(",")}]`).join(" ") ?? "";
}

function scoreText({ result }: BatchResult): string {
  const best = result?.predictions?.[0];
  return best === undefined ? "" : `${(100 * best.score).toFixed(1)} %`;
}
