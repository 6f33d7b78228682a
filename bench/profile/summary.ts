/** The hot spots of CPU profiles, as text: `npx tsx bench/profile/summary.ts DIR`. */

import { readdirSync, readFileSync } from "node:fs";
import type { Profiler } from "node:inspector";
import { basename, join } from "node:path";
import { table } from "../report.ts";

const ROWS = 45;

interface Spent {
  selfUs: number;
  /** With everything it called; a recursive function counts once. */
  totalUs: number;
}

function summarise(profile: Profiler.Profile): string {
  const byId = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const node of profile.nodes) for (const child of node.children ?? []) parents.set(child, node.id);
  const selfUs = new Map<number, number>();
  for (const [index, id] of (profile.samples ?? []).entries()) {
    selfUs.set(id, (selfUs.get(id) ?? 0) + (profile.timeDeltas?.[index] ?? 0));
  }
  const spent = new Map<string, Spent>();
  let allUs = 0;
  for (const [id, us] of selfUs) {
    allUs += us;
    const seen = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = byId.get(at);
      if (node === undefined) break;
      const label = labelOf(node);
      const entry = spent.get(label) ?? { selfUs: 0, totalUs: 0 };
      if (at === id) entry.selfUs += us;
      if (!seen.has(label)) entry.totalUs += us;
      seen.add(label);
      spent.set(label, entry);
    }
  }
  const idleUs = spent.get("(idle)")?.selfUs ?? 0;
  const busyUs = allUs - idleUs;
  const share = (us: number): string => `${((100 * us) / busyUs).toFixed(1)} %`;
  const rows = (by: (entry: Spent) => number): string[][] =>
    [...spent]
      .filter(([label]) => label !== "(idle)" && label !== "(root)")
      .sort(([, a], [, b]) => by(b) - by(a))
      .slice(0, ROWS)
      .map(([label, entry]) => [label, share(entry.selfUs), share(entry.totalUs)]);
  const head = ["function", "self", "total"];
  return [
    `busy ${(busyUs / 1e6).toFixed(2)} s of ${(allUs / 1e6).toFixed(2)} s`,
    table(
      head,
      rows(({ selfUs: us }) => us),
    ),
    table(
      head,
      rows(({ totalUs: us }) => us),
    ),
  ].join("\n\n");
}

function labelOf({ callFrame: { functionName, url, lineNumber } }: Profiler.ProfileNode): string {
  if (url === "") return functionName;
  const place = url.replace(/^.*\/(node_modules\/)?((@[^/]+\/)?[^/]+\/(?:dist\/)?(?:[^/]+\/)*[^/]+)$/, "$2");
  const short = place.split("/").slice(-4).join("/");
  return `${functionName || "(anonymous)"}  ${short}:${lineNumber + 1}`;
}

const [dir = "."] = process.argv.slice(2);
for (const file of readdirSync(dir)
  .filter((name) => name.endsWith(".cpuprofile"))
  .sort()) {
  const profile = JSON.parse(readFileSync(join(dir, file), "utf8")) as Profiler.Profile;
  console.log(`\n━━ ${basename(file)}: ${summarise(profile)}`);
}
