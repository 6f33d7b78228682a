/**
 * What the answer to a task tells of the path to its worker, besides its output.
 *
 * The round trip is what remains of an attempt's time when everything that the worker accounts for is taken away. That holds while both ways are
 * short, so only for small inputs and outputs. How long a large input took to fetch the agent says itself.
 */

import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import { INLINE_PAYLOAD_BYTES } from "@legacygpu/shared/protocol/version";
import { QUEUE_BYTES } from "./pings.ts";
import type { Worker } from "./worker.ts";

export interface Answer {
  readonly model: { readonly name: string; readonly version: string };
  readonly timings: AttemptTimings;
  /** Monotonic; when the attempt was sent. */
  readonly sentAtMs: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
}

/** More is no round trip any more. */
const SMALL_BYTES = 8 * 1024;
/** What a worker held before its link was opened counts from then on: too short to be true. */
const SETTLING_MS = 100;

/** Without loading the model: that happens once. */
export function serviceMs({ preprocessMs, executeMs, postprocessMs }: AttemptTimings): number {
  return preprocessMs + executeMs + postprocessMs;
}

/** @param nowMs monotonic, when the answer came. */
export function learnFromAnswer(worker: Worker, answer: Answer, nowMs: number): void {
  const { timings, sentAtMs, inputBytes, outputBytes } = answer;
  worker.served(answer.model, serviceMs(timings));
  if (sentAtMs < worker.linkedAtMs + SETTLING_MS) return;
  const totalMs = nowMs - sentAtMs;
  if (inputBytes > INLINE_PAYLOAD_BYTES) learnBandwidth(worker, answer, totalMs);
  else if (inputBytes <= SMALL_BYTES && outputBytes <= SMALL_BYTES) learnRtt(worker, answer, totalMs);
}

function learnRtt(worker: Worker, { timings, sentAtMs }: Answer, totalMs: number): void {
  const leftMs = totalMs - timings.queuedMs - timings.fetchMs - timings.loadMs - serviceMs(timings);
  if (leftMs <= 0) return;
  // Nobody can answer a ping too early, but anybody can say that a task stood in their queue.
  const rttMs = Math.max(leftMs, worker.path.pings.minimumMs ?? 0);
  const isQueued = (worker.link?.unacknowledgedBytes ?? 0) > QUEUE_BYTES;
  worker.path.answered({ rttMs, sentAtMs, isQueued });
}

/**
 * The first byte can have come a round trip after the worker had heard of the task. The least one is meant: an estimate that stood in a queue would
 * leave too little time for the transfer.
 */
function learnBandwidth(worker: Worker, { timings, sentAtMs, inputBytes }: Answer, totalMs: number): void {
  const { fetchMs } = timings;
  // More than the whole attempt took: nothing that it says is to be believed.
  if (fetchMs <= 0 || fetchMs > totalMs) return;
  const { path } = worker;
  const rttMs = Math.min(path.rttMs ?? 0, path.pings.minimumMs ?? Number.POSITIVE_INFINITY);
  const endMs = sentAtMs + rttMs / 2 + fetchMs;
  path.site.toSite.transferred(Math.min(sentAtMs + 1.5 * rttMs, endMs), endMs, inputBytes);
}
