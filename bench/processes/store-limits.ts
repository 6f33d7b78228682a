/** Limits of stores that must keep everything. */

export const STORE_LIMITS = {
  maxFinished: 10_000_000,
  maxFinishedAgeMs: 7 * 24 * 3_600_000,
  maxStoredBytes: 2 ** 40,
  reserveBytes: 0,
} as const;
