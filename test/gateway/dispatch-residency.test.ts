import assert from "node:assert/strict";
import { test } from "node:test";
import { FleetRig } from "../support/fleet-rig.ts";

test("a task goes to who has its model, though another one is faster", () => {
  const rig = new FleetRig();
  const empty = rig.veteran("empty", 20, { modelCapacity: 2 });
  rig.dispatcher.residents(empty, []);
  const holder = rig.veteran("holder", 100, { modelCapacity: 2 });
  rig.dispatcher.residents(holder, ["net"]);
  assert.equal(rig.holderOf(rig.add()), holder);
});

test("when nobody has the model, somebody loads it", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("full", 20, { modelCapacity: 1 });
  rig.dispatcher.residents(worker, ["other"]);
  assert.equal(rig.holderOf(rig.add()), worker);
  assert.equal(worker.residency.has("net"), true);
  assert.equal(worker.residency.has("other"), false);
});

test("when the holders are so busy that loading pays, another one loads it", () => {
  const rig = new FleetRig();
  const holder = rig.veteran("holder", 500, { modelCapacity: 2 });
  rig.dispatcher.residents(holder, ["net"]);
  const empty = rig.veteran("empty", 500, { modelCapacity: 2 });
  rig.dispatcher.residents(empty, []);
  rig.add();
  assert.equal(rig.heldBy(empty), 0);
  rig.addMany(30);
  assert.ok(rig.heldBy(empty) > 0);
});

test("few workers at a time have a model leave for another one", () => {
  const rig = new FleetRig();
  const holder = rig.veteran("holder", 500, { modelCapacity: 1 });
  rig.dispatcher.residents(holder, ["net"]);
  const others = Array.from({ length: 19 }, (_, i) => {
    const worker = rig.veteran(`other-${i}`, 500, { modelCapacity: 1 });
    rig.dispatcher.residents(worker, ["else"]);
    return worker;
  });
  rig.addMany(200);
  const loading = others.filter((worker) => worker.residency.has("net"));
  assert.ok(loading.length >= 1 && loading.length <= 3, `${loading.length} of 20`);
});

test("what a worker says that it has counts, with what is on its way there", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("a", 20, { modelCapacity: 2 });
  rig.dispatcher.residents(worker, []);
  rig.add();
  rig.dispatcher.residents(worker, ["one", "two"]);
  assert.equal(worker.residency.has("net"), true);
  assert.equal(worker.residency.has("one"), false);
  assert.equal(worker.residency.has("two"), true);
});

test("a model that was loaded a moment ago is not paid for again", () => {
  const rig = new FleetRig();
  const worker = rig.veteran("a", 20, { slots: 2, modelCapacity: 2 });
  rig.dispatcher.residents(worker, []);
  const task = rig.add();
  const [candidate] = rig.explain(rig.add(), worker).candidates;
  assert.equal(rig.holderOf(task), worker);
  assert.equal(candidate?.parts?.loadMs, 0);
});

test("strategies that know no times drive no model out while somebody has it", () => {
  const rig = new FleetRig({ strategy: "LEAST_LOADED" });
  const holder = rig.veteran("holder", 100, { modelCapacity: 1 });
  rig.dispatcher.residents(holder, ["net"]);
  const full = rig.veteran("full", 100, { modelCapacity: 1 });
  rig.dispatcher.residents(full, ["else"]);
  rig.add();
  rig.clock.advance(50);
  assert.equal(rig.heldBy(full), 0);
});
