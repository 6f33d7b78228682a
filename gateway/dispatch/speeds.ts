/**
 * How long a worker takes for a task of a model, learned from the answers.
 *
 * In logarithms a service time is a sum: what the model takes (μ) + how slow the worker is (g) + what is special to this model on this worker (r) + noise.
 * So one answer teaches about the worker for all its models, and about the model for all workers.
 *
 * A worker's g follows a slow drift by a gain that falls with the number of answers, opens when the errors lean to one side (a tracking signal),
 * and jumps when their sum says that something has changed for good (two-sided CUSUM). A worker that nobody knows starts as its hardware
 * class is.
 */

import type { FleetWorker } from "./fleet-worker.ts";
import { Latest } from "./latest.ts";

const FIRST_GUESS_MS = 50;
const FIRST_VARIANCE = 0.2;
const MIN_VARIANCE = 0.01;
const MAX_VARIANCE = 2;
/** What a stranger adds to the variance of its first answer. */
const STRANGER_VARIANCE = 0.25;
const LEAST_GAIN = 0.04;
const PLAIN_GAIN = 0.1;
const TRACKING_GAIN = 0.3;
const CUSUM_SLACK = 0.6;
const CUSUM_ALARM = 6;
/** One answer so many deviations away is an alarm by itself. */
const JUMP_DEVIATIONS = 4.5;
const CLAMP_DEVIATIONS = 3;
const MAX_COUNT = 60;
/** So many answers of a model on a worker count as much as all that is known otherwise. */
const RESIDUAL_PRIOR = 10;
const MAX_RESIDUAL_COUNT = 100;
const MIN_SERVICE_MS = 0.05;
/** A worker that is so much slower than it used to be is degraded: e^0.4, one and a half times. */
const DEGRADED_LOG = 0.4;
const FIRST_BATCH_COST = 0.15;
/** Versions come and go, and what hardware calls itself its agents say. */
const MAX_MODELS = 4096;
const MAX_CLASSES = 1024;
const MAX_RESIDUALS = 256;

interface ModelSpeed {
  logMs: number;
  count: number;
  variance: number;
  /** What each further task of a batch adds, as a share of the time of one alone. */
  batchCost: number;
}

interface Residual {
  log: number;
  count: number;
}

/** What is known of one worker. */
export class WorkerSpeed {
  /** Natural logarithm of how many times as long as usual it takes. */
  log = 0;
  count = 0;
  /** The same as a plain moving average of its answers. */
  plainLog = 0;
  plainCount = 0;
  /** As it usually is; undefined until it is known. */
  usualLog: number | undefined = undefined;
  /** Of the latest answer. */
  observedAtMs: number;
  readonly residuals = new Latest<Residual>(MAX_RESIDUALS);
  cusumSlower = 0;
  cusumFaster = 0;
  runSlower = 0;
  runFaster = 0;
  leaning = 0;
  leaningAbsolute = 0;
  /** The batch that was counted latest: its mates tell nothing new. */
  batchAtMs = Number.NaN;
  batchMs = Number.NaN;

  constructor(nowMs: number) {
    this.observedAtMs = nowMs;
  }

  get isDegraded(): boolean {
    return this.count > 0 && this.usualLog !== undefined && this.log > this.usualLog + DEGRADED_LOG;
  }
}

/** How long one run took, and how many tasks were in it. */
export interface Observed {
  readonly executeMs: number;
  readonly batchSize: number;
}

export class Speeds {
  readonly #models = new Latest<ModelSpeed>(MAX_MODELS);
  readonly #classes = new Latest<{ log: number; count: number }>(MAX_CLASSES);
  #variance = FIRST_VARIANCE;
  /** Of a task as they come, on a worker of usual speed. */
  #mixMs = FIRST_GUESS_MS;
  #mixCount = 0;

  /** Standard deviation of the logarithm of a service time. */
  get sigma(): number {
    return Math.sqrt(this.#variance);
  }

  /** Of a task of this model there, alone. */
  expectedMs(worker: FleetWorker, model: string): number {
    const { variance } = this.#models.get(model) ?? { variance: this.#variance };
    return Math.exp(this.#logOf(worker, model) + variance / 2);
  }

  /** The same by a plain moving average of the worker's speed, whatever the model and its class. */
  expectedBySpeedMs({ speed }: FleetWorker, model: string): number {
    const known = this.#models.get(model);
    const logMs = known?.logMs ?? Math.log(this.#mixMs);
    return Math.exp(logMs + speed.plainLog + (known?.variance ?? this.#variance) / 2);
  }

  /** Of a task as they come, there. */
  typicalMs(worker: FleetWorker): number {
    return this.#mixMs * Math.exp(this.#speedLog(worker));
  }

  /** How many times as long a batch takes as one task alone. */
  batchFactor(model: string, size: number): number {
    return 1 + (this.#models.get(model)?.batchCost ?? FIRST_BATCH_COST) * (size - 1);
  }

  /** A good answer. */
  observe(worker: FleetWorker, model: string, observed: Observed, nowMs: number): void {
    const { speed } = worker;
    speed.observedAtMs = nowMs;
    if (isSameBatch(speed, observed, nowMs)) return;
    const known = this.#modelOf(model, worker, observed);
    this.#learnBatchCost(known, worker, model, observed);
    const x = Math.log(
      Math.max(MIN_SERVICE_MS, observed.executeMs / (1 + known.batchCost * (observed.batchSize - 1))),
    );
    const priorLog = this.#speedLog(worker);
    const error = x - this.#logOf(worker, model);
    const isStranger = speed.count === 0;
    const sigma = Math.sqrt(
      known.variance * (1 + 1 / Math.max(1, speed.count)) + (isStranger ? STRANGER_VARIANCE : 0),
    );
    if (speed.count > 2) this.#learnVariance(known, error);
    const bound = CLAMP_DEVIATIONS * sigma;
    const clamped = Math.max(-bound, Math.min(bound, error));
    if (isStranger) {
      speed.log = priorLog;
      speed.leaning = 0;
      speed.leaningAbsolute = sigma;
    }
    learnSpeed(speed, error, clamped, sigma);
    learnPlainSpeed(speed, x - known.logMs, Math.sqrt(known.variance));
    known.count += 1;
    known.logMs += Math.max(0.005, 0.5 / (known.count + 1)) * 0.3 * clamped;
    this.#learnMix(x - priorLog);
    this.#learnResidual(speed, model, x - known.logMs - speed.log);
    this.#learnClass(worker);
    learnUsual(speed);
  }

  #modelOf(model: string, worker: FleetWorker, { executeMs, batchSize }: Observed): ModelSpeed {
    const known = this.#models.get(model);
    if (known !== undefined) {
      this.#models.set(model, known);
      return known;
    }
    const factor = 1 + FIRST_BATCH_COST * (batchSize - 1);
    const made: ModelSpeed = {
      logMs: Math.log(Math.max(MIN_SERVICE_MS, executeMs / factor)) - this.#speedLog(worker),
      count: 0,
      variance: this.#variance,
      batchCost: FIRST_BATCH_COST,
    };
    this.#models.set(model, made);
    return made;
  }

  #speedLog({ speed, facts }: FleetWorker): number {
    return speed.count > 0 ? speed.log : (this.#classes.get(facts.hardwareClass)?.log ?? 0);
  }

  #logOf(worker: FleetWorker, model: string): number {
    const modelLog = this.#models.get(model)?.logMs ?? Math.log(this.#mixMs);
    const residual = worker.speed.residuals.get(model);
    const special =
      residual === undefined ? 0 : (residual.log * residual.count) / (residual.count + RESIDUAL_PRIOR);
    return modelLog + this.#speedLog(worker) + special;
  }

  #learnVariance(known: ModelSpeed, error: number): void {
    const square = Math.min(error * error, CLAMP_DEVIATIONS ** 2 * known.variance);
    const gain = Math.max(0.01, 0.5 / (known.count + 2));
    const variance = known.variance + gain * (square - known.variance);
    known.variance = Math.min(MAX_VARIANCE, Math.max(MIN_VARIANCE, variance));
    this.#variance += 0.01 * (known.variance - this.#variance);
  }

  /** Against what one alone would have taken there. */
  #learnBatchCost(known: ModelSpeed, worker: FleetWorker, model: string, observed: Observed): void {
    const { batchSize, executeMs } = observed;
    if (batchSize < 2 || known.count < 5) return;
    const aloneMs = this.expectedMs(worker, model);
    const cost = Math.max(0, Math.min(1, (executeMs / aloneMs - 1) / (batchSize - 1)));
    known.batchCost += 0.02 * (cost - known.batchCost);
  }

  #learnMix(logMs: number): void {
    this.#mixCount += 1;
    const sampleMs = Math.min(Math.exp(logMs), 20 * this.#mixMs);
    this.#mixMs += Math.max(0.01, 1 / this.#mixCount) * (sampleMs - this.#mixMs);
  }

  #learnResidual({ residuals }: WorkerSpeed, model: string, log: number): void {
    const residual = residuals.get(model) ?? { log: 0, count: 0 };
    residuals.set(model, residual);
    residual.count = Math.min(MAX_RESIDUAL_COUNT, residual.count + 1);
    residual.log += Math.max(0.02, 1 / (residual.count + 1)) * (log - residual.log);
  }

  #learnClass({ speed, facts }: FleetWorker): void {
    const known = this.#classes.get(facts.hardwareClass) ?? { log: speed.log, count: 0 };
    this.#classes.set(facts.hardwareClass, known);
    known.count += 1;
    known.log += Math.max(0.03, 1 / (known.count + 1)) * (speed.log - known.log);
  }
}

function learnSpeed(speed: WorkerSpeed, error: number, clamped: number, sigma: number): void {
  const isJump = speed.count > 2 && jumped(speed, error / sigma, sigma);
  speed.leaning += 0.1 * (clamped - speed.leaning);
  speed.leaningAbsolute += 0.1 * (Math.abs(clamped) - speed.leaningAbsolute);
  if (isJump) {
    speed.leaning = 0;
  } else {
    const tracking = Math.abs(speed.leaning) / (speed.leaningAbsolute + 1e-9);
    const gain = Math.max(1 / (speed.count + 1.3), LEAST_GAIN, TRACKING_GAIN * tracking ** 3);
    speed.log += gain * (speed.count < 2 ? error : clamped);
  }
  speed.count = Math.min(MAX_COUNT, speed.count + 1);
}

function learnPlainSpeed(speed: WorkerSpeed, log: number, sigma: number): void {
  const error = log - speed.plainLog;
  const bound = CLAMP_DEVIATIONS * sigma;
  speed.plainCount += 1;
  const gain = Math.max(PLAIN_GAIN, 1 / (speed.plainCount + 0.3));
  speed.plainLog += gain * (speed.plainCount < 4 ? error : Math.max(-bound, Math.min(bound, error)));
}

/** Moves by the mean error of the run that raised the alarm, and lets what was learned count little from now on. */
function jumped(speed: WorkerSpeed, z: number, sigma: number): boolean {
  speed.cusumSlower = Math.max(0, speed.cusumSlower + z - CUSUM_SLACK);
  speed.cusumFaster = Math.max(0, speed.cusumFaster - z - CUSUM_SLACK);
  speed.runSlower = speed.cusumSlower > 0 ? speed.runSlower + 1 : 0;
  speed.runFaster = speed.cusumFaster > 0 ? speed.runFaster + 1 : 0;
  const isSlower = speed.cusumSlower > CUSUM_ALARM || z > JUMP_DEVIATIONS;
  const isFaster = speed.cusumFaster > CUSUM_ALARM || z < -JUMP_DEVIATIONS;
  if (!isSlower && !isFaster) return false;
  const deviations = isSlower
    ? speed.cusumSlower / speed.runSlower + CUSUM_SLACK
    : -(speed.cusumFaster / speed.runFaster + CUSUM_SLACK);
  speed.log += deviations * sigma;
  speed.count = 2;
  speed.cusumSlower = 0;
  speed.cusumFaster = 0;
  speed.runSlower = 0;
  speed.runFaster = 0;
  for (const residual of speed.residuals.values()) residual.count = Math.min(residual.count, 4);
  return true;
}

/** The usual speed is that of good days: a degraded worker hardly changes it. */
function learnUsual(speed: WorkerSpeed): void {
  if (speed.usualLog === undefined) {
    if (speed.count >= 8) speed.usualLog = speed.log;
    return;
  }
  speed.usualLog += (speed.isDegraded ? 0.001 : 0.02) * (speed.log - speed.usualLog);
}

function isSameBatch(speed: WorkerSpeed, { batchSize, executeMs }: Observed, nowMs: number): boolean {
  // Mates report the same time of one run, at about the same moment.
  const isSame = batchSize > 1 && speed.batchMs === executeMs && nowMs - speed.batchAtMs < executeMs;
  speed.batchAtMs = nowMs;
  speed.batchMs = executeMs;
  return isSame;
}
