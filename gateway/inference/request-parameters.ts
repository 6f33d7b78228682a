/** The parameters of a request that the protocol gives a meaning. All others are the caller's own. */

import { fail } from "@legacygpu/shared/errors";
import type { Priority } from "@legacygpu/shared/task";

/** A caller that gives no `timeout` is not kept longer than its own network library would wait. */
const DEFAULT_TIMEOUT_MS = 60_000;
/** As for a task: at most a week. */
const MAX_TIMEOUT_MS = 604_800_000;
const RESERVED_PREFIX = "triton_";

export interface RequestParameters {
  readonly priority: Priority;
  readonly timeoutMs: number;
  /** Whether outputs that do not say so themselves are wanted as bytes. */
  readonly isBinaryOutput: boolean;
  /** Refused unless a connected worker could run it. */
  readonly noWait: boolean;
}

type Given = Readonly<Record<string, unknown>>;

const DEFAULTS: RequestParameters = {
  priority: "NORMAL",
  timeoutMs: DEFAULT_TIMEOUT_MS,
  isBinaryOutput: false,
  noWait: false,
};

/** @throws `request_invalid` */
export function readParameters(given: Given | null | undefined, model: string): RequestParameters {
  if (given === undefined || given === null) return DEFAULTS;
  for (const name of Object.keys(given)) checkOwn(name, given[name]);
  refuseSequence(given, model);
  return {
    priority: readPriority(given.priority),
    timeoutMs: readTimeoutMs(given.timeout),
    isBinaryOutput: readFlag(given, "binary_data_output"),
    noWait: readFlag(given, "no_wait"),
  };
}

function checkOwn(name: string, value: unknown): void {
  if (name.startsWith(RESERVED_PREFIX))
    throw invalid(name, `parameter keys beginning with '${RESERVED_PREFIX}' are reserved, got '${name}'`);
  if (typeof value === "object" && value !== null && name !== "headers")
    throw invalid(name, `Unable to parse '${name}': a string, a number or a boolean`);
}

/** Models here keep nothing between two requests: to run one request of a sequence as if it stood alone would give a wrong answer. */
function refuseSequence(given: Given, model: string): void {
  const { sequence_id: id } = given;
  const isStarted = readFlag(given, "sequence_start");
  const isEnded = readFlag(given, "sequence_end");
  const isNone = id === undefined || id === null || id === 0 || id === "";
  if (!isNone && typeof id !== "string" && !isWhole(id) && typeof id !== "bigint")
    throw invalid("sequence_id", "Unable to parse 'sequence_id'");
  if (isNone && !isStarted && !isEnded) return;
  throw invalid(
    "sequence_id",
    `model '${model}' keeps no state between requests: sequences are not supported`,
  );
}

function readFlag(given: Given, name: string): boolean {
  const value = given[name];
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw invalid(name, `Unable to parse '${name}': true or false`);
  return value;
}

/** The protocol counts from 1, the highest; 0 is the default. Levels below our four are LOW. */
function readPriority(given: unknown): Priority {
  if (given === undefined || given === null || given === 0) return "NORMAL";
  if (!isWhole(given)) throw invalid("priority", "Unable to parse 'priority': a whole number from 0");
  return (["CRITICAL", "HIGH", "NORMAL"] as const)[given - 1] ?? "LOW";
}

/** The protocol gives microseconds; 0 is no limit of the caller's own. */
function readTimeoutMs(given: unknown): number {
  if (given === undefined || given === null || given === 0) return DEFAULT_TIMEOUT_MS;
  if (typeof given === "bigint" && given > 0n) return MAX_TIMEOUT_MS;
  if (typeof given !== "number" || !(given > 0))
    throw invalid("timeout", "Unable to parse 'timeout': microseconds, more than 0");
  return Math.min(given / 1000, MAX_TIMEOUT_MS);
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function invalid(name: string, text: string): Error {
  const path = `parameters.${name}`;
  return fail("request_invalid", `${path}: ${text}`, { path });
}
