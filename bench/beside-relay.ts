/** A cluster with the identity model and a bare relay of the same construction, measured in turns. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildIdentity } from "../models/onnx/synthetic.ts";
import { type Relay, startRelay } from "./bare-relay.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { cpuTime } from "./cpu-time.ts";
import { profiled } from "./profile/window.ts";
import { alternate, type Round } from "./rounds.ts";
import type { Bench } from "./run.ts";

export interface Both {
  readonly cluster: Cluster;
  readonly relay: Relay;
}

export interface BothOptions {
  readonly agents: number;
  /** Of each agent of the cluster; the relay's echo at once. */
  readonly slots?: number;
  /** Numbers of FP32 in the model's input. */
  readonly elements: number;
}

export async function startBoth(bench: Bench, { agents, slots = 1, elements }: BothOptions): Promise<Both> {
  const cluster = await startCluster(bench, { agents, slots });
  const file = join(bench.folder, "identity.onnx");
  await writeFile(file, buildIdentity({ size: elements }));
  await cluster.push("identity", file);
  return { cluster, relay: await startRelay(bench, agents) };
}

/** CPU time. */
export interface Spent {
  readonly gatewayUs: number;
  readonly agentsUs: number;
  readonly runnersUs: number;
}

export function spentBy({ gatewayPid, agentPids }: Pick<Relay, "gatewayPid" | "agentPids">): Spent {
  const { ownUs, descendantsUs } = cpuTime(agentPids);
  return { gatewayUs: cpuTime([gatewayPid]).ownUs, agentsUs: ownUs, runnersUs: descendantsUs };
}

export interface Times {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface Plan {
  readonly rounds: number;
  readonly times: Times;
  readonly firstWarmUpMs: number;
}

export interface Measurement<Taken> {
  take(server: Relay, times: Times): Promise<Taken>;
  textOf(round: Round<"ours" | "relay", Taken>): string;
}

export async function besideRelay<Taken>(
  bench: Bench,
  { cluster, relay }: Both,
  { rounds, times, firstWarmUpMs }: Plan,
  { take, textOf }: Measurement<Taken>,
): Promise<Round<"ours" | "relay", Taken>[]> {
  bench.say("warming up …");
  // Until the compiler of the engine has seen enough requests on each side.
  for (const server of [cluster, relay]) await take(server, { warmUpMs: 0, measureMs: firstWarmUpMs });
  return profiled(bench.profileDir, () =>
    alternate(rounds, { ours: () => take(cluster, times), relay: () => take(relay, times) }, (round, index) =>
      bench.say(`round ${index + 1}\n${textOf(round)}`),
    ),
  );
}
