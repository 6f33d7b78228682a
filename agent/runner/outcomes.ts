/** Tells the job of a ticket how it ended: once, and never after it was stopped. */

import { fromWireError, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Ticket } from "./job.ts";
import type { RunnerReport } from "./wire.ts";

export type RunReport = Extract<RunnerReport, { readonly type: "done" | "failed" }>;

export function settleFailed(ticket: Ticket, error: LegacyGpuError): void {
  if (ticket.state === "settled") return;
  ticket.state = "settled";
  ticket.job.onFailed(error);
}

/** With what its runner has answered. */
export function settleAnswered(ticket: Ticket, report: RunReport): void {
  if (report.type === "failed") {
    settleFailed(ticket, fromWireError(report.error));
    return;
  }
  if (ticket.state === "settled") return;
  ticket.state = "settled";
  const { output, provider, timings } = report;
  const { preprocessMs, executeMs, postprocessMs, batchSize } = timings;
  const { loadMs, concurrency } = ticket;
  const queuedMs = Math.max(0, ticket.startedAt - ticket.submittedAt - loadMs);
  ticket.job.onDone({
    output,
    provider,
    timings: { queuedMs, loadMs, preprocessMs, executeMs, postprocessMs, batchSize, concurrency },
  });
}
