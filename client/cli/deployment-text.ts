/** Deployments as text for people. */

import type { DeploymentJson } from "../index.ts";
import { durationText, facts, table } from "./table.ts";

type Replica = DeploymentJson["replicas"][number];

interface Row {
  readonly deployment: DeploymentJson;
  /** Absent: nobody has it. */
  readonly replica?: Replica;
  readonly isFirst: boolean;
}

/** A line for each replica; what all of them share stands in the first. */
export function deploymentTable(deployments: readonly DeploymentJson[]): string {
  const rows = deployments.flatMap(rowsOf);
  const ofFirst =
    (value: (deployment: DeploymentJson) => string) =>
    ({ deployment, isFirst }: Row): string =>
      isFirst ? value(deployment) : "";
  const ofReplica =
    (value: (replica: Replica) => string) =>
    ({ replica }: Row): string =>
      replica === undefined ? "" : value(replica);
  const lines = table(
    rows,
    [
      { title: "MODEL", value: ofFirst(nameText) },
      { title: "STATE", value: ofFirst(({ state }) => state) },
      { title: "REPLICAS", value: ofFirst(replicasText) },
      { title: "WAITING", value: ofFirst(({ waiting_tasks }) => String(waiting_tasks)), align: "right" },
      { title: "WORKER", value: ofReplica(({ worker }) => worker) },
      { title: "SITE", value: ofReplica(({ site }) => site) },
      { title: "REPLICA", value: ofReplica(replicaText) },
      { title: "ON", value: ofReplica(({ provider }) => provider ?? "-") },
      { title: "COLD START", value: ofReplica(({ cold_start }) => coldStartText(cold_start)) },
    ],
    "No model is deployed. `legacygpu model deploy NAME` has workers keep one loaded.",
  );
  return lines + deployments.map(troubleText).join("");
}

export function deploymentFacts(deployment: DeploymentJson): string {
  const { providers, sites, idle_ttl_seconds: idleSeconds, min_replicas: min } = deployment;
  const idle = durationText(idleSeconds * 1000);
  return facts([
    ["model", nameText(deployment)],
    ["replicas", `${replicasText(deployment)}`],
    ["idle", `${min === 0 ? "unloaded" : `${min} left`} after ${idle} without a task`],
    ["providers", providers?.join(", ")],
    ["sites", sites?.join(", ")],
    ["state", deployment.state],
    ["reason", deployment.reason ?? undefined],
    ["cold start", deployment.cold_start === null ? undefined : coldStartText(deployment.cold_start)],
  ]);
}

function rowsOf(deployment: DeploymentJson): Row[] {
  if (deployment.replicas.length === 0) return [{ deployment, isFirst: true }];
  return deployment.replicas.map((replica, index) => ({ deployment, replica, isFirst: index === 0 }));
}

function nameText({ model, version, wanted_version: wanted }: DeploymentJson): string {
  const meant = wanted === null || wanted === version ? "" : ` (${wanted})`;
  return `${model}@${version ?? "?"}${meant}`;
}

function replicasText(deployment: DeploymentJson): string {
  const { ready_replicas: ready, target_replicas: target, min_replicas: min, max_replicas: max } = deployment;
  return `${ready} of ${target} (${min} to ${max})`;
}

function replicaText({ state, progress, in_flight: inFlight }: Replica): string {
  if (progress !== null) return `${state} ${Math.floor(progress * 100)} %`;
  return inFlight === 0 ? state : `${state}, ${inFlight} in flight`;
}

/** For instance `1.4 s (transfer 1.1 s, load 210 ms, warm-up 40 ms)`. */
function coldStartText(coldStart: DeploymentJson["cold_start"]): string {
  if (coldStart === null) return "-";
  const { total_ms: total, transfer_ms: transfer, load_ms: load, warm_up_ms: warmUp } = coldStart;
  const parts = Object.entries({ transfer, load, "warm-up": warmUp }).flatMap(([name, ms]) =>
    ms === null ? [] : [`${name} ${durationText(ms)}`],
  );
  return durationText(total) + (parts.length === 0 ? "" : ` (${parts.join(", ")})`);
}

function troubleText({ model, reason, failures }: DeploymentJson): string {
  const lines = failures.map(
    ({ worker, reason: why, attempts, retry_in_ms: ms }) =>
      `${model} on ${worker}: ${why} (${attempts} ${attempts === 1 ? "try" : "tries"}, again in ${durationText(ms)})`,
  );
  const all = reason === null ? lines : [`${model}: ${reason}`, ...lines];
  return all.map((line) => `\n${line.replaceAll(/\p{Cc}+/gu, " ")}\n`).join("");
}
