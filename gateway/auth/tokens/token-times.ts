/** When a token is in force (RFC 8725, section 3; RFC 9068, section 2.2). */

import { refused } from "./refusal.ts";

export interface TokenTimes {
  readonly iat: number;
  readonly nbf?: number | undefined;
  readonly exp: number;
}

/** Clocks may differ by this much. */
const TOLERANCE_SECONDS = 5;

/** @throws `auth_invalid` */
export function checkTimes({ iat, nbf = iat, exp }: TokenTimes, maxLifeSeconds: number, nowMs: number): void {
  const nowSeconds = nowMs / 1000;
  if (exp - iat > maxLifeSeconds) throw refused("lives too long");
  if (exp <= iat || nowSeconds >= exp + TOLERANCE_SECONDS) throw refused("expired");
  if (Math.max(iat, nbf) > nowSeconds + TOLERANCE_SECONDS) throw refused("from the future");
}
