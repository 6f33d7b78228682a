/** What a worker that says impossible things of itself can do to others: nothing. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { AttemptTimings } from "@legacygpu/shared/protocol/messages";
import fc from "fast-check";
import { Latest } from "../../gateway/dispatch/latest.ts";
import { executionMs } from "../../gateway/limits/execution-time.ts";
import { serviceMs } from "../../gateway/registry/answer.ts";
import type { Worker } from "../../gateway/registry/worker.ts";
import { believable } from "../../gateway/scheduler/believable.ts";
import { FleetRig } from "../support/fleet-rig.ts";
import { NO_OUTPUT, type RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

const A_LIFE_MS = 1e308;
const MODEL = { name: "m", version: "1" };

/** The worker answers its latest task after so long. */
function answer(
  rig: SchedulerRig,
  worker: Worker,
  link: RecordingLink,
  afterMs: number,
  told: Partial<AttemptTimings>,
): void {
  const sent = link.tasks.at(-1);
  assert.ok(sent !== undefined, "it has a task");
  rig.clock.advance(afterMs);
  rig.scheduler.completed(worker, sent.token, NO_OUTPUT, { ...timings(1), ...told });
}

test("what an attempt's time went into is never more than the time it had, and stays in proportion", () => {
  const duration = fc.oneof(
    fc.double({ min: 0, max: 1e4, noNaN: true }),
    fc.constantFrom(0, 1e300, Number.MAX_VALUE),
  );
  const told = fc.record({
    queuedMs: duration,
    fetchMs: duration,
    loadMs: duration,
    preprocessMs: duration,
    executeMs: duration,
    postprocessMs: duration,
  });
  fc.assert(
    fc.property(told, fc.double({ min: 0, max: 1e4, noNaN: true }), (given, tookMs) => {
      const believed = believable(given, tookMs);
      const sum = (of: AttemptTimings): number =>
        of.queuedMs + Math.max(of.fetchMs, of.loadMs) + serviceMs(of);
      assert.ok(sum(believed) <= (tookMs + 5) * (1 + 1e-9), `${sum(believed)} of ${tookMs}`);
      if (sum(given) <= tookMs) assert.equal(believed, given);
      if (given.executeMs <= given.queuedMs) assert.ok(believed.executeMs <= believed.queuedMs);
    }),
  );
});

test("a tenant is charged for the time that its task had, whatever the worker says", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  answer(rig, worker, link, 200, { executeMs: A_LIFE_MS, postprocessMs: A_LIFE_MS });
  assert.equal(task.state, "COMPLETED");
  assert.ok(executionMs(task) <= 205, `${executionMs(task)} ms`);
  const { meanMs } = worker.serviceTimes.get("m@1") ?? { meanMs: Number.NaN };
  assert.ok(meanMs <= 205, `${meanMs} ms`);
});

test("an attempt that was claimed after a restart of the gateway had its time before that", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  const task = rig.submit();
  rig.clock.advance(60_000);
  const token = link.tasks[0]?.token ?? 0;
  const restarted = new SchedulerRig({ firstToken: 2_000_000 });
  restarted.clock.advance(60_000);
  restarted.stored.set(task.id, task);
  const { id, tenant, inputBytes, deadlineAtMs } = task;
  restarted.scheduler.restore({
    id,
    tenant,
    classIndex: 0,
    group: JSON.stringify([MODEL.name, MODEL.version]),
    inputBytes,
    deadlineAtMs,
    lastToken: token,
    heldBy: worker.id,
  });
  const back = restarted.greet("a", { held: [{ taskId: id, token }] });
  restarted.scheduler.completed(back.worker, token, NO_OUTPUT, timings(50_000));
  assert.equal(task.state, "COMPLETED");
  assert.equal(executionMs(task), 50_000);
});

test("one that says that loading and computing took for ever changes no prediction for others", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE" });
  const honest = rig.veteran("honest", 50);
  const liar = rig.join("liar");
  const flight = rig.sendTo(liar, { model: "new" });
  rig.clock.advance(100);
  rig.answer(flight, { executeMs: A_LIFE_MS, loadMs: A_LIFE_MS, queuedMs: A_LIFE_MS });
  for (const model of ["net", "new"]) {
    const task = rig.add({ model, mayBeCopied: false });
    rig.dispatcher.residents(honest, []);
    const seen = rig.explain(task, honest).candidates.find(({ workerId }) => workerId === "honest");
    assert.ok((seen?.predictedMs ?? Number.NaN) < 5000, `${model}: ${seen?.predictedMs}`);
  }
});

test("more tasks than the model allows did not run as one", () => {
  const rig = new SchedulerRig({ strategy: "ADAPTIVE" });
  const { worker, link } = rig.connect("a");
  for (let i = 0; i < 8; i += 1) {
    rig.submit();
    answer(rig, worker, link, 100, { executeMs: 100, batchSize: 1024 });
  }
  link.canSend = false;
  const waiting = rig.submit();
  link.canSend = true;
  const { candidates = [] } = rig.scheduler.view.choiceOf(waiting.id) ?? {};
  const [{ parts } = { parts: undefined }] = candidates;
  assert.ok((parts?.serviceMs ?? 0) > 80, `${parts?.serviceMs} ms`);
});

for (const strategy of ["LATENCY", "ADAPTIVE"] as const) {
  test(`${strategy} does not send everything to a slow worker for saying that it is fast`, () => {
    const rig = new FleetRig({ strategy });
    const liar = rig.serve("liar", () => ({ executeMs: 0.1, tookMs: 150, queuedMs: 149 }));
    for (const id of ["a", "b"]) rig.serve(id, () => ({ executeMs: 40 }));
    rig.stream(150, 40);
    const later = rig.stream(100, 40);
    rig.clock.advance(3000);
    const toLiar = later.filter(({ end }) => end?.workerId === liar.id).length;
    assert.ok(toLiar <= 8, `${toLiar} of 100`);
  });

  test(`${strategy} takes a worker at its word again when its line has stood still`, () => {
    const rig = new FleetRig({ strategy });
    const worker = rig.serve("only", () => ({ executeMs: 20 }), { slots: 2 });
    rig.stream(30, 30);
    rig.serveBy(worker, () => ({ executeMs: 20, tookMs: 600 }));
    rig.addMany(2);
    rig.clock.advance(1500);
    rig.serveBy(worker, () => ({ executeMs: 20 }));
    const task = rig.add();
    const [seen] = rig.explain(task, worker).candidates;
    assert.ok((seen?.parts?.serviceMs ?? 1000) < 30, `${seen?.parts?.serviceMs} ms`);
  });
}

test("a queue at the worker that never was does not make the way to its site shorter than its pings", () => {
  const rig = new SchedulerRig();
  const { worker, link } = rig.connect("a");
  rig.clock.advance(1000);
  worker.path.ponged({ rttMs: 80, sentAtMs: rig.clock.monotonic(), isQueued: false });
  for (let i = 0; i < 10; i += 1) {
    rig.submit();
    answer(rig, worker, link, 200, { executeMs: 1, queuedMs: 198.9 });
  }
  assert.ok((worker.path.rttMs ?? 0) >= 79, `${worker.path.rttMs} ms`);
});

test("one that takes a model again is asked again at once, however long it wanted not to be", () => {
  const rig = new SchedulerRig({ strategy: "ADAPTIVE" });
  const { worker, link } = rig.connect("a");
  const state = { type: "model_state", ...MODEL } as const;
  rig.registry.modelState(worker, { ...state, state: "failed", retryAfterMs: 1e15 });
  const task = rig.submit();
  assert.equal(link.tasks.length, 0);
  rig.registry.modelState(worker, { ...state, state: "ready" });
  rig.scheduler.dispatch();
  assert.equal(link.tasks.at(-1)?.taskId, task.id);
});

test("how far a download has come is no news to those who choose workers", () => {
  const { registry, connect } = bound(new SchedulerRig());
  const { worker } = connect("a");
  let changes = 0;
  registry.watch({ arrived() {}, stateChanged() {}, modelsChanged: () => (changes += 1) });
  const state = { type: "model_state", ...MODEL, totalBytes: 100 } as const;
  for (const receivedBytes of [10, 20, 30])
    registry.modelState(worker, { ...state, state: "downloading", receivedBytes });
  registry.modelState(worker, { ...state, state: "ready" });
  assert.equal(changes, 2);
  assert.equal(worker.models.get("m@1")?.state, "ready");
});

test("names of models that an agent invents are forgotten, and what it has in memory is not", () => {
  const { registry, connect } = bound(new SchedulerRig());
  const { worker } = connect("a");
  const state = { type: "model_state", version: "1" } as const;
  registry.modelState(worker, { ...state, name: "real", state: "ready" });
  for (let i = 0; i < 3000; i += 1) {
    registry.modelState(worker, { ...state, name: `m${i}`, state: "failed", retryAfterMs: 1e12 });
  }
  assert.ok(worker.models.size <= 1000 && worker.refusals.size <= 1000);
  assert.equal(worker.models.get("real@1")?.state, "ready");
  assert.equal(worker.models.get("m2999@1")?.state, "failed");
});

test("of things that others name only the latest are known", () => {
  const latest = new Latest<number>(2);
  latest.set("a", 1);
  latest.set("b", 2);
  latest.set("a", 3);
  latest.set("c", 4);
  assert.deepEqual([...latest.values()], [3, 4]);
  assert.equal(latest.get("b"), undefined);
});

test("a placement that asks for a label finds the one box that has it among very many, also when nobody has asked before", () => {
  const rig = new SchedulerRig({ strategy: "ADAPTIVE" });
  const links = new Map<string, RecordingLink>();
  for (let i = 0; i < 80; i += 1) links.set(`w${i}`, rig.connect(`w${i}`, { labels: { box: `b${i}` } }).link);
  rig.submit();
  for (const wanted of [70, 3, 55]) {
    const { id } = rig.submit({ placement: { labels: { box: `b${wanted}` } } });
    assert.equal(links.get(`w${wanted}`)?.tasks.at(-1)?.taskId, id);
  }
  const late = rig.connect("late", { labels: { box: "b-late" } });
  const { id } = rig.submit({ placement: { labels: { box: "b-late" } } });
  assert.equal(late.link.tasks.at(-1)?.taskId, id);
});

function bound(rig: SchedulerRig): Pick<SchedulerRig, "registry" | "connect"> {
  return { registry: rig.registry, connect: (id, more) => rig.connect(id, more) };
}
