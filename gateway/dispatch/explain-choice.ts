/** Puts a choice into words. Looks at every worker, so it is made only for those who ask. */

import type { Strategy } from "../balancers/strategy.ts";
import type { Choice, ConsideredWorker } from "./choice.ts";
import type { FleetWorker } from "./fleet-worker.ts";
import { Quote } from "./market.ts";
import type { PickParts } from "./pick.ts";
import type { DispatchTask } from "./ports.ts";

/** More would not be read. */
const MAX_CANDIDATES = 50;

export interface Question {
  readonly task: DispatchTask;
  readonly strategy: Strategy;
  readonly pressure: number;
  /** Undefined: the task waits. */
  readonly chosen: FleetWorker | undefined;
}

export function explainChoice(parts: PickParts, question: Question): Choice {
  const { clock } = parts.options;
  const candidates = parts.fleet.workers
    .map((worker) => candidateFor(parts, question, worker))
    .sort((a, b) => rank(a, question) - rank(b, question));
  return {
    strategy: question.strategy.name,
    decidedAtMs: clock.now(),
    chosenWorkerId: question.chosen?.id,
    candidates: candidates.slice(0, MAX_CANDIDATES),
  };
}

function rank({ workerId, predictedMs }: ConsideredWorker, { chosen }: Question): number {
  if (workerId === chosen?.id) return -1;
  return predictedMs ?? Number.POSITIVE_INFINITY;
}

function candidateFor(parts: PickParts, question: Question, worker: FleetWorker): ConsideredWorker {
  const { id: workerId, site } = worker.facts;
  const obstacle = obstacleOf(parts, question.task, worker);
  if (obstacle !== undefined && worker !== question.chosen)
    return { workerId, site, verdict: obstacle, predictedMs: undefined, parts: undefined };
  const { task, strategy, pressure, chosen } = question;
  const { speeds, loadPrices, options } = parts;
  const quote = new Quote();
  quote.measure(worker, task, speeds);
  quote.time(options.clock.monotonic(), pressure);
  quote.fix(strategy, task, worker.residency.has(task.model) ? 0 : loadPrices.loadMs(task.model));
  const { rttMs, waitMs, serviceMs, loadMs, uploadMs } = quote;
  return {
    workerId,
    site,
    verdict: worker === chosen ? "chosen" : verdictOn(quote, chosen !== undefined),
    predictedMs: rttMs + waitMs + serviceMs + loadMs + uploadMs,
    parts: { rttMs, waitMs, serviceMs, loadMs, transferMs: uploadMs },
  };
}

/** Why it cannot have the task at all, now. */
function obstacleOf({ options }: PickParts, task: DispatchTask, worker: FleetWorker): string | undefined {
  if (!worker.isAvailable) return "it takes no tasks: its link is broken, or it is draining";
  if (!options.isAble(worker, task)) return "it does not meet what the task or the model requires";
  if (options.replicasOf?.(task.model)?.has(worker.id) === false)
    return "the model is deployed, and it is no replica";
  if (!worker.facts.canSend) return "its link is full";
  if (worker.health.isSilent) return "it has fallen silent";
  if (!worker.health.isTrusted) return "it is spared because tasks failed on it";
  if (worker.hasRefused(task.model, options.clock.monotonic())) return "it could not load the model lately";
  if (task.triedWorkerIds?.has(worker.id) === true) return "the task has failed there before";
  return undefined;
}

function verdictOn({ isOpen, waitMs, loadMs, worker }: Quote, isChosen: boolean): string {
  if (isOpen) {
    if (loadMs > 0) return "it would have to load the model first";
    return isChosen ? "it could begin, but another one is better" : "it could begin now";
  }
  if (!worker.hasCredit) return `it holds as many tasks as it may (${worker.credit})`;
  return isChosen
    ? `it is busy for ${Math.round(waitMs)} ms more`
    : `it is waited for: busy for ${Math.round(waitMs)} ms more`;
}
