/** What the agent is given, checked once. */

import { isIP } from "node:net";
import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { JoinToken } from "@legacygpu/shared/join-token";
import type { Logger } from "@legacygpu/shared/log";
import { defaultMemoryLimit } from "./runner/jail.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface AgentOptions {
  /** The gateway to join, once; afterwards the same token changes nothing. */
  readonly join?: JoinToken | undefined;
  /** A worker key, `lgw_…`, for a box that joins nothing. With neither this nor a join token: the box uses what it joined before. */
  readonly key?: string | undefined;
  /** With a worker key: `wss://host:port`; `https://` means the same. A box that joined knows its gateway. */
  readonly url?: string | undefined;
  /** With a worker key: the gateway's CA when it is private; absent: the CAs that the system knows. */
  readonly caPem?: string | undefined;
  /** Identity and model cache. */
  readonly stateDir: string;
  /** Default: proposed from the host's name and kept in `stateDir`. A box that joined keeps the one that it joined with. */
  readonly workerId?: string | undefined;
  /** For a box that joined the gateway's word counts. */
  readonly site: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Tasks that run at a time, each in a process of its own. Default: 1. */
  readonly slots?: number | undefined;
  /** Execution providers, best first. Default: those that work here, a real GPU first. */
  readonly providers?: readonly string[] | undefined;
  /** The longest that one run may take. Default: 5 minutes. */
  readonly executionLimitMs?: number | undefined;
  /** The most memory that one runner may take before it is stopped. Default: an equal share of four fifths of the machine's, at least 1 GiB. */
  readonly maxRunnerMemoryBytes?: number | undefined;
  /** The user, by name or number, that runners run as when the agent is root; its group gets to read the models. Default: the agent's own. */
  readonly runnerUser?: string | undefined;
  /** Finished outcomes that wait on the disk while there is no link; beyond either bound the oldest go. Default: 1 GiB, 2000 attempts. */
  readonly maxSpoolBytes?: number | undefined;
  readonly maxSpoolAttempts?: number | undefined;
  /** The most that downloads of models take of the line to the gateway. Default: what it gives. */
  readonly maxDownloadBytesPerSecond?: number | undefined;
  /** What the cached model files may take; those used longest ago go first. Default: four fifths of what the disk has free or they take. */
  readonly maxModelCacheBytes?: number | undefined;
  /** Whether other boxes of the site may fetch model files from this one, and how they reach it. Default: they may, at this machine's addresses. */
  readonly sharing?: SharingOptions | "off" | undefined;
  /** For the proxy (`HTTPS_PROXY`, `NO_PROXY`) and the drivers of the runner. Default: empty. */
  readonly env?: Environment | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the start while it waits for a gateway to join. */
  readonly signal?: AbortSignal | undefined;
}

export interface SharingOptions {
  /** Default: one that is free. */
  readonly port?: number | undefined;
  /** IP addresses of this machine as its neighbours see it. Default: those of its network interfaces. */
  readonly addresses?: readonly string[] | undefined;
}

export type CheckedOptions = ReturnType<typeof checkOptions>;

const DEFAULT_EXECUTION_LIMIT_MS = 300_000;
const DEFAULT_SPOOL_BYTES = 1024 ** 3;
const DEFAULT_SPOOL_ATTEMPTS = 2000;
/** Of the site and of each label; the gateway refuses longer ones. */
const MAX_TEXT_CHARS = 256;
/** Slower, and the gateway would take the download for stuck. */
const MIN_DOWNLOAD_RATE = 16 * 1024;
/** An engine without a model takes a third of this. */
const MIN_RUNNER_MEMORY_BYTES = 256 * 1024 ** 2;

/** @throws `config_invalid`. */
export function checkOptions(options: AgentOptions) {
  const { key, slots = 1, executionLimitMs = DEFAULT_EXECUTION_LIMIT_MS } = options;
  if (options.url !== undefined) parseGatewayUrl(options.url);
  if (key === "") throw fail("config_invalid", "A worker key is needed (`lgw_…`).");
  if (!Number.isInteger(slots) || slots < 1 || slots > 1024)
    throw fail("config_invalid", `slots must be a whole number from 1 to 1024, not ${slots}.`);
  const { maxSpoolBytes = DEFAULT_SPOOL_BYTES, maxSpoolAttempts = DEFAULT_SPOOL_ATTEMPTS } = options;
  for (const [name, value] of Object.entries({ maxSpoolBytes, maxSpoolAttempts }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw fail("config_invalid", `${name} must be a whole number from 1 on, not ${value}.`);
  checkModelOptions(options);
  const { maxRunnerMemoryBytes = defaultMemoryLimit(slots) } = options;
  if (!Number.isSafeInteger(maxRunnerMemoryBytes) || maxRunnerMemoryBytes < MIN_RUNNER_MEMORY_BYTES)
    throw fail(
      "config_invalid",
      `maxRunnerMemoryBytes must be at least ${MIN_RUNNER_MEMORY_BYTES} bytes (256 MiB).`,
    );
  for (const text of [options.site, ...Object.entries(options.labels ?? {}).flat()])
    if (text.length > MAX_TEXT_CHARS)
      throw fail("config_invalid", `\`${text.slice(0, 20)}…\` is over ${MAX_TEXT_CHARS} characters.`);
  return {
    ...options,
    slots,
    executionLimitMs,
    maxRunnerMemoryBytes,
    maxSpoolBytes,
    maxSpoolAttempts,
    labels: options.labels ?? {},
    env: options.env ?? {},
  };
}

function checkModelOptions(options: AgentOptions): void {
  const { maxDownloadBytesPerSecond, maxModelCacheBytes, sharing = {} } = options;
  const least = { maxDownloadBytesPerSecond: MIN_DOWNLOAD_RATE, maxModelCacheBytes: 1 };
  for (const [name, value] of Object.entries({ maxDownloadBytesPerSecond, maxModelCacheBytes })) {
    const min = least[name as keyof typeof least];
    if (value !== undefined && (!Number.isSafeInteger(value) || value < min))
      throw fail("config_invalid", `${name} must be a whole number from ${min} on, not ${value}.`);
  }
  if (sharing === "off") return;
  const { port, addresses = [] } = sharing;
  if (port !== undefined && (!Number.isInteger(port) || port < 0 || port > 65_535))
    throw fail("config_invalid", `sharing.port must be a port from 0 to 65535, not ${port}.`);
  for (const address of addresses)
    if (isIP(address) === 0) throw fail("config_invalid", `\`${address}\` is not an IP address.`);
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
