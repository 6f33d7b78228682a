/** The one fault of the disk that whoever pushes a model can wait out. */

import { fail } from "@legacygpu/shared/errors";

/** @returns `store_full` for a full disk, everything else as it is */
export function explainFault(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return fail("store_full", "There is no room left on the gateway's disk for models.", {}, error);
}
