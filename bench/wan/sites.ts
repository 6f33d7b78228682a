/** Three sites, each behind an emulated line of its own: a gateway process, an agent process with its runner at each. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { buildMlp } from "../../models/onnx/synthetic.ts";
import { type LineConditions, WanLink } from "../../test/support/wan-link.ts";
import { type Cluster, startCluster } from "../cluster.ts";
import type { Bench } from "../run.ts";

export const SITES = ["near", "mid", "far"] as const;
export type SiteName = (typeof SITES)[number];
export const RTT_MS: Readonly<Record<SiteName, number>> = { near: 2, mid: 40, far: 180 };

/**
 * What computes and takes about 12 ms on one core: its matrices are too small to be shared among threads, so that runners on few cores do not get in
 * each other's way more than they must. A model that takes time without computing does not exist, and an executor that
 * sleeps would not be what is measured; so load stays far below what two cores can do, except where one worker alone is to be busy.
 */
export const SLOW = { name: "slow", elements: 32, rounds: 4500 } as const;
/** Reads much, computes little, answers little. */
export const WIDE = { name: "wide", elements: 16_384 } as const;

export type SiteLinks = Readonly<Record<SiteName, WanLink>>;

export interface Sites {
  readonly cluster: Cluster;
  readonly links: SiteLinks;
  readonly wide: string;
  agentPid(site: SiteName): number;
  /** May submit, and only to this site. */
  keyFor(site: SiteName): Promise<string>;
  workerKey(): Promise<string>;
  close(): Promise<void>;
}

export async function startSites(bench: Bench, firstRttMs = RTT_MS): Promise<Sites> {
  const opened: WanLink[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.map((link) => link.close()));
  };
  try {
    return await start(bench, firstRttMs, opened, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  bench: Bench,
  firstRttMs: typeof RTT_MS,
  opened: WanLink[],
  close: () => Promise<void>,
): Promise<Sites> {
  const cluster = await startCluster(bench, {
    agents: SITES.length,
    agentPort: async (gatewayPort) => {
      for (const site of SITES) opened.push(await openLink(gatewayPort, { delayMs: firstRttMs[site] / 2 }));
      return gatewayPort;
    },
    agentOrder: (number) => ({
      url: `wss://localhost:${opened[number - 1]?.port}`,
      site: SITES[number - 1] ?? "",
      providers: ["cpu"],
    }),
  });
  await pushModels(bench, cluster);
  const [near, mid, far] = opened as [WanLink, WanLink, WanLink];
  const links = { near, mid, far };
  const issue = async (scopes: readonly string[], sites?: readonly string[]): Promise<string> =>
    ((await cluster.call("POST", "/keys", { name: "bench", scopes, sites })) as { key: string }).key;
  return {
    cluster,
    links,
    wide: WIDE.name,
    agentPid: (site) => cluster.agentPids[SITES.indexOf(site)] ?? -1,
    keyFor: (site) => issue(["submit", "read"], [site]),
    workerKey: () => issue(["worker"]),
    close,
  };
}

function openLink(port: number, conditions: Partial<LineConditions>): Promise<WanLink> {
  return WanLink.start({ host: "127.0.0.1", port }, conditions);
}

async function pushModels(bench: Bench, cluster: Cluster): Promise<void> {
  const models = [
    [SLOW.name, buildSlow({ rounds: SLOW.rounds, size: SLOW.elements })],
    [WIDE.name, buildMlp({ widths: [WIDE.elements, 1] })],
  ] as const;
  for (const [name, bytes] of models) {
    const file = join(bench.folder, `${name}.onnx`);
    await writeFile(file, bytes);
    await cluster.push(name, file);
  }
}
