/** Deployments over time: real registry and scheduler, links that record, a clock that the test moves. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import type { GatewayMessage, ModelRef } from "@legacygpu/shared/protocol/messages";
import type { Model } from "../../gateway/models/catalogue.ts";
import { Placement } from "../../gateway/placement/controller.ts";
import { deploymentJson } from "../../gateway/placement/deployment-json.ts";
import { Deployments } from "../../gateway/placement/deployments.ts";
import type { Hello, ModelStateMessage, Worker } from "../../gateway/registry/worker.ts";
import { MemoryDocuments } from "../../gateway/store/memory-documents.ts";
import { putDeploymentSchema } from "../../shared/api/deployments.ts";
import { NO_OUTPUT, RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

const TTL_SECONDS = 60;
const digest = (version: string): string => `sha256:${version.padStart(64, "0")}`;
const model = (version: string): Model => ({
  ref: { name: "m", version, file: digest(version), fileBytes: 1000, manifest: digest("0") },
  manifest: {},
  inputs: [],
  outputs: [],
  createdAtMs: 0,
});

/** Records also what is announced. */
class Link extends RecordingLink {
  override announce(ref?: ModelRef, how?: "preload"): void {
    if (ref !== undefined) this.send({ type: "load_model", model: ref, preload: how === "preload" });
  }

  get orders(): string[] {
    return this.sent.flatMap((message: GatewayMessage) => {
      if (message.type === "load_model" && message.preload) return [`load ${message.model.version}`];
      return message.type === "unload_model" ? [`unload ${message.version}`] : [];
    });
  }
}

class Rig {
  readonly tasks: SchedulerRig;
  readonly deployments: Deployments;
  readonly placement: Placement;
  readonly files = new Set<string>();
  readonly links = new Map<string, Link>();
  newest = "1";

  constructor(documents?: MemoryDocuments) {
    this.tasks = new SchedulerRig({
      gate: () => this.placement,
      onGone: (worker) => this.placement.gone(worker),
    });
    const { clock, registry } = this.tasks;
    this.deployments = new Deployments(documents ?? new MemoryDocuments(clock), clock);
    this.placement = new Placement({
      clock,
      log: createLogger("test", "silent"),
      deployments: this.deployments,
      findModel: (_name, version) => model(version ?? this.newest),
      workers: registry,
      holdsFile: (workerId, file) => this.files.has(`${workerId} ${file}`),
      tasks: {
        queueOf: (name, version) => this.tasks.scheduler.view.queueOf(name, version),
        held: () => this.tasks.scheduler.view.held(),
        isPaused: (name) => this.tasks.scheduler.groups.isModelPaused(name),
      },
      dispatch: () => this.tasks.scheduler.dispatch(),
    });
    this.placement.start();
    // What a gateway that has just started waits for.
    clock.advance(10_000);
  }

  connect(id: string, more: Partial<Hello> = {}): Worker {
    const link = new Link();
    this.links.set(id, link);
    return this.tasks.greet(id, more, link).worker;
  }

  async deploy(given: object): Promise<void> {
    const body = { idle_ttl_seconds: TTL_SECONDS, ...given };
    await this.deployments.put("m", putDeploymentSchema.parse(body));
    this.placement.changed("m");
    this.advance(20);
  }

  advance(ms: number): void {
    this.tasks.clock.advance(ms);
  }

  /** As the hub does it. */
  says(id: string, state: ModelStateMessage["state"], more: Partial<ModelStateMessage> = {}): void {
    const worker = this.tasks.registry.get(id);
    assert.ok(worker !== undefined);
    const message: ModelStateMessage = { type: "model_state", name: "m", version: "1", state, ...more };
    worker.heard(message, this.tasks.clock.now());
    this.placement.heard(worker, message);
    this.tasks.scheduler.dispatch();
    this.advance(20);
  }

  orders(id: string): string[] {
    return this.links.get(id)?.orders ?? [];
  }

  tasksOf(id: string): number {
    return this.links.get(id)?.tasks.length ?? 0;
  }

  /** The oldest task that it has and has not answered. */
  finish(id: string, index: number, executeMs: number): void {
    const worker = this.tasks.registry.get(id);
    const task = this.links.get(id)?.tasks[index];
    assert.ok(worker !== undefined && task !== undefined);
    const ended = { ...NO_OUTPUT };
    this.tasks.scheduler.completed(worker, task.token, ended, timings(executeMs));
    const settled = this.tasks.settled.at(-1);
    assert.ok(settled !== undefined);
    this.placement.settled(settled);
    this.tasks.scheduler.dispatch();
  }

  get json() {
    const { clock, registry } = this.tasks;
    return deploymentJson(this.placement.standing(this.deployments.get("m")), { clock, workers: registry });
  }
}

let rig: Rig;
beforeEach(() => {
  rig = new Rig();
});

test("from zero to one at the first task, and back after the idle time to live", async () => {
  rig.connect("far");
  rig.connect("near");
  rig.files.add(`near ${digest("1")}`);
  await rig.deploy({ min_replicas: 0, max_replicas: 2 });
  rig.advance(5000);
  assert.equal(rig.json.state, "idle");
  assert.deepEqual([rig.orders("far"), rig.orders("near")], [[], []]);

  rig.tasks.submit();
  assert.equal(rig.tasksOf("near") + rig.tasksOf("far"), 0, "nobody has it loaded");
  rig.advance(20);
  assert.deepEqual([rig.orders("far"), rig.orders("near")], [[], ["load 1"]]);
  assert.equal(rig.json.state, "loading");
  rig.advance(1000);
  rig.says("near", "ready", { provider: "cpu", timings: { transferMs: 1, loadMs: 700, warmUpMs: 20 } });
  assert.equal(rig.tasksOf("near"), 1);
  const { cold_start: coldStart, state } = rig.json;
  assert.equal(state, "ready");
  assert.deepEqual(coldStart, { total_ms: 1010, transfer_ms: 1, load_ms: 700, warm_up_ms: 20 });

  rig.advance(10 * TTL_SECONDS * 1000);
  assert.deepEqual(rig.orders("near"), ["load 1"], "a task runs, however long");
  rig.finish("near", 0, 5);
  rig.advance(TTL_SECONDS * 1000 - 2000);
  assert.deepEqual(rig.orders("near"), ["load 1"]);
  rig.advance(4000);
  assert.deepEqual(rig.orders("near"), ["load 1", "unload 1"]);
  assert.equal(rig.json.state, "idle");
  rig.says("near", "unloaded");
  rig.advance(60_000);
  assert.equal(rig.orders("near").length, 2, "it stays unloaded");
});

test("while tasks wait for long, one more at a time up to the largest number; tasks go to replicas only", async () => {
  for (const id of ["a", "b", "c"]) rig.connect(id, { slots: 1 });
  await rig.deploy({ min_replicas: 1, max_replicas: 2 });
  assert.deepEqual(rig.orders("a"), ["load 1"]);
  rig.says("a", "ready");
  for (let count = 0; count < 10; count += 1) rig.tasks.submit();
  assert.equal(rig.tasksOf("a"), 1, "as much as its credit");
  rig.advance(2000);
  rig.finish("a", 0, 2000);
  rig.advance(5000);
  assert.deepEqual(rig.orders("b"), ["load 1"]);
  assert.equal(rig.tasksOf("b"), 0);
  rig.says("b", "ready");
  assert.ok(rig.tasksOf("b") > 0);
  rig.advance(60_000);
  assert.deepEqual(rig.orders("c"), []);
  assert.equal(rig.json.target_replicas, 2);
});

test("a failed load is tried elsewhere, and there again only after a while that grows", async () => {
  rig.connect("a");
  await rig.deploy({ min_replicas: 1 });
  rig.says("a", "failed", { reason: "no room" });
  rig.advance(20_000);
  assert.deepEqual(rig.orders("a"), ["load 1"]);
  const { state, reason, failures } = rig.json;
  assert.deepEqual(
    [state, reason],
    ["unavailable", "No other worker can take it: 1 failed to load it lately."],
  );
  assert.deepEqual([failures[0]?.worker, failures[0]?.reason, failures[0]?.attempts], ["a", "no room", 1]);
  rig.advance(12_000);
  assert.deepEqual(rig.orders("a"), ["load 1", "load 1"]);
  rig.says("a", "failed", { reason: "no room" });
  rig.advance(40_000);
  assert.equal(rig.orders("a").length, 2);
  rig.connect("b");
  rig.advance(1500);
  assert.deepEqual(rig.orders("b"), ["load 1"]);
});

test("a worker that is spared, drained or gone is replaced, and a spared one serves until then", async () => {
  const a = rig.connect("a");
  await rig.deploy({ min_replicas: 1 });
  rig.says("a", "ready");
  const b = rig.connect("b");
  rig.tasks.registry.spare(a, 2000, "it died");
  assert.equal(a.state, "DEGRADED");
  rig.advance(1100);
  assert.deepEqual(rig.orders("b"), ["load 1"]);
  assert.deepEqual(rig.orders("a"), ["load 1"]);
  rig.says("b", "ready");
  rig.advance(1100);
  assert.deepEqual(rig.orders("a"), ["load 1", "unload 1"]);

  rig.connect("c");
  rig.tasks.registry.drain(b, "an operator said so");
  rig.advance(1100);
  assert.deepEqual(rig.orders("c"), ["load 1"]);
  rig.says("c", "ready");
  rig.connect("d");
  const c = rig.tasks.registry.get("c");
  assert.ok(c !== undefined);
  rig.tasks.registry.giveUp(c, "it was switched off");
  rig.advance(1100);
  assert.deepEqual(rig.orders("d"), ["load 1"]);
});

test("a new newest version is loaded first, then the old one goes; an undeployed model is unloaded and runs anywhere", async () => {
  rig.connect("a");
  rig.connect("b");
  await rig.deploy({ min_replicas: 1 });
  rig.says("a", "ready");
  rig.newest = "2";
  rig.advance(1100);
  const [id = ""] = ["a", "b"].filter((each) => rig.orders(each).includes("load 2"));
  assert.ok(!rig.orders("a").includes("unload 1"));
  rig.says(id, "ready", { version: "2" });
  rig.advance(2100);
  assert.ok(rig.orders("a").includes("unload 1"));

  await rig.deployments.remove("m");
  rig.placement.changed("m");
  rig.advance(2100);
  assert.ok(rig.orders(id).includes("unload 2"));
  for (let count = 0; count < 6; count += 1) rig.tasks.submit();
  assert.ok(rig.tasksOf("a") > 0 && rig.tasksOf("b") > 0);
});

test("what a worker unloads by itself is loaded again elsewhere; what somebody has unloaded stays so", async () => {
  rig.connect("a");
  rig.connect("b");
  await rig.deploy({ min_replicas: 0, max_replicas: 1 });
  rig.tasks.submit();
  rig.advance(20);
  const [id = "", other = ""] = rig.orders("a").length > 0 ? ["a", "b"] : ["b", "a"];
  rig.says(id, "ready");
  rig.finish(id, 0, 1);
  rig.says(id, "cached");
  rig.advance(1100);
  assert.deepEqual(rig.orders(other), ["load 1"]);
  rig.says(other, "ready");
  rig.says(other, "unloaded");
  rig.advance(30_000);
  assert.deepEqual(rig.orders(other), ["load 1"]);
  assert.equal(rig.json.state, "idle");
});

test("a replica that computes on another provider than the deployment allows is none", async () => {
  rig.connect("a", { providers: ["webgpu", "cpu"] });
  await rig.deploy({ min_replicas: 1, providers: ["webgpu"] });
  rig.says("a", "ready", { provider: "cpu", reason: "webgpu: it computes other numbers" });
  assert.deepEqual(rig.orders("a"), ["load 1", "unload 1"]);
  assert.match(rig.json.failures[0]?.reason ?? "", /cpu computes it there.*other numbers/);
});

test("deployments outlast a restart, and what workers have loaded by then is adopted, not loaded anew", async () => {
  const documents = new MemoryDocuments(rig.tasks.clock);
  rig = new Rig(documents);
  await rig.deploy({ min_replicas: 1 });
  const later = new Rig(documents);
  later.connect("fresh");
  later.connect("old");
  later.files.add(`old ${digest("1")}`);
  later.advance(100);
  later.says("old", "ready", { provider: "cpu" });
  later.advance(3000);
  assert.deepEqual([later.orders("fresh"), later.orders("old")], [[], []]);
  assert.deepEqual(
    later.json.replicas.map(({ worker, state }) => [worker, state]),
    [["old", "ready"]],
  );
});

test("a task says what it waits for", async () => {
  const task = rig.tasks.submit({ model: "m" });
  rig.connect("a");
  await rig.deploy({ min_replicas: 0 });
  const another = rig.tasks.submit();
  rig.advance(20);
  assert.equal(rig.tasks.scheduler.view.explain(another.id)?.reason, "m@1 is being loaded on a.");
  assert.notEqual(task.id, another.id);
});

test("a task whose own placement rules out every worker that has the model loaded says so, and names them", async () => {
  rig.connect("a", { site: "lab" });
  rig.connect("b", { site: "office" });
  await rig.deploy({ min_replicas: 1 });
  const [loaded = "", other = ""] = rig.orders("a").length > 0 ? ["lab", "office"] : ["office", "lab"];
  rig.says(loaded === "lab" ? "a" : "b", "ready", { provider: "cpu" });
  const placed = rig.tasks.submit({ placement: { sites: [other] } });
  const reason = rig.tasks.scheduler.view.explain(placed.id)?.reason ?? "";
  assert.match(
    reason,
    new RegExp(`^m@1 is deployed on ${loaded === "lab" ? "a" : "b"}, which .*${other}.* rules out`),
  );
  assert.equal(rig.tasksOf("a") + rig.tasksOf("b"), 0);
});
