/** How long a load is waited for, on a virtual clock. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type LoadOutcome, ModelRepository } from "../../../gateway/inference/model-repository.ts";
import type { Model } from "../../../gateway/models/catalogue.ts";
import type { ModelStateMessage } from "../../../gateway/registry/worker.ts";
import { SchedulerRig } from "../../support/scheduler-rig.ts";
import { until } from "../../support/until.ts";

const FILE_BYTES = 1_000_000;
const DIGEST = `sha256:${"0".repeat(64)}` as const;
const MODEL = {
  ref: { name: "m", version: "1", file: DIGEST, fileBytes: FILE_BYTES, manifest: DIGEST },
  manifest: {},
  inputs: [],
  outputs: [],
  createdAtMs: 0,
} as unknown as Model;
const MAX_WAIT_MS = 50_000;

const report = (state: ModelStateMessage["state"], more: object = {}): ModelStateMessage => ({
  type: "model_state",
  name: "m",
  version: "1",
  state,
  ...more,
});

function newRig(): { rig: SchedulerRig; repository: ModelRepository } {
  const rig = new SchedulerRig();
  return { rig, repository: new ModelRepository({ registry: rig.registry, clock: rig.clock }) };
}

/** Lets the time pass, a bit at a time, until it is over. */
async function outcomeOf(
  rig: SchedulerRig,
  load: Promise<LoadOutcome>,
  stepMs: number,
): Promise<LoadOutcome> {
  let outcome: LoadOutcome | undefined;
  void load.then((value) => {
    outcome = value;
  });
  return until("the load to be over", () => {
    if (outcome === undefined) rig.clock.advance(stepMs);
    return outcome;
  });
}

const patient = new AbortController().signal;

test("a load that takes longer than a client waits goes on, and tells how far it is", async () => {
  const { rig, repository } = newRig();
  const [first] = ["a", "b", "c"].map((id) => rig.connect(id).worker);
  const load = repository.load(MODEL, { maxWaitMs: MAX_WAIT_MS, signal: patient });
  first?.models.set("m@1", report("downloading", { receivedBytes: FILE_BYTES * 0.2 }));
  const outcome = await outcomeOf(rig, load, 5_000);
  assert.deepEqual(outcome, { kind: "loading", progress: "loading on 1 of 3 workers (20 %, about 4 min)" });
  assert.deepEqual(repository.statusOf(MODEL), {
    state: "LOADING",
    reason: "loading on 1 of 3 workers (20 %, about 4 min)",
  });
});

test("a worker that failed before and tries again has not failed", async () => {
  const { rig, repository } = newRig();
  const { worker } = rig.connect("a");
  worker.models.set("m@1", report("failed", { reason: "earlier" }));
  const load = repository.load(MODEL, { maxWaitMs: MAX_WAIT_MS, signal: patient });
  rig.clock.advance(100);
  worker.models.set("m@1", report("loading"));
  rig.clock.advance(10_000);
  worker.models.set("m@1", report("ready"));
  assert.deepEqual(await outcomeOf(rig, load, 100), { kind: "ready" });
});

test("who hangs up no longer waits, and the load goes on", async () => {
  const { rig, repository } = newRig();
  const { worker } = rig.connect("a");
  const patience = new AbortController();
  const load = repository.load(MODEL, { maxWaitMs: MAX_WAIT_MS, signal: patience.signal });
  worker.models.set("m@1", report("loading"));
  patience.abort();
  assert.deepEqual(await load, { kind: "loading", progress: "loading on 1 of 1 workers" });
});

test("workers elsewhere, without the providers or without the memory are not asked", async () => {
  const { rig, repository } = newRig();
  rig.connect("a");
  const cuda = { ...MODEL, manifest: { requirements: { providers: ["cuda"] } } } as Model;
  const large = { ...MODEL, manifest: { requirements: { min_vram_mb: 1 } } } as Model;
  const order = { maxWaitMs: MAX_WAIT_MS, signal: patient };
  assert.deepEqual(await repository.load(cuda, order), { kind: "nowhere" });
  assert.deepEqual(await repository.load(large, order), { kind: "nowhere" });
  assert.deepEqual(await repository.load(MODEL, { ...order, sites: new Set(["moon"]) }), { kind: "nowhere" });
});

test("a worker whose link broke says nothing of what it has", () => {
  const { rig, repository } = newRig();
  const { worker } = rig.connect("a");
  worker.models.set("m@1", report("ready"));
  assert.equal(repository.isReady(MODEL), true);
  rig.registry.linkLost(worker, "cut");
  assert.equal(repository.isReady(MODEL), false);
  assert.equal(repository.statusOf(MODEL), undefined);
});
