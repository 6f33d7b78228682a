/** A key ring on a virtual clock, in a file that outlives it. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "node:test";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import { ManualClock } from "../support/manual-clock.ts";

export const HERE = { remoteAddress: "192.0.2.7" } as const;
export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

export interface Keys {
  readonly folder: string;
  readonly file: string;
  readonly clock: ManualClock;
  /** Closed after the test. */
  open(): Promise<KeyRing>;
}

/** Anew for every test of the file that calls this. After each test nothing may be left of it. */
export function useKeys(): () => Keys {
  let current: Keys;
  let rings: KeyRing[] = [];
  beforeEach(async () => {
    const folder = await mkdtemp(join(tmpdir(), "legacygpu-keys-"));
    const file = join(folder, "keys.json");
    const clock = new ManualClock();
    rings = [];
    const open = async (): Promise<KeyRing> => {
      const ring = await KeyRing.open(file, clock);
      rings.push(ring);
      return ring;
    };
    current = { folder, file, clock, open };
  });
  afterEach(async () => {
    await Promise.allSettled(rings.map((ring) => ring.close()));
    assert.equal(current.clock.pendingCount, 0);
    await rm(current.folder, { recursive: true, force: true });
  });
  return () => current;
}

export function codeOf(act: () => unknown): string {
  try {
    act();
    return "accepted";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
