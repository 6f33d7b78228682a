/**
 * One entry of the audit log as a line of text, and the chain that holds the lines together.
 *
 * The hash is the last field and covers the text before it, with the hash of the entry before in it: whoever changes, removes or inserts a line
 * must make every later line anew, and cannot when the newest hash is known elsewhere.
 */

import { createHash } from "node:crypto";
import { type AuditEntry, auditEntrySchema } from "@legacygpu/shared/api/audit";
import type { AuditEvent } from "./audit-log.ts";

/** Where the next entry belongs. */
export interface ChainEnd {
  readonly seq: number;
  readonly hash: string;
}

export const BEGINNING: ChainEnd = { seq: 0, hash: "0".repeat(64) };

const HASH_FIELD = ',"hash":"';
/** The field, 64 digits, a quote and the brace. */
const SUFFIX_CHARS = HASH_FIELD.length + 64 + 2;
const MAX_TEXT_CHARS = 300;

export interface Line {
  readonly text: string;
  readonly end: ChainEnd;
}

export function toLine(event: AuditEvent, atMs: number, previous: ChainEnd): Line {
  const seq = previous.seq + 1;
  const unsealed = JSON.stringify({
    seq,
    at: new Date(atMs).toISOString(),
    action: event.action,
    actor: bounded(event.actor),
    actor_name: bounded(event.actorName),
    tenant: bounded(event.tenant),
    target: bounded(event.target),
    outcome: event.outcome ?? "done",
    address: bounded(event.address),
    request_id: bounded(event.requestId),
    details: event.details ?? {},
    previous: previous.hash,
  });
  const hash = hashOf(unsealed);
  return { text: `${unsealed.slice(0, -1)}${HASH_FIELD}${hash}"}`, end: { seq, hash } };
}

/** @returns undefined when the line is no entry, or not as it was written. */
export function readLine(text: string): AuditEntry | undefined {
  const unsealed = `${text.slice(0, -SUFFIX_CHARS)}}`;
  const entry = parse(text);
  const isWhole = text.slice(-SUFFIX_CHARS).startsWith(HASH_FIELD);
  return isWhole && entry?.hash === hashOf(unsealed) ? entry : undefined;
}

function parse(text: string): AuditEntry | undefined {
  try {
    return auditEntrySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

/** What a stranger sent may be in it. */
const bounded = (text = ""): string => text.slice(0, MAX_TEXT_CHARS);
