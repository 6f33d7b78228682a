/** Who did what, from where, with which outcome: what the parts of the gateway tell, whoever writes it down. */

import type { AuditEntry } from "@legacygpu/shared/api/audit";

/** What a part of the gateway says happened. */
export interface AuditEvent {
  /** Subject first: `key.create`, `worker.approve`. */
  readonly action: string;
  /** Public id of the credential; default: nobody was recognised. `gateway` for what it does by itself. */
  readonly actor?: string;
  readonly actorName?: string;
  readonly tenant?: string;
  readonly target?: string;
  /** Default `done`. */
  readonly outcome?: AuditEntry["outcome"];
  readonly address?: string;
  readonly requestId?: string;
  /** Never a secret. */
  readonly details?: Readonly<Record<string, string | number | boolean | string[]>>;
}

export interface AuditLog {
  /** Never throws and never waits: what it is told is written soon, in this order. */
  record(event: AuditEvent): void;
}
