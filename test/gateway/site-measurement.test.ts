/** A gateway and a real agent far away: what the gateway finds out about the way between them, and shows. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { SiteJson, WorkerJson } from "@legacygpu/shared/api/cluster";
import { siteListSchema, workerListSchema } from "@legacygpu/shared/api/cluster";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { type Agent, startAgent } from "../../agent/main.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

const ONE_WAY_MS = 30;
const BYTES_PER_SECOND = 1_000_000;
/** 256 KiB: its input and its output travel beside the link. */
const SIZE = 65_536;

let rig: GatewayRig;
let proxy: FaultProxy;
let agent: Agent;
let stateDir: string;

before(async () => {
  rig = await GatewayRig.start();
  proxy = await FaultProxy.start({ host: "127.0.0.1", port: Number(new URL(rig.url).port) });
  proxy.delay(ONE_WAY_MS);
  await rig.push("wide", buildIdentity({ size: SIZE }));
  stateDir = await mkdtemp(join(tmpdir(), "legacygpu-agent-"));
  agent = await startAgent({
    url: `wss://localhost:${proxy.port}`,
    key: await rig.key("worker"),
    caPem: rig.gateway.caPem,
    stateDir,
    workerId: "far",
    site: "island",
    providers: ["cpu"],
    log: createLogger("agent", "silent"),
    clock: systemClock,
    random: Math.random,
  });
});
after(async () => {
  await agent.close();
  await proxy.close();
  await rig.close();
  await rm(stateDir, { recursive: true, force: true });
});

async function site(): Promise<SiteJson | undefined> {
  const { sites } = siteListSchema.parse((await rig.call("GET", "/cluster/sites")).body);
  return sites.find(({ name }) => name === "island");
}

async function worker(): Promise<WorkerJson | undefined> {
  return workerListSchema.parse((await rig.call("GET", "/cluster/workers")).body).workers[0];
}

async function runWide(): Promise<void> {
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, SIZE], data: new Array(SIZE).fill(0.5) }];
  const { body } = await rig.call("POST", "/tasks", { json: { model: "wide", input: { inputs } } });
  const ended = await rig.call("GET", `/tasks/${body.id}?wait=60`);
  assert.equal(ended.body.status, "COMPLETED");
}

test("the round trip is measured from pings, once a second", async () => {
  const seen = await until("two samples", async () => {
    const far = await worker();
    return (far?.rtt?.samples ?? 0) >= 2 ? far : undefined;
  });
  const { rtt } = seen;
  assert.ok(rtt !== null && rtt.minimum_ms !== null);
  assert.ok(rtt.minimum_ms >= 2 * ONE_WAY_MS, "nothing is faster than the line");
  assert.equal(seen.rtt_ms, rtt.smoothed_ms);
  const island = await site();
  assert.ok((island?.rtt?.mean_ms ?? 0) >= 2 * ONE_WAY_MS);
  assert.deepEqual(island?.workers, { HEALTHY: 1 });
  assert.equal(island?.slots, 1);
});

test("what the agent says of itself is shown", async () => {
  const reported = await until("a word of the agent", async () => (await worker())?.reported);
  assert.equal(reported.running, 0);
  assert.ok(reported.rss_bytes > 0);
});

test("the line is measured in both directions, from the payloads of tasks", async () => {
  const before = await site();
  assert.deepEqual(before?.bandwidth, { to_site_bytes_per_second: null, from_site_bytes_per_second: null });
  proxy.throttle(BYTES_PER_SECOND);
  for (let i = 0; i < 3; i += 1) await runWide();
  const island = await site();
  for (const rate of Object.values(island?.bandwidth ?? {})) {
    // Faster it cannot be; a busy machine makes it slower.
    assert.ok(rate !== null && rate > BYTES_PER_SECOND / 20 && rate < BYTES_PER_SECOND * 2, `${rate}`);
  }
  assert.equal(Object.keys(island?.bandwidth ?? {}).length, 2);
  assert.equal(island?.completed, 3);
  const [time] = (await worker())?.service_times ?? [];
  assert.equal(time?.count, 3);
  assert.equal(time?.model, "wide@1");
});

test("a path that gets longer is noticed", async () => {
  proxy.throttle(undefined);
  proxy.delay(4 * ONE_WAY_MS);
  await until(
    "the site to be far away",
    async () => ((await site())?.rtt?.mean_ms ?? 0) >= 8 * ONE_WAY_MS * 0.98,
  );
});
