/** How long a stolen key lives after it has been revoked: from the request that revokes it until the link that it opened is closed. */

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import type { GatewayAddress } from "./processes/gateway.ts";
import type { Arrivals, IdleAgentsOrder } from "./processes/idle-agents.ts";
import { runBench } from "./run.ts";

const TRIES = 50;
const LIMIT_MS = 5000;
const POLL_MS = 1;

await runBench("revocation", async (bench) => {
  const gateway = bench.start("processes/gateway", "gateway");
  const { url, caPem, adminKey } = await gateway.ask<GatewayAddress>("start", {
    folder: join(bench.folder, "gateway"),
  });
  const dispatcher = new Agent({ connect: { ca: caPem } });
  const headers = { authorization: `Bearer ${adminKey}`, "content-type": "application/json" };
  const closedMs: number[] = [];
  const refusedMs: number[] = [];
  for (let number = 0; number < TRIES; number += 1) {
    const body = JSON.stringify({ name: `box ${number}`, scopes: ["worker"] });
    const created = await request(`${url}/keys`, { method: "POST", dispatcher, headers, body });
    const { id, key } = (await created.body.json()) as { id: string; key: string };
    const agents = bench.start("processes/idle-agents", "agent");
    await agents.ask("start", {
      url,
      key,
      caPem,
      count: 1,
      prefix: `box-${number}`,
    } satisfies IdleAgentsOrder);
    const online = async (): Promise<number> => (await agents.ask<Arrivals>("count")).online;
    while ((await online()) === 0) await sleep(POLL_MS);

    const startedAt = performance.now();
    const revoked = await request(`${url}/keys/${id}`, { method: "DELETE", dispatcher, headers });
    await revoked.body.dump();
    const use = await request(`${url}/agent/blobs/sha256:${"0".repeat(64)}`, {
      dispatcher,
      headers: { authorization: `Bearer ${key}` },
    });
    await use.body.dump();
    if (use.statusCode === 401) refusedMs.push(performance.now() - startedAt);
    while ((await online()) > 0 && performance.now() - startedAt < LIMIT_MS) await sleep(POLL_MS);
    closedMs.push(performance.now() - startedAt);
    await agents.close();
  }
  await dispatcher.close();
  const slowestMs = Math.max(...closedMs);
  const isRefused = refusedMs.length === TRIES;
  return {
    ratios: {},
    counts: { tries: TRIES, refused_at_once: refusedMs.length },
    figures: {
      closed_ms_longest: slowestMs,
      closed_ms_median: closedMs.toSorted((a, b) => a - b)[TRIES >> 1] ?? Number.NaN,
    },
    broken: [
      ...(slowestMs < LIMIT_MS ? [] : [`a revoked key kept its link for ${Math.round(slowestMs)} ms`]),
      ...(isRefused ? [] : ["a revoked key was accepted for a request"]),
    ],
  };
});
