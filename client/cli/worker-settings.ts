/** What the configuration says about a worker, in the agent's own words. */

import type { Config } from "@legacygpu/shared/config";

export type WorkerSettings = ReturnType<typeof workerSettingsOf>;

export function workerSettingsOf({ worker }: Config) {
  return {
    site: worker.site,
    labels: worker.labels,
    workerId: worker.workerId,
    slots: worker.maxConcurrentTasks,
    maxModelCacheBytes: worker.maxModelCacheBytes,
    maxDownloadBytesPerSecond: worker.maxDownloadBytesPerSecond,
    sharing: worker.sharesModels ? { port: worker.sharePort } : ("off" as const),
    maxRunnerMemoryBytes: worker.maxRunnerMemoryBytes,
    runnerUser: worker.runnerUser,
  };
}
