import assert from "node:assert/strict";
import { test } from "node:test";
import type { FleetWorker } from "../../gateway/dispatch/fleet-worker.ts";
import { FleetRig } from "../support/fleet-rig.ts";
import type { RigTask } from "../support/rig-task.ts";

/** Of the latest so many tasks, how many ended at the worker. */
const endedAt = (tasks: readonly RigTask[], worker: FleetWorker): number =>
  tasks.filter(({ end }) => end?.workerId === worker.id).length;

for (const strategy of ["LATENCY", "ADAPTIVE"] as const) {
  test(`${strategy} avoids a slow card when the fast ones have time`, () => {
    const rig = new FleetRig({ strategy });
    const slow = rig.serve("slow", () => ({ executeMs: 400 }));
    for (const id of ["a", "b"]) rig.serve(id, () => ({ executeMs: 40 }));
    rig.stream(60, 40);
    const later = rig.stream(60, 40);
    rig.clock.advance(2000);
    assert.ok(endedAt(later, slow) <= 2, `${endedAt(later, slow)} of 60`);
  });

  test(`${strategy} notices within a few answers that a worker has become five times as slow, and that it is well again`, () => {
    const rig = new FleetRig({ strategy });
    const one = rig.serve("one", () => ({ executeMs: 40 }));
    rig.serve("two", () => ({ executeMs: 60 }));
    rig.stream(100, 50);
    const before = rig.stream(40, 50);
    assert.ok(endedAt(before, one) > 20, `${endedAt(before, one)} of 40 while it was well`);

    rig.serveBy(one, () => ({ executeMs: 200 }));
    rig.stream(20, 50);
    const slowed = rig.stream(60, 80);
    assert.ok(endedAt(slowed, one) <= 12, `${endedAt(slowed, one)} of 60 while it was slow`);

    rig.serveBy(one, () => ({ executeMs: 40 }));
    for (let i = 0; i < 12; i += 1) rig.teach(one, 40, 1);
    const recovered = rig.stream(40, 50);
    assert.ok(endedAt(recovered, one) > 20, `${endedAt(recovered, one)} of 40 when it was well again`);
  });
}

test("ADAPTIVE finds out by itself that a slow worker is well again", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE" });
  const one = rig.serve("one", () => ({ executeMs: 40 }));
  rig.serve("two", () => ({ executeMs: 60 }));
  rig.stream(100, 70);
  rig.serveBy(one, () => ({ executeMs: 400 }));
  rig.stream(60, 70);
  rig.serveBy(one, () => ({ executeMs: 40 }));
  rig.stream(150, 70);
  const recovered = rig.stream(40, 70);
  rig.clock.advance(1000);
  assert.ok(endedAt(recovered, one) > 30, `${endedAt(recovered, one)} of 40`);
});

test("ADAPTIVE knows that a worker is slow with one model and fast with another", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE" });
  const odd = rig.join("odd");
  const even = rig.join("even");
  for (let i = 0; i < 30; i += 1) {
    rig.teach(odd, 200, 1, "images");
    rig.teach(odd, 50, 1, "text");
    rig.teach(even, 100, 1, "images");
    rig.teach(even, 100, 1, "text");
  }
  const text = rig.add({ model: "text" });
  assert.equal(rig.holderOf(text), odd);
  rig.answerTo(text, { executeMs: 50 });
  const images = rig.add({ model: "images" });
  assert.equal(rig.holderOf(images), even);
});

test("a newcomer starts as fast as its hardware class is", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE" });
  rig.veteran("slow", 400, { hardwareClass: "old" }, 30);
  rig.veteran("fast", 40, { hardwareClass: "new" }, 30);
  const slowNewcomer = rig.join("newcomer-1", { hardwareClass: "old" });
  const fastNewcomer = rig.join("newcomer-2", { hardwareClass: "new" });
  const tasks = [rig.add(), rig.add()];
  const workers = tasks.map(({ flights }) => flights?.[0]?.worker);
  assert.ok(workers.includes(fastNewcomer));
  assert.ok(!workers.includes(slowNewcomer));
});

test("one outlier does not change what is known of a worker", () => {
  const rig = new FleetRig();
  const steady = rig.veteran("steady", 50, {}, 40);
  rig.veteran("other", 70, {}, 40);
  rig.teach(steady, 130, 1);
  assert.equal(rig.holderOf(rig.add()), steady);
});

test("the tasks of a batch teach what one of them alone takes", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE" });
  const batching = rig.join("batching", { maxBatch: () => 4 });
  rig.veteran("alone", 100, {}, 30);
  for (let i = 0; i < 20; i += 1) {
    const flights = rig.addMany(4).map(({ flights: sent }) => sent?.[0]);
    rig.clock.advance(100);
    for (const flight of flights)
      if (flight?.worker === batching) rig.answer(flight, { executeMs: 100, batchSize: 4 });
      else if (flight !== undefined) rig.answer(flight, { executeMs: 100 });
    rig.clock.advance(1000);
  }
  const [candidate] = rig.explain(rig.add()).candidates.filter(({ workerId }) => workerId === "batching");
  const serviceMs = candidate?.parts?.serviceMs as number;
  assert.ok(serviceMs > 50 && serviceMs < 95, `${serviceMs} ms`);
});

test("the time of loading a model is not taken for a slow worker", () => {
  const rig = new FleetRig();
  const loading = rig.serve("loading", () => ({ executeMs: 40, loadMs: 2000 }));
  rig.stream(5, 3000);
  const [candidate] = rig.explain(rig.add(), loading).candidates;
  assert.ok((candidate?.parts?.serviceMs as number) < 100);
});

test("what was learned under one strategy is used by the next one", () => {
  const rig = new FleetRig({ strategy: "ROUND_ROBIN" });
  rig.serve("slow", () => ({ executeMs: 400 }));
  const fast = rig.serve("fast", () => ({ executeMs: 40 }));
  rig.stream(30, 450);
  rig.clock.advance(2000);
  rig.strategy = "LATENCY";
  const tasks = rig.stream(10, 100);
  assert.equal(endedAt(tasks, fast), 10);
});
