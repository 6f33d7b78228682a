/** Workers and models as the planner sees them. */

import type { Model } from "../models/catalogue.ts";
import type { Worker } from "../registry/worker.ts";
import type { Deployment } from "./deployments.ts";
import type { PlacedVersion, WorkerCondition, WorkerView } from "./views.ts";

const MIB = 1024 * 1024;
/** A link that is away for longer may stay away. */
const PATIENCE_MS = 2000;
/** As the agents estimate it: weights and what is computed between them; the engine itself. */
const FILE_FACTOR = 1.5;
const ENGINE_BYTES = 256 * MIB;

/** @param nowMs monotonic */
export function conditionOf(worker: Worker, nowMs: number): WorkerCondition {
  switch (worker.state) {
    case "HEALTHY":
      return "sound";
    case "DEGRADED":
      return nowMs >= (worker.sparedUntilMs ?? 0) ? "doubtful" : "failing";
    case "UNHEALTHY":
      return nowMs - worker.linkLostAtMs < PATIENCE_MS ? "pausing" : "failing";
    default:
      return "failing";
  }
}

export function workerView(worker: Worker, condition: WorkerCondition): WorkerView {
  const { site, providers, hardware } = worker.hello;
  return {
    id: worker.id,
    site,
    condition,
    providers,
    gpuBytes: Math.max(0, ...hardware.gpus.map(({ vramBytes = 0 }) => vramBytes)),
    load: worker.inFlight / worker.slots,
  };
}

export function placedVersion({ providers, sites }: Deployment, { ref, manifest }: Model): PlacedVersion {
  const { providers: possible, min_vram_mb: declaredMib } = manifest.requirements ?? {};
  const isNeedDeclared = declaredMib !== undefined;
  return {
    version: ref.version,
    providers: [possible, providers],
    sites,
    needBytes: isNeedDeclared ? declaredMib * MIB : ref.fileBytes * FILE_FACTOR + ENGINE_BYTES,
    isNeedDeclared,
  };
}
