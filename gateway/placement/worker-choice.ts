/**
 * Which worker gets the next replica of a model.
 *
 * What cannot do it is out: another site, no suitable provider, too little GPU memory, a load that failed lately. Of the others the one
 * goes first that has the file on its disk, then one at a site where another has it, so that as little as possible crosses a line. Up to the
 * least number of replicas the spread over sites counts more than that: they are there for the day when a site is cut off.
 */

import type { DeploymentView, PlacedVersion, WorkerView } from "./views.ts";

/** What the replicas of all deployments take of one worker. */
export interface Occupancy {
  count: number;
  gpuBytes: number;
}

export type Occupancies = ReadonlyMap<string, Occupancy>;

export interface ChoiceInput {
  readonly view: DeploymentView;
  readonly wanted: PlacedVersion;
  readonly workers: readonly WorkerView[];
  readonly occupancies: Occupancies;
  /** Workers that are, or are to be, replicas of it. */
  readonly taken: ReadonlySet<string>;
  /** Whether it is one of the least number. */
  readonly isForMinimum: boolean;
}

export type Choice =
  | { readonly worker: WorkerView; readonly why: string }
  | { readonly worker: undefined; readonly why: string };

export function chooseWorker(input: ChoiceInput): Choice {
  const { view, workers, taken } = input;
  const obstacles = new Map<string, number>();
  let best: { worker: WorkerView; rank: readonly number[] } | undefined;
  const sites = sitesOf(workers, taken);
  const holderSites = sitesOf(workers, view.holders);
  for (const worker of workers) {
    const obstacle = obstacleOf(worker, input);
    if (obstacle !== undefined) {
      obstacles.set(obstacle, (obstacles.get(obstacle) ?? 0) + 1);
      continue;
    }
    const rank = rankOf(worker, input, sites, holderSites);
    if (best === undefined || isBefore(rank, worker, best)) best = { worker, rank };
  }
  if (best === undefined) return { worker: undefined, why: shortfall(workers.length, obstacles) };
  return { worker: best.worker, why: whyOf(best.worker, view, holderSites) };
}

/** Whether the version may be there at all; a replica that is there already is judged by this too. */
export function mayHold(worker: WorkerView, { sites, providers }: PlacedVersion): boolean {
  return (
    (sites === undefined || sites.includes(worker.site)) &&
    providers.every((list) => list?.some((provider) => worker.providers.includes(provider)) ?? true)
  );
}

function obstacleOf(
  worker: WorkerView,
  { view, wanted, occupancies, taken }: ChoiceInput,
): string | undefined {
  if (taken.has(worker.id)) return "has it";
  if (wanted.sites !== undefined && !wanted.sites.includes(worker.site)) return "at another site";
  if (!mayHold(worker, wanted)) return "without a suitable provider";
  if (worker.condition === "failing" || worker.condition === "pausing") return "takes no tasks";
  if (view.barred.has(worker.id)) return "failed to load it lately";
  if (wanted.isNeedDeclared && worker.gpuBytes < wanted.needBytes) return "with too little GPU memory";
  if (wanted.isNeedDeclared && leftOf(worker, occupancies) < wanted.needBytes)
    return "whose GPU memory is taken by other models";
  return undefined;
}

function rankOf(
  worker: WorkerView,
  { view, wanted, occupancies, isForMinimum }: ChoiceInput,
  sites: ReadonlyMap<string, number>,
  holderSites: ReadonlyMap<string, number>,
): readonly number[] {
  const spread = sites.get(worker.site) ?? 0;
  const distance = view.holders.has(worker.id) ? 0 : holderSites.has(worker.site) ? 1 : 2;
  const isTight = worker.gpuBytes > 0 && leftOf(worker, occupancies) < wanted.needBytes;
  const crowd = occupancies.get(worker.id)?.count ?? 0;
  const first = isForMinimum ? [spread, distance] : [distance, spread];
  return [worker.condition === "sound" ? 0 : 1, ...first, isTight ? 1 : 0, crowd, worker.load];
}

function isBefore(
  rank: readonly number[],
  worker: WorkerView,
  best: { readonly worker: WorkerView; readonly rank: readonly number[] },
): boolean {
  for (const [index, value] of rank.entries()) {
    const other = best.rank[index] ?? 0;
    if (value !== other) return value < other;
  }
  return worker.id < best.worker.id;
}

function leftOf(worker: WorkerView, occupancies: Occupancies): number {
  return worker.gpuBytes - (occupancies.get(worker.id)?.gpuBytes ?? 0);
}

function sitesOf(workers: readonly WorkerView[], ids: ReadonlySet<string>): Map<string, number> {
  const sites = new Map<string, number>();
  for (const { id, site } of workers) if (ids.has(id)) sites.set(site, (sites.get(site) ?? 0) + 1);
  return sites;
}

function whyOf(worker: WorkerView, view: DeploymentView, holderSites: ReadonlyMap<string, number>): string {
  if (view.holders.has(worker.id)) return "it has the file on its disk";
  return holderSites.has(worker.site) ? "its site has the file" : "no better worker has the file";
}

function shortfall(workers: number, obstacles: ReadonlyMap<string, number>): string {
  if (workers === 0) return "No worker is connected.";
  const others = [...obstacles].filter(([obstacle]) => obstacle !== "has it");
  if (others.length === 0) return "Every worker has it.";
  return `No other worker can take it: ${others.map(([obstacle, count]) => `${count} ${obstacle}`).join(", ")}.`;
}
