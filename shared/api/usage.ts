/** Wire form of usage and quotas on HTTP. */

import { z } from "zod";

const meter = z.object({ used: z.number(), limit: z.number().nullable() });

/** Answer of `GET /usage`: what the caller's tenant has used today (UTC). `?tenant=` shows another's to an administrator. */
export const usageSchema = z.object({
  tenant: z.string(),
  /** `YYYY-MM-DD`. */
  day: z.string(),
  resets_at: z.string(),
  tasks: meter,
  /** Time that models ran on workers for it. */
  gpu_seconds: meter,
  /** Request bodies received. */
  bytes: meter,
  requests: meter,
});
export type UsageJson = z.infer<typeof usageSchema>;
