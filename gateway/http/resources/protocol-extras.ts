/** What else clients of the Open Inference Protocol ask a server: how much it logs, and shared memory, which it cannot have with them. */

import type { Logger, LogLevel } from "@legacygpu/shared/log";
import { z } from "zod";
import { notSupported } from "../../inference/refusal.ts";
import { type Endpoint, json, parseJson } from "../endpoint.ts";
import { withRefusals } from "./refusals.ts";

const logSettingsSchema = z.strictObject({
  log_info: z.boolean().optional(),
  log_warning: z.boolean().optional(),
  log_error: z.boolean().optional(),
  log_verbose_level: z.int().min(0).optional(),
  /** Fixed: it logs JSON lines to standard error. */
  log_file: z.literal("").optional(),
  log_format: z.literal("default").optional(),
});
type WantedSettings = z.infer<typeof logSettingsSchema>;
type LogSettings = { readonly [Name in keyof WantedSettings]-?: NonNullable<WantedSettings[Name]> };

/** From the one that says most. */
const VERBOSE: Readonly<Record<string, number>> = { trace: 2, debug: 1 };
const SAYS_INFO: ReadonlySet<string> = new Set(["trace", "debug", "info"]);
const SAYS_WARNINGS: ReadonlySet<string> = new Set([...SAYS_INFO, "warn"]);
const SAYS_ERRORS: ReadonlySet<string> = new Set([...SAYS_WARNINGS, "error"]);

/** @param log whose level is shown and set */
export function protocolExtraEndpoints(log: Pick<Logger, "level">): Endpoint[] {
  const logging: Endpoint[] = [
    { method: "GET", pattern: "/v2/logging", scope: "read", handle: () => json(200, settingsOf(log.level)) },
    {
      method: "POST",
      pattern: "/v2/logging",
      scope: "admin",
      action: "logging.change",
      body: { kind: "buffer", limitBytes: 4 * 1024 },
      handle: (request) => {
        const wanted = parseJson(request, logSettingsSchema);
        log.level = levelOf(wanted, settingsOf(log.level));
        return json(200, settingsOf(log.level));
      },
    },
  ];
  return [...logging, ...withRefusals(["system", "cuda"].flatMap(sharedMemory))];
}

function settingsOf(level: string): LogSettings {
  return {
    log_file: "",
    log_info: SAYS_INFO.has(level),
    log_warning: SAYS_WARNINGS.has(level),
    log_error: SAYS_ERRORS.has(level),
    log_verbose_level: VERBOSE[level] ?? 0,
    log_format: "default",
  };
}

/** Whoever wants to hear of one kind hears of all that is worse. */
function levelOf(wanted: WantedSettings, now: LogSettings): LogLevel {
  const verbose = wanted.log_verbose_level ?? now.log_verbose_level;
  if (verbose >= 2) return "trace";
  if (verbose === 1) return "debug";
  if (wanted.log_info ?? now.log_info) return "info";
  if (wanted.log_warning ?? now.log_warning) return "warn";
  return (wanted.log_error ?? now.log_error) ? "error" : "fatal";
}

function sharedMemory(kind: string): Endpoint[] {
  const handle = (): never => {
    throw notSupported(`${kind} shared memory is not supported: clients are elsewhere`);
  };
  const root = `/v2/${kind}sharedmemory`;
  const body = { kind: "buffer", limitBytes: 64 * 1024 } as const;
  return [
    { method: "GET", pattern: `${root}/status`, scope: "read", handle },
    { method: "GET", pattern: `${root}/region/:region/status`, scope: "read", handle },
    { method: "POST", pattern: `${root}/region/:region/register`, scope: "submit", body, handle },
    { method: "POST", pattern: `${root}/region/:region/unregister`, scope: "submit", body, handle },
    { method: "POST", pattern: `${root}/unregister`, scope: "submit", body, handle },
  ];
}
