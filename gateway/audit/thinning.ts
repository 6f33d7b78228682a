/**
 * Keeps a flood of refusals from filling the disk: of the same kind from the same address only the first few of a minute are written one by one, the
 * rest as a number.
 */

import type { AuditEvent } from "./audit-log.ts";

const WINDOW_MS = 60_000;
const EACH = 10;
/** Addresses that are told apart; a flood from more than these is one. */
const MAX_KINDS = 10_000;

interface Window {
  readonly event: AuditEvent;
  readonly endsAtMs: number;
  count: number;
}

export class Thinning {
  readonly #windows = new Map<string, Window>();

  /** @returns whether the event is to be written by itself. */
  takes(event: AuditEvent, nowMs: number): boolean {
    if (event.outcome !== "refused") return true;
    const address = this.#windows.size < MAX_KINDS ? event.address : "many";
    const kind = `${event.action} ${address}`;
    const window = this.#windows.get(kind);
    if (window === undefined) {
      this.#windows.set(kind, { event, endsAtMs: nowMs + WINDOW_MS, count: 1 });
      return true;
    }
    window.count += 1;
    return window.count <= EACH;
  }

  /** What was held back by windows that are over; all of it when `nowMs` is infinite. */
  *summaries(nowMs: number): Generator<AuditEvent> {
    for (const [kind, { event, endsAtMs, count }] of this.#windows) {
      if (endsAtMs > nowMs) continue;
      this.#windows.delete(kind);
      if (count <= EACH) continue;
      const { action, address = "" } = event;
      yield { action, address, outcome: "refused", details: { more_within_a_minute: count - EACH } };
    }
  }
}
