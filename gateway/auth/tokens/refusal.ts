/** Why a token was not believed: for the log of the operator. Whoever presented it learns nothing but `auth_invalid`. */

import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";

export type RefusalReason =
  | "too large"
  | "not three parts"
  | "encoding"
  | "not a JSON object"
  | "duplicate member"
  | "header"
  | "issuer"
  | "audience"
  | "key id"
  | "signature"
  | "claims"
  | "expired"
  | "from the future"
  | "lives too long"
  | "API key"
  | "address";

export function refused(reason: RefusalReason): LegacyGpuError {
  return fail("auth_invalid", undefined, { reason });
}
