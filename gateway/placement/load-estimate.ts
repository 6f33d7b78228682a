/** How long it takes until a deployed model can be run, for callers who would not wait so long. */

import type { ModelStateMessage } from "../registry/worker.ts";
import type { ColdStart, Replica } from "./replicas.ts";

export interface LoadEstimate {
  readonly leftMs: number;
  /** Of the download, 0 to 1; undefined: there is none under way. */
  readonly progress: number | undefined;
}

/**
 * By the latest cold start, and by what is left of a download at its present rate.
 *
 * @param states what the workers say of the replicas that load it
 * @returns undefined when nothing is known: it has not been loaded before, and nobody downloads it
 */
export function estimateLoad(
  loading: readonly { readonly replica: Replica; readonly said: ModelStateMessage | undefined }[],
  last: ColdStart | undefined,
  nowMs: number,
): LoadEstimate | undefined {
  let best: LoadEstimate | undefined;
  for (const { replica, said } of loading) {
    const estimate = downloadOf(replica, said, last) ?? byLast(replica, last, nowMs);
    if (estimate !== undefined && (best === undefined || estimate.leftMs < best.leftMs)) best = estimate;
  }
  if (loading.length > 0 || last === undefined) return best;
  return { leftMs: last.totalMs, progress: undefined };
}

function downloadOf(
  { ref }: Replica,
  said: ModelStateMessage | undefined,
  last: ColdStart | undefined,
): LoadEstimate | undefined {
  const { state, receivedBytes, bytesPerSecond = 0 } = said ?? {};
  if (state !== "downloading" || receivedBytes === undefined || bytesPerSecond <= 0) return undefined;
  const downloadMs = (1000 * Math.max(0, ref.fileBytes - receivedBytes)) / bytesPerSecond;
  const afterMs = (last?.loadMs ?? 0) + (last?.warmUpMs ?? 0);
  return { leftMs: downloadMs + afterMs, progress: Math.min(1, receivedBytes / Math.max(1, ref.fileBytes)) };
}

function byLast(replica: Replica, last: ColdStart | undefined, nowMs: number): LoadEstimate | undefined {
  if (last === undefined) return undefined;
  return { leftMs: Math.max(0, last.totalMs - (nowMs - replica.orderedAtMs)), progress: undefined };
}
