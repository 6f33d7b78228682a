/** What the agent is given, checked once. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface AgentOptions {
  /** `wss://host:port`; `https://` means the same. */
  readonly url: string;
  /** The worker key, `lgw_…`. */
  readonly key: string;
  /** The gateway's CA when it is private; absent: the CAs that the system knows. */
  readonly caPem?: string | undefined;
  /** Identity and model cache. */
  readonly stateDir: string;
  /** Default: proposed from the host's name and kept in `stateDir`. */
  readonly workerId?: string | undefined;
  readonly site: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Tasks that run at a time, each in a process of its own. Default: 1. */
  readonly slots?: number | undefined;
  /** Execution providers, best first. Default: those that work here, a real GPU first. */
  readonly providers?: readonly string[] | undefined;
  /** The longest that one run may take. Default: 5 minutes. */
  readonly executionLimitMs?: number | undefined;
  /** Finished outcomes that wait on the disk while there is no link; beyond either bound the oldest go. Default: 1 GiB, 2000 attempts. */
  readonly maxSpoolBytes?: number | undefined;
  readonly maxSpoolAttempts?: number | undefined;
  /** For the proxy (`HTTPS_PROXY`, `NO_PROXY`) and the drivers of the runner. Default: empty. */
  readonly env?: Environment | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
}

const DEFAULT_EXECUTION_LIMIT_MS = 300_000;
const DEFAULT_SPOOL_BYTES = 1024 ** 3;
const DEFAULT_SPOOL_ATTEMPTS = 2000;
/** Of the site and of each label; the gateway refuses longer ones. */
const MAX_TEXT_CHARS = 256;

/** @throws `config_invalid`. */
export function checkOptions(options: AgentOptions) {
  const { key, slots = 1, executionLimitMs = DEFAULT_EXECUTION_LIMIT_MS } = options;
  if (key === "") throw fail("config_invalid", "A worker key is needed (`lgw_…`).");
  if (!Number.isInteger(slots) || slots < 1 || slots > 1024)
    throw fail("config_invalid", `slots must be a whole number from 1 to 1024, not ${slots}.`);
  const { maxSpoolBytes = DEFAULT_SPOOL_BYTES, maxSpoolAttempts = DEFAULT_SPOOL_ATTEMPTS } = options;
  for (const [name, value] of Object.entries({ maxSpoolBytes, maxSpoolAttempts }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw fail("config_invalid", `${name} must be a whole number from 1 on, not ${value}.`);
  for (const text of [options.site, ...Object.entries(options.labels ?? {}).flat()])
    if (text.length > MAX_TEXT_CHARS)
      throw fail("config_invalid", `\`${text.slice(0, 20)}…\` is over ${MAX_TEXT_CHARS} characters.`);
  return {
    ...options,
    gateway: parseGatewayUrl(options.url),
    slots,
    executionLimitMs,
    maxSpoolBytes,
    maxSpoolAttempts,
    labels: options.labels ?? {},
    env: options.env ?? {},
  };
}

/** @returns an https: URL without a path. */
export function parseGatewayUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const authority = text.replace(/^[a-z]+:\/\//i, "");
  if (url === undefined || !/^(wss|https):$/.test(url.protocol)) {
    throw fail(
      "config_invalid",
      `The gateway's address must begin with wss://, not \`${text}\`: write wss://${authority}. The link is always encrypted.`,
    );
  }
  return new URL(`https://${url.host}`);
}

/** What a runner or a trial process may know: paths and drivers, never a credential. */
const PASSED_ON =
  /^(PATH|HOME|LANG|LC_.*|TZ|TMPDIR|TEMP|TMP|SYSTEMROOT|WINDIR|PROGRAMDATA|USERPROFILE|XDG_RUNTIME_DIR|LD_LIBRARY_PATH|DYLD_.*|VK_.*|CUDA_.*|NVIDIA_.*|HIP_.*|HSA_.*|ROCR_.*|GPU_.*|AMD_.*|RADV_.*|MESA_.*|DRI_PRIME|OMP_.*|ORT_.*|NODE_V8_COVERAGE)$/i;

export function childEnvironment(env: Environment): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(env))
    if (value !== undefined && PASSED_ON.test(name)) passed[name] = value;
  return passed;
}
