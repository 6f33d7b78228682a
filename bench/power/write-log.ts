/** Reads what `write-log.c` has logged: what a process did to its store's file, and what it acknowledged, in this order. */

import { readFile } from "node:fs/promises";

export type LogEvent =
  | {
      readonly kind: "write";
      readonly operation: number;
      readonly offset: number;
      readonly bytes: Buffer;
      /** On the disk when the call has returned. */
      readonly isDurable: boolean;
    }
  | { readonly kind: "truncate"; readonly operation: number; readonly sizeBytes: number }
  /** Of a write or a truncation, with as many bytes as were written. */
  | { readonly kind: "ended"; readonly operation: number; readonly lengthBytes: number }
  | { readonly kind: "sync"; readonly operation: number }
  | { readonly kind: "synced"; readonly operation: number }
  | { readonly kind: "acknowledged"; readonly lines: readonly string[] }
  | { readonly kind: "created" }
  | { readonly kind: "folderSynced" };

const HEADER_BYTES = 32;

const WRITE = 1;
const WRITE_END = 2;
const SYNC = 3;
const SYNC_END = 4;
const TRUNCATE = 5;
const TRUNCATE_END = 6;
const ACKNOWLEDGED = 7;
const CREATED = 8;
const FOLDER_SYNC_END = 9;

/** @throws Error when the process wrote to the file in a way that the log cannot follow. */
export async function readWriteLog(path: string): Promise<LogEvent[]> {
  const log = await readFile(path);
  const events: LogEvent[] = [];
  // The process was killed: its last record may be half there.
  for (let at = 0; at + HEADER_BYTES <= log.length; ) {
    const kind = log.readUInt32LE(at);
    const operation = Number(log.readBigUInt64LE(at + 8));
    const offset = Number(log.readBigInt64LE(at + 16));
    const length = Number(log.readBigUInt64LE(at + 24));
    const isDurable = log.readUInt32LE(at + 4) === 1;
    const hasBytes = kind === WRITE || kind === ACKNOWLEDGED;
    at += HEADER_BYTES;
    const bytes = log.subarray(at, at + (hasBytes ? length : 0));
    if (hasBytes && bytes.length < length) break;
    at += bytes.length;
    events.push(eventOf({ kind, operation, offset, length, isDurable, bytes }));
  }
  return events;
}

interface LogRecord {
  readonly kind: number;
  readonly operation: number;
  readonly offset: number;
  readonly length: number;
  readonly isDurable: boolean;
  readonly bytes: Buffer;
}

function eventOf({ kind, operation, offset, length, isDurable, bytes }: LogRecord): LogEvent {
  switch (kind) {
    case WRITE:
      return { kind: "write", operation, offset, bytes, isDurable };
    case TRUNCATE:
      return { kind: "truncate", operation, sizeBytes: offset };
    case WRITE_END:
    case TRUNCATE_END:
      return { kind: "ended", operation, lengthBytes: length };
    case SYNC:
      return { kind: "sync", operation };
    case SYNC_END:
      return { kind: "synced", operation };
    case ACKNOWLEDGED:
      return { kind: "acknowledged", lines: bytes.toString("utf8").trimEnd().split("\n") };
    case CREATED:
      return { kind: "created" };
    case FOLDER_SYNC_END:
      return { kind: "folderSynced" };
    default:
      throw new Error("The store's file was written in a way that the log of writes cannot follow.");
  }
}
