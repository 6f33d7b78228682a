import assert from "node:assert/strict";
import { test } from "node:test";
import type { Flight } from "../../gateway/dispatch/flight.ts";
import { HedgeBudget } from "../../gateway/dispatch/hedge-budget.ts";
import { FleetRig } from "../support/fleet-rig.ts";

const ONLY_HEDGES = { hedges: true, exploration: false, warmUp: false };

const described = (flights: readonly Flight[]): string[][] =>
  flights.map(({ purpose, worker }) => [purpose, worker.id]);

/** One worker that takes far too long, and two that are idle. */
function lateAnswer(
  options: { readonly mayBeCopied?: boolean; readonly strategy?: "LATENCY" } = {},
): FleetRig {
  const rig = new FleetRig({ strategy: options.strategy ?? "ADAPTIVE", mechanisms: ONLY_HEDGES });
  rig.veteran("idle", 12);
  rig.veteran("second", 14);
  const stuck = rig.veteran("stuck", 10, {}, 40);
  rig.add({ mayBeCopied: options.mayBeCopied ?? true });
  assert.equal(rig.heldBy(stuck), 1);
  return rig;
}

test("a late answer has the task copied to an idle worker, and the first answer is the one that counts", () => {
  const rig = lateAnswer();
  rig.clock.advance(1000);
  assert.deepEqual(described(rig.copies()), [["hedge", "idle"]]);
  const [copy] = rig.copies();
  rig.answer(copy as Flight, { executeMs: 12 });
  assert.equal(rig.tasks[0]?.end?.workerId, "idle");
  assert.equal(rig.sent[0]?.isSuperseded, true);
  assert.equal(rig.sent[0]?.isOver, false, "it still takes its slot");
});

test("an answer in time has nothing copied", () => {
  const rig = new FleetRig({ strategy: "ADAPTIVE", mechanisms: ONLY_HEDGES });
  for (const id of ["a", "b", "c"]) rig.serve(id, () => ({ executeMs: 50 }));
  rig.stream(200, 40);
  rig.clock.advance(1000);
  assert.deepEqual(described(rig.copies()), []);
});

test("while something waits nothing is copied because it is late", () => {
  const rig = lateAnswer();
  rig.dispatcher.beginRound(1);
  rig.clock.advance(3000);
  assert.equal(rig.copies().length, 0);
});

test("a task that may not be copied is left where it is", () => {
  const rig = lateAnswer({ mayBeCopied: false });
  rig.clock.advance(3000);
  assert.equal(rig.copies().length, 0);
});

test("only ADAPTIVE copies what is late", () => {
  const rig = lateAnswer({ strategy: "LATENCY" });
  rig.clock.advance(3000);
  assert.equal(rig.copies().length, 0);
});

test("a copy that cannot be sent costs nothing and is tried again", () => {
  const rig = lateAnswer();
  rig.canCopy = false;
  rig.clock.advance(60);
  assert.equal(rig.copies().length, 0);
  rig.canCopy = true;
  rig.clock.advance(60);
  assert.deepEqual(described(rig.copies()), [["hedge", "idle"]]);
});

test("when the copy fails, the late task may be copied once more, elsewhere", () => {
  const rig = lateAnswer();
  for (let i = 0; i < 30 && rig.copies().length === 0; i += 1) rig.clock.advance(5);
  const [copy] = rig.copies();
  rig.answer(copy as Flight, { isOk: false, executeMs: 1 });
  rig.clock.advance(300);
  assert.deepEqual(described(rig.copies()), [
    ["hedge", "idle"],
    ["hedge", "second"],
  ]);
});

test("the less copies save, the fewer may be made", () => {
  const afforded = (savedMs: number): number => {
    const budget = new HedgeBudget();
    let made = 0;
    for (let i = 0; i < 5000; i += 1) {
      budget.earn(50);
      if (!budget.canSpend(100)) continue;
      made += 1;
      const account = budget.spend(100);
      if (savedMs > 0) budget.answered(account, true, i);
      budget.answered(account, false, i + savedMs);
    }
    return made;
  };
  assert.ok(afforded(500) > 2 * afforded(0), `${afforded(500)} and ${afforded(0)}`);
  assert.ok(afforded(500) <= 5000 * 0.03 * 0.5 + 2, "never more than their share of the work");
});

test("ADAPTIVE sends a copy to an idle worker that it has not heard from for seconds, LATENCY does not", () => {
  for (const strategy of ["ADAPTIVE", "LATENCY"] as const) {
    const rig = new FleetRig({ strategy });
    rig.serve("fast", () => ({ executeMs: 10 }));
    const slow = rig.serve("slow", () => ({ executeMs: 200 }), { hardwareClass: "old" });
    rig.teach(slow, 200);
    rig.stream(20, 50);
    rig.clock.advance(5000);
    rig.stream(100, 50);
    const explorations = rig.copies().filter(({ purpose }) => purpose === "exploration");
    assert.equal(
      explorations.some(({ worker }) => worker === slow),
      strategy === "ADAPTIVE",
    );
    assert.ok(explorations.length < 20, "seldom");
  }
});

test("ADAPTIVE has a worker with free memory load a model when those that have it are busy, LATENCY does not", () => {
  for (const strategy of ["ADAPTIVE", "LATENCY"] as const) {
    const rig = new FleetRig({ strategy });
    const holder = rig.veteran("holder", 100, { modelCapacity: 2 });
    rig.dispatcher.residents(holder, ["net"]);
    const empty = rig.veteran("empty", 100, { modelCapacity: 2 });
    rig.dispatcher.residents(empty, []);
    rig.add();
    rig.add();
    const warmUps = described(rig.copies().filter(({ purpose }) => purpose === "warm_up"));
    assert.deepEqual(warmUps, strategy === "ADAPTIVE" ? [["warm_up", "empty"]] : []);
  }
});
