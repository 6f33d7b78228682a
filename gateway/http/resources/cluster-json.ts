/** Workers and sites as `GET /cluster/workers` and `GET /cluster/sites` show them. */

import type { SiteJson, WorkerJson } from "@legacygpu/shared/api/cluster";
import type { Hardware } from "@legacygpu/shared/protocol/messages";
import { familyOf } from "../../balancers/known-cards.ts";
import type { Registry } from "../../registry/registry.ts";
import type { RttEstimate } from "../../registry/rtt.ts";
import type { Site } from "../../registry/sites.ts";
import type { ModelStateMessage, Worker } from "../../registry/worker.ts";

/** Those that have workers, and those that had some lately. */
export function sitesJson({ all, sites }: Pick<Registry, "all" | "sites">): SiteJson[] {
  const workers = new Map([...sites.all].map((site) => [site, [] as Worker[]]));
  for (const worker of all) workers.get(worker.path.site)?.push(worker);
  return [...workers].map(([site, ofSite]) => siteJson(site, ofSite));
}

function siteJson(site: Site, workers: readonly Worker[]): SiteJson {
  const states: SiteJson["workers"] = {};
  for (const { state } of workers) states[state] = (states[state] ?? 0) + 1;
  return {
    name: site.name,
    workers: states,
    rtt: siteRtt(site, workers),
    bandwidth: {
      to_site_bytes_per_second: wholeOrNull(site.toSite.bytesPerSecond),
      from_site_bytes_per_second: wholeOrNull(site.fromSite.bytesPerSecond),
    },
    slots: workers.reduce((sum, { slots }) => sum + slots, 0),
    in_flight: workers.reduce((sum, { inFlight }) => sum + inFlight, 0),
    completed: site.completed,
    last_seen_at: new Date(site.lastSeenAtMs).toISOString(),
  };
}

function siteRtt({ rtt }: Site, workers: readonly Worker[]): SiteJson["rtt"] {
  if (rtt.rttMs === undefined) return null;
  const minima = workers.flatMap((worker) => worker.rtt.minimumMs ?? []);
  return {
    mean_ms: rounded(rtt.rttMs),
    deviation_ms: rounded(rtt.deviationMs),
    minimum_ms: minima.length === 0 ? null : rounded(Math.min(...minima)),
    samples: rtt.samples,
  };
}

/** @param credit how many attempts it may hold now */
export function workerJson(worker: Worker, credit: number, nowMs: number): WorkerJson {
  const { hello, rtt } = worker;
  return {
    id: worker.id,
    site: hello.site,
    state: worker.state,
    cause: worker.cause,
    connected_at: new Date(worker.connectedAtMs).toISOString(),
    agent_version: hello.agentVersion,
    labels: hello.labels,
    hardware: hardwareJson(hello.hardware),
    providers: hello.providers,
    slots: worker.slots,
    in_flight: worker.inFlight,
    credit,
    completed: worker.completed,
    failed: worker.failed,
    rtt_ms: rtt.smoothedMs === undefined ? null : rounded(rtt.smoothedMs),
    rtt: workerRtt(rtt),
    service_times: [...worker.serviceTimes.all].map(([model, { meanMs, deviationMs, count }]) => ({
      model,
      mean_ms: rounded(meanMs),
      deviation_ms: rounded(deviationMs),
      count,
    })),
    reported: reported(worker, nowMs),
    models: modelStates(worker),
  };
}

/** What lies on its disk, then what it told of since. */
function modelStates(worker: Worker): WorkerJson["models"] {
  const states = new Map<string, WorkerJson["models"][number]>();
  for (const { name, version } of worker.hello.models) {
    states.set(`${name}@${version}`, { name, version, state: "cached" });
  }
  for (const [key, message] of worker.models) {
    const { name, version, state, provider, reason } = message;
    states.set(key, {
      name,
      version,
      state,
      ...downloadProgress(message),
      ...(provider === undefined ? {} : { provider }),
      ...(reason === undefined ? {} : { reason }),
    });
  }
  return [...states.values()];
}

type DownloadProgress = Pick<
  WorkerJson["models"][number],
  "received_bytes" | "total_bytes" | "bytes_per_second" | "eta_seconds"
>;

function downloadProgress({
  receivedBytes,
  totalBytes,
  bytesPerSecond,
}: ModelStateMessage): DownloadProgress {
  const progress: DownloadProgress = {};
  if (receivedBytes !== undefined) progress.received_bytes = receivedBytes;
  if (totalBytes !== undefined) progress.total_bytes = totalBytes;
  if (bytesPerSecond !== undefined) progress.bytes_per_second = Math.round(bytesPerSecond);
  if (receivedBytes !== undefined && totalBytes !== undefined && bytesPerSecond)
    progress.eta_seconds = Math.ceil(Math.max(0, totalBytes - receivedBytes) / bytesPerSecond);
  return progress;
}

function workerRtt({ smoothedMs, deviationMs, minimumMs, samples }: RttEstimate): WorkerJson["rtt"] {
  if (smoothedMs === undefined) return null;
  return {
    smoothed_ms: rounded(smoothedMs),
    deviation_ms: rounded(deviationMs),
    minimum_ms: minimumMs === undefined ? null : rounded(minimumMs),
    samples,
  };
}

function reported({ reported }: Worker, nowMs: number): WorkerJson["reported"] {
  if (reported === undefined) return null;
  const { running, queued, cpuPercent, rssBytes, atMs } = reported;
  return {
    running,
    queued,
    cpu_percent: rounded(cpuPercent),
    rss_bytes: rssBytes,
    age_ms: Math.round(nowMs - atMs),
  };
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function wholeOrNull(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value);
}

function hardwareJson(hardware: Hardware): WorkerJson["hardware"] {
  const gpus = hardware.gpus.map((gpu) => {
    const family = familyOf(gpu);
    return family === undefined ? gpu : { ...gpu, family };
  });
  return { ...hardware, gpus } as WorkerJson["hardware"];
}
