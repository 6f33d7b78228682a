/** How far a file has come, as text for people. */

import type { PushProgress } from "../index.ts";
import { durationText, sizeText } from "./table.ts";

const BAR_CHARS = 24;

/** Such as `██████░░░░ 40 MiB of 97 MiB, 11.2 MiB/s, 5.1 s left`. @param bytesPerMs NaN: unknown */
export function transferBar({ sentBytes, totalBytes }: PushProgress, bytesPerMs: number): string {
  const full = Math.round((BAR_CHARS * sentBytes) / Math.max(1, totalBytes));
  const bar = "█".repeat(full) + "░".repeat(BAR_CHARS - full);
  const parts = [`${bar} ${sizeText(sentBytes)} of ${sizeText(totalBytes)}`];
  if (bytesPerMs > 0 && Number.isFinite(bytesPerMs)) {
    parts.push(`${sizeText(bytesPerMs * 1000)}/s`);
    parts.push(`${durationText((totalBytes - sentBytes) / bytesPerMs)} left`);
  }
  return parts.join(", ");
}

/** For places where each change is a line: it changes ten times at most. */
export function transferStep({ sentBytes, totalBytes }: PushProgress): string {
  return `${10 * Math.floor((10 * sentBytes) / Math.max(1, totalBytes))} % sent`;
}
