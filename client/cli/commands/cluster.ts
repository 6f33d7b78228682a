/** `legacygpu cluster …`: the state of the cluster, its workers and sites. */

import type { Command } from "commander";
import type { ClusterHealth, ClusterMetrics, SiteJson, WorkerJson } from "../../index.ts";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { durationText, facts, sizeText, table } from "../table.ts";
import { addStrategyCommand } from "./cluster-strategy.ts";
import { addStartCommand } from "./gateway.ts";

export function addClusterCommands(program: Command, cli: Cli): void {
  const group = program.command("cluster").description("the gateway and its workers");
  addStartCommand(group, cli);
  cli.command(group.command("status").description("health, tasks and latency"), status);
  cli.command(group.command("workers").description("the connected workers"), workers);
  cli.command(group.command("sites").description("the sites of the workers, and the path to each"), sites);
  addStrategyCommand(group, cli);
}

async function status(context: Context): Promise<undefined> {
  const { first } = context.signals;
  const { url, health, metrics } = await context.withGateway(async ({ url, client }) => {
    const [health, metrics] = await Promise.all([client.health(first), client.metrics(first)]);
    return { url, health, metrics };
  });
  context.print({ url, ...health, metrics }, () => statusText(url, health, metrics));
  return undefined;
}

function statusText(url: string, health: ClusterHealth, metrics: ClusterMetrics): string {
  const latency = metrics.task_latency_ms;
  const ended = [
    `${metrics.tasks_completed} completed`,
    `${metrics.tasks_failed} failed`,
    `${metrics.tasks_cancelled} cancelled`,
    `${metrics.tasks_timed_out} timed out`,
  ];
  return facts([
    ["gateway", url],
    ["status", health.status],
    ["workers", `${health.healthy_workers} healthy of ${health.total_workers}`],
    ["tasks", `${health.pending_tasks} pending, ${health.running_tasks} running`],
    ["ended", ended.join(", ")],
    [
      "latency",
      latency === null ? "-" : `p50 ${durationText(latency.p50)}, p99 ${durationText(latency.p99)}`,
    ],
    ["strategy", metrics.strategy],
    ["uptime", durationText(metrics.uptime_seconds * 1000)],
  ]);
}

async function workers(context: Context): Promise<undefined> {
  const list = await context.withGateway(({ client }) => client.workers(context.signals.first));
  context.print({ workers: list }, () => workersText(list));
  return undefined;
}

function workersText(list: readonly WorkerJson[]): string {
  return table(
    list,
    [
      { title: "WORKER", value: ({ id }) => id },
      { title: "SITE", value: ({ site }) => site },
      { title: "STATE", value: ({ state }) => state },
      { title: "BUSY", value: (worker) => `${worker.in_flight}/${worker.slots}`, align: "right" },
      { title: "DONE", value: ({ completed }) => String(completed), align: "right" },
      { title: "FAILED", value: ({ failed }) => String(failed), align: "right" },
      { title: "RTT", value: ({ rtt_ms }) => (rtt_ms === null ? "-" : durationText(rtt_ms)), align: "right" },
      { title: "PROVIDERS", value: ({ providers }) => providers.join(",") },
      { title: "HARDWARE", value: hardware },
      ...(list.some((worker) => loadingText(worker) !== "")
        ? [{ title: "LOADING", value: loadingText }]
        : []),
      { title: "CAUSE", value: ({ state, cause }) => (state === "HEALTHY" ? "" : cause) },
    ],
    "No worker is connected. `legacygpu worker start` on a box connects it.",
  );
}

async function sites(context: Context): Promise<undefined> {
  const list = await context.withGateway(({ client }) => client.sites(context.signals.first));
  context.print({ sites: list }, () => sitesText(list));
  return undefined;
}

function sitesText(list: readonly SiteJson[]): string {
  return table(
    list,
    [
      { title: "SITE", value: ({ name }) => name },
      { title: "WORKERS", value: statesText },
      { title: "BUSY", value: (site) => `${site.in_flight}/${site.slots}`, align: "right" },
      { title: "DONE", value: ({ completed }) => String(completed), align: "right" },
      { title: "RTT", value: ({ rtt }) => (rtt === null ? "-" : durationText(rtt.mean_ms)), align: "right" },
      {
        title: "±",
        value: ({ rtt }) => (rtt === null ? "-" : durationText(rtt.deviation_ms)),
        align: "right",
      },
      {
        title: "TO SITE",
        value: (site) => rateText(site.bandwidth.to_site_bytes_per_second),
        align: "right",
      },
      {
        title: "FROM SITE",
        value: (site) => rateText(site.bandwidth.from_site_bytes_per_second),
        align: "right",
      },
      { title: "LAST SEEN", value: ({ last_seen_at }) => last_seen_at },
    ],
    "No worker has connected. `legacygpu worker start` on a box connects it.",
  );
}

/** `2 healthy, 1 degraded` */
function statesText({ workers }: SiteJson): string {
  const states = Object.entries(workers).map(([state, count]) => `${count} ${state.toLowerCase()}`);
  return states.length === 0 ? "none" : states.join(", ");
}

function rateText(bytesPerSecond: number | null): string {
  return bytesPerSecond === null ? "-" : `${sizeText(bytesPerSecond)}/s`;
}

/** Of the models that are on their way: how much is there, how fast it comes, and how long it will take. */
function loadingText({ models }: WorkerJson): string {
  return models.map(progressText).filter(Boolean).join("; ");
}

function progressText(model: WorkerJson["models"][number]): string {
  const { name, version, state, received_bytes: received, total_bytes: total } = model;
  if (state === "loading") return `${name}:${version} into memory`;
  if (state !== "downloading" || received === undefined || !total) return "";
  const share = `${name}:${version} ${Math.floor((100 * received) / total)} % of ${sizeText(total)}`;
  const { bytes_per_second: rate, eta_seconds: left } = model;
  if (!rate || left === undefined) return share;
  return `${share} at ${sizeText(rate)}/s, ${durationText(left * 1000)} left`;
}

function hardware({ hardware: { gpus, cpu } }: WorkerJson): string {
  return gpus.length > 0 ? gpus.map(({ name }) => name).join(", ") : `${cpu.model} (${cpu.cores} cores)`;
}
