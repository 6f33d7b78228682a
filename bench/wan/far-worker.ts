/** What distance costs: one worker 150 ms away, beside the same model on a worker at no distance, with the same requests. */

import type { LoadOrder, LoadRequest, LoadResult } from "../load/results.ts";
import type { Numbers, Ratios } from "../report.ts";
import { alternate, median, ratioOf } from "../rounds.ts";
import type { Bench } from "../run.ts";
import { RTT_MS, type Sites, SLOW } from "./sites.ts";

const DISTANCE_MS = 150;
/** How the sites must lie for it. */
export const DISTANCES_MS = { ...RTT_MS, near: 0, far: DISTANCE_MS };
/** More than its slots and all that is on the way to it. */
const SATURATING = 32;

interface Taken {
  /** One at a time. */
  readonly p50Ms: number;
  /** Saturated. */
  readonly perSecond: number;
}

export async function farWorker(bench: Bench, sites: Sites): Promise<{ ratios: Ratios; figures: Numbers }> {
  const load = bench.start("load/generator");
  const keys = { near: await sites.keyFor("near"), far: await sites.keyFor("far") };
  const run = (site: "near" | "far", connections: number, measureMs: number): Promise<LoadResult> =>
    load.ask<LoadResult>("load", {
      host: "127.0.0.1",
      port: sites.cluster.port,
      caPem: sites.cluster.caPem,
      connections: new Array<LoadRequest>(connections).fill(request(keys[site])),
      // Until what is on the way to it has reached its full depth.
      warmUpMs: connections === 1 ? 0 : 2 * DISTANCE_MS,
      measureMs,
    } satisfies LoadOrder);
  const times = bench.isShort ? { one: 500, many: 400, first: 300 } : { one: 2000, many: 2500, first: 1500 };
  const take = async (site: "near" | "far"): Promise<Taken> => ({
    p50Ms: (await run(site, 1, times.one)).p50Ms,
    perSecond: (await run(site, SATURATING, times.many)).perSecond,
  });
  for (const site of ["near", "far"] as const) await run(site, SATURATING, times.first);
  const rounds = await alternate(5, { near: () => take("near"), far: () => take("far") });
  const middles = (site: "near" | "far"): Numbers => ({
    p50_ms: median(rounds.map((round) => round[site].p50Ms)),
    saturated_per_second: median(rounds.map((round) => round[site].perSecond)),
  });
  return {
    ratios: {
      latency_150ms: ratioOf(rounds, ({ near, far }) => far.p50Ms / (DISTANCE_MS + near.p50Ms)),
      utilisation_150ms: ratioOf(rounds, ({ near, far }) => far.perSecond / near.perSecond),
    },
    figures: { distance_0ms: middles("near"), distance_150ms: middles("far") },
  };
}

function request(key: string): LoadRequest {
  const body = JSON.stringify({
    inputs: [
      {
        name: "input",
        datatype: "FP32",
        shape: [1, SLOW.elements],
        data: new Array<number>(SLOW.elements).fill(0.5),
      },
    ],
  });
  const head = [
    `POST /v2/models/${SLOW.name}/infer HTTP/1.1`,
    "Host: localhost",
    `Authorization: Bearer ${key}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ].join("\r\n");
  return { bytes: Buffer.from(`${head}\r\n\r\n${body}`), expected: '"outputs"' };
}
