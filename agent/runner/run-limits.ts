/** How long a runner process may take for what it works on. */

import type { Handed } from "./handed.ts";
import type { Ticket } from "./job.ts";

const LOAD_LIMIT_MS = 300_000;
/** One that was withdrawn is skipped at once, unless it had begun before word of that arrived; then nobody wants what it computes. */
const WITHDRAWN_LIMIT_MS = 500;

/** A batch may take as long as the most patient of its tasks. */
export function limitOf({ head, together }: Handed, executionLimitMs: number): number {
  if (head?.kind === "load") return LOAD_LIMIT_MS;
  return Math.max(...together.map(({ ticket }) => runLimitOf(ticket, executionLimitMs)));
}

function runLimitOf({ state, job, mayFinish }: Ticket, executionLimitMs: number): number {
  if (state === "settled" && !mayFinish) return WITHDRAWN_LIMIT_MS;
  return Math.min(job.executionLimitMs ?? executionLimitMs, executionLimitMs);
}
