/**
 * The file as a power cut would have left it, built from the log of its writes.
 *
 * On the disk for certain is what had been written before a sync began that has returned, and what was written through a descriptor
 * that syncs each write by itself. Of everything else the disk may have anything: all of a write, nothing of it, or some of its sectors, in
 * whatever order the system happened to write them back.
 */

import { pick, type Random } from "../../models/onnx/random.ts";
import type { LogEvent } from "./write-log.ts";

/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;
/** How much of what was not synced survives, from cut to cut. */
const SURVIVAL = [0, 0.2, 0.5, 0.8, 1] as const;
const TORN = 0.3;

export interface Cut {
  /** Undefined: there is no file of this name, since the folder was not synced. */
  readonly image: Buffer | undefined;
  /** What had been acknowledged by then. */
  readonly acknowledged: readonly string[];
}

export interface CutOptions {
  /** The power goes before this event. */
  readonly at: number;
  readonly random: Random;
  /** As if the disk had ignored every sync: tells whether a loss would be seen. */
  readonly ignoresSyncs?: boolean;
}

export function cutPower(events: readonly LogEvent[], { at, random, ignoresSyncs = false }: CutOptions): Cut {
  const past = events.slice(0, at);
  const ends = endsOf(past);
  const syncedBefore = ignoresSyncs ? 0 : lastSync(past);
  const survival = pick(random, SURVIVAL);
  const file = new FileImage();
  for (const event of past) {
    if (event.kind !== "write" && event.kind !== "truncate") continue;
    const end = ends.get(event.operation);
    const isDurable =
      end !== undefined && (end.index < syncedBefore || (!ignoresSyncs && isDurableWrite(event)));
    if (event.kind === "truncate") {
      if (isDurable || random() < survival) file.truncate(event.sizeBytes);
      continue;
    }
    const bytes = event.bytes.subarray(0, end?.lengthBytes ?? event.bytes.length);
    if (isDurable) file.write(event.offset, bytes);
    else if (random() < survival * TORN) file.tear(event.offset, bytes, random);
    else if (random() < survival) file.write(event.offset, bytes);
  }
  const acknowledged = past.flatMap((event) => (event.kind === "acknowledged" ? event.lines : []));
  const isNamed = past.some(({ kind }) => kind === "folderSynced") || random() < 0.5;
  return { image: isNamed ? file.bytes : undefined, acknowledged };
}

const isDurableWrite = (event: LogEvent): boolean => event.kind === "write" && event.isDurable;

interface OperationEnd {
  readonly index: number;
  readonly lengthBytes: number;
}

function endsOf(events: readonly LogEvent[]): Map<number, OperationEnd> {
  const ends = new Map<number, OperationEnd>();
  for (const [index, event] of events.entries()) {
    if (event.kind === "ended") ends.set(event.operation, { index, lengthBytes: event.lengthBytes });
  }
  return ends;
}

/** Where the latest of the syncs began that have returned. */
function lastSync(events: readonly LogEvent[]): number {
  const beginnings = new Map<number, number>();
  let latest = 0;
  for (const [index, event] of events.entries()) {
    if (event.kind === "sync") beginnings.set(event.operation, index);
    if (event.kind === "synced") latest = Math.max(latest, beginnings.get(event.operation) ?? 0);
  }
  return latest;
}

class FileImage {
  #bytes: Buffer = Buffer.alloc(0);
  #size = 0;

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  write(offset: number, bytes: Buffer): void {
    this.#grow(offset + bytes.length);
    bytes.copy(this.#bytes, offset);
  }

  /** Each sector has its own luck. */
  tear(offset: number, bytes: Buffer, random: Random): void {
    for (let from = 0; from < bytes.length; ) {
      const to = from + SECTOR_BYTES - ((offset + from) % SECTOR_BYTES);
      if (random() < 0.5) this.write(offset + from, bytes.subarray(from, to));
      from = to;
    }
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.#size) this.#bytes.fill(0, sizeBytes, this.#size);
    this.#grow(sizeBytes);
    this.#size = sizeBytes;
  }

  #grow(sizeBytes: number): void {
    if (sizeBytes > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(sizeBytes, 2 * this.#bytes.length));
      this.#bytes.copy(larger);
      this.#bytes = larger;
    }
    this.#size = Math.max(this.#size, sizeBytes);
  }
}
