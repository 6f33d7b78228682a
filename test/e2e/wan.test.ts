import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { buildMlp } from "../../models/onnx/synthetic.ts";
import { CliProcess } from "../support/cli-process.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";
import { WanLink } from "../support/wan-link.ts";

/** One way. */
const DELAYS_MS = { near: 1, mid: 20, far: 60 } as const;
type SiteName = keyof typeof DELAYS_MS;
const SITES = Object.keys(DELAYS_MS) as SiteName[];
const HEARTBEAT_TIMEOUT_MS = 4000;
const WIDTH = 16_384;

interface Seen {
  readonly status: string;
  readonly attempts: readonly { readonly site: string; readonly outcome: string }[];
}
interface SeenWorker {
  readonly site: string;
  readonly state: string;
  readonly connected_at: string;
}

let rig: GatewayRig;
let links: Record<SiteName, WanLink>;
let workers: CliProcess[] = [];

before(async () => {
  rig = await GatewayRig.start({
    strategy: "ROUND_ROBIN",
    heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS,
    leaseMs: 60_000,
  });
  const target = { host: "127.0.0.1", port: Number(new URL(rig.url).port) };
  const open = (site: SiteName): Promise<WanLink> => WanLink.start(target, { delayMs: DELAYS_MS[site] });
  links = { near: await open("near"), mid: await open("mid"), far: await open("far") };
  await rig.push("slow", buildSlow({ rounds: 20, size: 256 }));
  await rig.push("wide", buildMlp({ widths: [WIDTH, 1] }));
  workers = await Promise.all(SITES.map(startWorker));
  for (const site of SITES)
    await until(`the worker of ${site}`, async () => (await workerOf(site))?.state === "HEALTHY", 60_000);
});
after(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await Promise.all(Object.values(links ?? {}).map((link) => link.close()));
  await rig?.close();
});

async function startWorker(site: SiteName): Promise<CliProcess> {
  const address = ["--coordinator", `wss://localhost:${links[site].port}`, "--ca", rig.gateway.caFile ?? ""];
  const key = await rig.key("worker");
  const who = ["--key", key, "--worker-id", site, "--site", site, "--max-tasks", "1"];
  return CliProcess.start(["worker", "start", ...address, ...who]);
}

async function workerOf(site: SiteName): Promise<SeenWorker | undefined> {
  const list: SeenWorker[] = (await rig.call("GET", "/cluster/workers")).body.workers;
  return list.find((worker) => worker.site === site);
}

async function submit(model: string, shape: readonly [number, number], site?: SiteName): Promise<string> {
  const data = new Array<number>(shape[0] * shape[1]).fill(0.5);
  const input = { inputs: [{ name: "input", datatype: "FP32", shape, data }] };
  const placement = site === undefined ? {} : { placement: { sites: [site] } };
  const answer = await rig.call("POST", "/tasks", { json: { model, input, ...placement } });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.id;
}

const submitMany = (count: number, site?: SiteName): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => submit("slow", [1, 256], site)));

const ended = (ids: readonly string[]): Promise<Seen[]> =>
  Promise.all(ids.map(async (id) => (await rig.call("GET", `/tasks/${id}?wait=60`)).body));

async function completedCount(): Promise<number> {
  return (await rig.call("GET", "/cluster/metrics")).body.tasks_completed;
}

/** Some of what was submitted is done, most is not. */
async function untilUnderWay(before: number): Promise<void> {
  await until("some tasks to be done", async () => (await completedCount()) >= before + 3, 30_000);
}

function assertCompleted(tasks: readonly Seen[]): void {
  const others = tasks.filter(({ status }) => status !== "COMPLETED");
  assert.deepEqual(others, []);
}

test("tasks complete at sites 2, 40 and 120 ms away", async () => {
  const tasks = await ended(await submitMany(30));
  assertCompleted(tasks);
  const sites = new Set(tasks.flatMap(({ attempts }) => attempts.map(({ site }) => site)));
  assert.deepEqual([...sites].sort(), [...SITES].sort());
});

test("a site's line is cut under load and heals: every task completes, and the site serves again", async () => {
  const before = await completedCount();
  const ids = await submitMany(80);
  await untilUnderWay(before);
  links.far.refuse(true);
  links.far.cut();
  await until("the loss is noticed", async () => (await workerOf("far"))?.state !== "HEALTHY");
  links.far.refuse(false);
  assertCompleted(await ended(ids));
  await until("the site is back", async () => (await workerOf("far"))?.state === "HEALTHY", 30_000);
  assertCompleted(await ended(await submitMany(3, "far")));
});

test("a line that freezes for less than the heartbeat timeout costs no worker and no task", async () => {
  const { connected_at } = (await workerOf("mid")) ?? {};
  const before = await completedCount();
  const ids = await submitMany(60);
  await untilUnderWay(before);
  links.mid.freeze();
  await sleep(HEARTBEAT_TIMEOUT_MS / 4);
  links.mid.thaw();
  assertCompleted(await ended(ids));
  assert.equal((await workerOf("mid"))?.connected_at, connected_at, "it is the same connection");
});

test("a slow line that carries a large payload for longer than the heartbeat timeout keeps its worker", async () => {
  const { connected_at } = (await workerOf("mid")) ?? {};
  const bytesPerSecond = 300_000;
  const rows = Math.ceil((1.6 * (HEARTBEAT_TIMEOUT_MS / 1000) * bytesPerSecond) / (4 * WIDTH));
  links.mid.change({ bytesPerSecond, queueBytes: 256 * 1024 });
  const before = links.mid.downBytes;
  const [task] = await ended([await submit("wide", [rows, WIDTH], "mid")]);
  links.mid.change({ bytesPerSecond: undefined });
  assert.equal(task?.status, "COMPLETED");
  assert.deepEqual(
    task?.attempts.map(({ outcome }) => outcome),
    ["completed"],
  );
  assert.ok(links.mid.downBytes - before > rows * WIDTH * 4, "the payload has come over the line");
  assert.equal((await workerOf("mid"))?.connected_at, connected_at, "it is the same connection");
});
