/** One task as the runner's supervisor sees it. */

import type { LegacyGpuError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { TaskInput, TaskOutput } from "@legacygpu/shared/protocol/messages";
import type { RunTimings } from "./wire.ts";

/** A model whose file is on the disk. */
export interface LocalModel {
  /** Identifies name, version and contents. */
  readonly key: string;
  readonly path: string;
  readonly manifest: Manifest;
}

export interface RunResult {
  readonly output: TaskOutput;
  readonly provider: string;
  readonly timings: RunTimings & {
    readonly queuedMs: number;
    readonly loadMs: number;
    /** Runs that were under way when this one began, itself included. */
    readonly concurrency?: number | undefined;
  };
}

/** Called in this order: `onStarted` at most once, then at most one of the others; none after `stop`. */
export interface Job {
  readonly model: LocalModel;
  readonly input: TaskInput;
  readonly inputBytes: number;
  readonly outputs?: readonly string[] | undefined;
  /** Its own limit on a run; the agent's holds when that is lower. */
  readonly executionLimitMs?: number | undefined;
  onStarted(): void;
  onDone(result: RunResult): void;
  onFailed(error: LegacyGpuError): void;
}

/**
 * A job inside the supervisor.
 *
 * waiting: in the queue. handed: with a runner, behind others. running: the runner's oldest, so the one that it computes.
 * settled: its outcome was reported, or it was stopped.
 */
export interface Ticket {
  readonly job: Job;
  readonly submittedAt: number;
  state: "waiting" | "handed" | "running" | "settled";
  hasStarted: boolean;
  /** It was with a runner that died: it is run alone, so that a second death has one suspect only. */
  isSuspect: boolean;
  startedAt: number;
  loadMs: number;
  /** Runs that were under way when it began, its own included. */
  concurrency: number;
  /** It was stopped, but should it have begun, no process is killed for it. */
  mayFinish: boolean;
}

export type ModelEvent =
  | { readonly model: LocalModel; readonly state: "loading" }
  | {
      readonly model: LocalModel;
      readonly state: "ready";
      readonly provider: string;
      readonly loadMs: number;
      /** What of that was computing before the first task. */
      readonly warmUpMs?: number | undefined;
      /** Why better providers were passed over. */
      readonly passedOver: readonly string[];
    }
  /** No runner has it loaded any more. */
  | { readonly model: LocalModel; readonly state: "unloaded" }
  | {
      readonly model: LocalModel;
      readonly state: "failed";
      readonly error: LegacyGpuError;
      /** For how long it is not to be tried again; absent: for a while. */
      readonly retryAfterMs?: number | undefined;
    };
