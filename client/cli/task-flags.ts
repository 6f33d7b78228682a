/** The flags that say how a task is to be run: the same for one task and for a batch. */

import {
  DURABILITIES,
  type Durability,
  PRIORITIES,
  type Priority,
  RETRY_CAUSES,
  type RetryCause,
} from "@legacygpu/shared/task";
import { type Command, InvalidArgumentError } from "commander";
import type { CreateTask } from "../index.ts";
import { collect, collectPairs, duration, oneOf, wholeNumber } from "./command.ts";

export interface TaskFlags {
  readonly model: string;
  readonly version?: string;
  readonly priority?: Priority;
  /** Milliseconds, like all durations here. */
  readonly deadline?: number;
  readonly executionTimeout?: number;
  readonly resultTtl?: number;
  readonly maxAttempts?: number;
  readonly backoff?: number;
  readonly retryOn?: RetryCause[];
  readonly site?: string[];
  readonly label?: Record<string, string>;
  readonly provider?: string[];
  readonly minVram?: number;
  readonly family?: string[];
  readonly region?: string[];
  readonly requireWorker?: boolean;
  /** False: no second copy. */
  readonly hedge?: boolean;
  readonly webhook?: string;
  readonly metadata?: Record<string, string>;
  readonly tag?: string[];
  readonly durability?: Durability;
}

export function addTaskFlags(command: Command): Command {
  return command
    .requiredOption("--model <name>", "model to run")
    .option("--version <version>", "of the model (default: the newest)")
    .option("--priority <class>", `${PRIORITIES.join(", ")} (default NORMAL)`, oneOf(PRIORITIES))
    .option("--deadline <duration>", 'time to the final answer, like "30s"', duration)
    .option("--execution-timeout <duration>", "time that the model may compute", duration)
    .option("--result-ttl <duration>", 'how long the result is kept, like "1h" (default a day)', duration)
    .option("--max-attempts <count>", "tries in all", wholeNumber({ min: 1, max: 20 }))
    .option("--backoff <duration>", "bound of the wait before the second try; then it doubles", backoff)
    .option("--retry-on <causes>", `comma-separated: ${RETRY_CAUSES.join(", ")}`, causes)
    .option("--site <name>", "only on workers of this site; may be repeated", collect)
    .option("--label <name=value>", "only on workers with this label; may be repeated", collectPairs)
    .option("--provider <name>", "only with this execution provider; may be repeated", collect)
    .option(
      "--min-vram <mebibytes>",
      "only with so much GPU memory",
      wholeNumber({ min: 1, max: 10_000_000 }),
    )
    .option("--family <name>", "only with a card of this family, like Polaris; may be repeated", collect)
    .option("--region <name>", "its data stays on workers of this region; may be repeated", collect)
    .option("--require-worker", "refuse it when no connected worker could run it, instead of waiting for one")
    .option("--no-hedge", "never a second copy of it beside the first, however late that is")
    .option("--webhook <url>", "is told when the task has ended")
    .option("--tag <tag>", "to find it by; may be repeated", collect)
    .option("--metadata <name=value>", "kept with the task; may be repeated", collectPairs)
    .option("--durability <kind>", `${DURABILITIES.join(", ")} (default flushed)`, oneOf(DURABILITIES));
}

function backoff(given: string): number {
  return /^0+[a-z]*$/.test(given) ? 0 : duration(given);
}

function causes(given: string): RetryCause[] {
  try {
    return given.split(",").map((word) => oneOf(RETRY_CAUSES)(word.trim()));
  } catch {
    throw new InvalidArgumentError(`Choose from ${RETRY_CAUSES.join(", ")}.`);
  }
}

/** What the flags say; what they leave open is undefined. */
export function taskOptions(flags: TaskFlags): Omit<CreateTask, "input"> {
  return {
    model: flags.model,
    version: flags.version,
    priority: flags.priority,
    deadline_ms: flags.deadline,
    execution_timeout_ms: flags.executionTimeout,
    result_ttl_s: flags.resultTtl === undefined ? undefined : Math.ceil(flags.resultTtl / 1000),
    retry: unlessEmpty({ max_attempts: flags.maxAttempts, backoff_ms: flags.backoff, on: flags.retryOn }),
    placement: unlessEmpty({
      sites: flags.site,
      labels: flags.label,
      providers: flags.provider,
      min_vram_mb: flags.minVram,
      families: flags.family,
      residency: flags.region,
    }),
    no_wait: flags.requireWorker,
    hedge: flags.hedge === false ? false : undefined,
    webhook: flags.webhook === undefined ? undefined : { url: flags.webhook },
    metadata: flags.metadata,
    tags: flags.tag,
    durability: flags.durability,
  };
}

function unlessEmpty<Options extends object>(options: Options): Options | undefined {
  return Object.values(options).every((value) => value === undefined) ? undefined : options;
}
