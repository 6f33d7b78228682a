import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { CliProcess } from "../support/cli-process.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

/** Long enough for a cut link to come back within it on a busy machine. */
const LEASE_MS = 60_000;
const CUT_MS = 10_000;

interface Seen {
  readonly status: string;
  readonly attempts: readonly { readonly worker: string; readonly outcome: string }[];
}

let rig: GatewayRig;
let proxy: FaultProxy;
let processes: CliProcess[];

beforeEach(async () => {
  rig = await GatewayRig.start({ leaseMs: LEASE_MS });
  proxy = await FaultProxy.start({ host: "127.0.0.1", port: Number(new URL(rig.url).port) });
  processes = [];
  await rig.push("slow", buildSlow({ rounds: 60, size: 256 }));
});
afterEach(async () => {
  for (const each of processes) each.signal("SIGCONT");
  await Promise.all(processes.map((each) => each.stop()));
  await proxy.close();
  await rig.close();
});

async function startWorker(id: string, { site = "lab", isDirect = false } = {}): Promise<CliProcess> {
  const coordinator = isDirect ? rig.wssUrl : `wss://localhost:${proxy.port}`;
  const worker = await CliProcess.start([
    "worker",
    "start",
    ...["--coordinator", coordinator, "--ca", rig.gateway.caFile ?? "", "--key", await rig.key("worker")],
    ...["--worker-id", id, "--site", site, "--max-tasks", "1"],
  ]);
  processes.push(worker);
  await until(
    `worker ${id} to be HEALTHY; it printed: ${worker.stderr}`,
    async () => (await stateOf(id)) === "HEALTHY",
    30_000,
  );
  return worker;
}

async function stateOf(id: string): Promise<string | undefined> {
  const { workers } = (await rig.call("GET", "/cluster/workers")).body;
  return workers.find((each: { id: string }) => each.id === id)?.state;
}

async function submit(count: number): Promise<string[]> {
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, 256], data: new Array(256).fill(0.5) }];
  const send = async (): Promise<string> =>
    (await rig.call("POST", "/tasks", { json: { model: "slow", input: { inputs } } })).body.id;
  return Promise.all(Array.from({ length: count }, send));
}

const tasks = (ids: readonly string[]): Promise<Seen[]> =>
  Promise.all(ids.map(async (id) => (await rig.call("GET", `/tasks/${id}?wait=60`)).body));
const metrics = async (): Promise<Record<string, number>> => (await rig.call("GET", "/cluster/metrics")).body;

/** Some are done, most are not. */
async function untilUnderWay(): Promise<void> {
  await until("some tasks to be done", async () => ((await metrics()).tasks_completed ?? 0) >= 3, 60_000);
}

test("an agent that is stopped past its lease and continued changes nothing", async () => {
  const stopped = await startWorker("stopped", { isDirect: true });
  const ids = await submit(30);
  await untilUnderWay();
  stopped.signal("SIGSTOP");
  await startWorker("other", { isDirect: true });
  const seen = await tasks(ids);
  assert.ok(seen.every(({ status }) => status === "COMPLETED"));
  const moved = seen.filter(({ attempts }) => attempts.length > 1);
  assert.ok(moved.length > 0, "it held some when it was stopped");
  for (const { attempts } of moved) {
    const ways = attempts.map(({ worker, outcome }) => `${worker} ${outcome}`).join(", ");
    // A copy rescues what a silent worker holds before that is given up.
    assert.match(ways, /^stopped (worker_lost|superseded), other completed$/);
  }
  stopped.signal("SIGCONT");
  await until("the stopped worker is back", async () => (await stateOf("stopped")) === "HEALTHY", 30_000);
  assert.deepEqual(await tasks(ids), seen, "what is recorded stays as it was");
  assert.equal((await metrics()).tasks_completed, ids.length);
});

test("a link that swallows everything is found out, and the work goes elsewhere", async () => {
  await startWorker("silent");
  const ids = await submit(30);
  await untilUnderWay();
  proxy.blackhole();
  await startWorker("other", { isDirect: true });
  const seen = await tasks(ids);
  assert.ok(seen.every(({ status }) => status === "COMPLETED"));
  assert.ok(
    seen.some(
      ({ attempts }) =>
        attempts.at(-1)?.worker === "other" &&
        ["worker_lost", "superseded"].includes(attempts[0]?.outcome ?? ""),
    ),
  );
  await until("it is given up", async () => {
    const { workers } = (await rig.call("GET", "/cluster/workers")).body;
    return !workers.some(({ id }: { id: string }) => id === "silent");
  });
});

test("a frozen link costs nothing when it thaws before anybody takes it for dead", async () => {
  await startWorker("a");
  const ids = await submit(20);
  await untilUnderWay();
  proxy.freeze();
  const before = (await metrics()).tasks_completed;
  await sleep(1000);
  assert.equal((await metrics()).tasks_completed, before, "nothing gets through");
  proxy.thaw();
  const seen = await tasks(ids);
  assert.ok(seen.every(({ status, attempts }) => status === "COMPLETED" && attempts.length === 1));
});

test("a site whose line is cut for ten seconds under load: its boxes go on computing, nothing is lost, nothing is run again", async () => {
  await startWorker("a1", { site: "a" });
  await startWorker("a2", { site: "a" });
  const ids = await submit(120);
  await untilUnderWay();
  const cutEnds = sleep(CUT_MS);
  proxy.refuse(true);
  proxy.cut();
  // More than the grace that a single box has; the other site would take the work if it were given away.
  await startWorker("b", { site: "b", isDirect: true });
  await until("the grace of a single box to be over", async () => {
    const { workers } = (await rig.call("GET", "/cluster/workers")).body;
    return workers.some((each: { cause: string }) =>
      each.cause.startsWith("the links of the whole site broke"),
    );
  });
  await cutEnds;
  proxy.refuse(false);
  const seen = await tasks(ids);
  assert.ok(seen.every(({ status }) => status === "COMPLETED"));
  const again = seen.filter(
    ({ attempts }) => attempts.filter(({ outcome }) => outcome !== "worker_lost").length > 1,
  );
  assert.equal(again.length, 0);
  // What a box never received may go elsewhere; what it received is delivered by it.
  const lost = seen.filter(({ attempts }) => attempts.length > 1);
  assert.ok(lost.length <= 8, `${lost.length} tasks were sent twice`);
  assert.ok(seen.some(({ attempts }) => attempts[0]?.worker.startsWith("a")));
});
