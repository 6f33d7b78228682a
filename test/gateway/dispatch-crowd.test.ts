import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FleetWorker } from "../../gateway/dispatch/fleet-worker.ts";
import type { Flight } from "../../gateway/dispatch/flight.ts";
import { FleetRig } from "../support/fleet-rig.ts";
import { seededRandom } from "../support/seeded-random.ts";

const SITES = [4, 40, 120, 250];
const SPEEDS_MS = [20, 50, 110, 240];

/** More workers than are looked at one by one. */
function crowd(seed: number, count: number): FleetRig {
  const rig = new FleetRig({ random: seededRandom(seed) });
  const next = seededRandom(seed + 1);
  for (let i = 0; i < count; i += 1) {
    const site = Math.floor(next() * SITES.length);
    const executeMs = (SPEEDS_MS[Math.floor(next() * SPEEDS_MS.length)] as number) * (0.9 + 0.2 * next());
    rig.veteran(`w${i}`, executeMs, { site: `site-${site}`, rttMs: SITES[site] as number }, 4);
  }
  return rig;
}

test("among many workers the choice is nearly as good as if each of them were looked at", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 60 }), (seed, busy) => {
      const rig = crowd(seed, 80);
      rig.addMany(busy);
      rig.clock.advance(5);
      const probe = rig.newTask({});
      const best = Math.min(
        ...rig.explain(probe).candidates.map((each) => each.predictedMs ?? Number.POSITIVE_INFINITY),
      );
      const task = rig.add();
      const holder = rig.holderOf(task);
      rig.dispatcher.close();
      if (holder === undefined) return;
      const flight = task.flights?.[0] as Flight;
      const gotMs =
        Math.max(0, flight.plannedStartMs - flight.arrivesAtMs) + flight.expectedMs + 2 * holder.oneWayMs;
      assert.ok(gotMs <= 1.2 * best + 1, `${holder.id}: ${gotMs} ms, the best ${best} ms`);
    }),
    { numRuns: 30 },
  );
});

test("a crowd is served by its near and fast workers first", () => {
  const rig = crowd(7, 100);
  rig.addMany(10);
  for (const { worker, expectedMs } of rig.sent) assert.ok(expectedMs + 2 * worker.oneWayMs < 80, worker.id);
});

test("in a crowd a task passes by who has failed it, though others are like that one", () => {
  const rig = crowd(11, 100);
  const task = rig.add();
  const tried = [rig.holderOf(task)?.id];
  for (let i = 0; i < 2; i += 1) {
    rig.answerTo(task, { isOk: false, executeMs: 1 });
    tried.push(rig.holderOf(task)?.id);
  }
  assert.equal(new Set(tried).size, 3, tried.join());
  // The next one, which nobody has failed, is sent to the worker that it was weighed for.
  const holders = rig.addMany(60).map((each) => rig.holderOf(each));
  for (const worker of holders) assert.ok(worker === undefined || worker.flights.length <= worker.credit);
});

test("what was weighed for a task that may not go to the first of its like does not hold for the next task", () => {
  const rig = new FleetRig();
  for (let i = 0; i < 80; i += 1) rig.veteran(`w${i}`, 50);
  const { dispatcher } = rig;
  assert.equal(dispatcher.beginRound(3), true);
  const first = dispatcher.choose(rig.newTask({}));
  const choosy = rig.newTask({});
  choosy.triedWorkerIds = new Set([first?.id ?? ""]);
  const second = dispatcher.choose(choosy);
  assert.ok(second !== undefined && second !== first);
  assert.equal(dispatcher.choose(rig.newTask({})), first);
});

test("in a crowd only replicas have tasks of a deployed model", () => {
  const rig = crowd(3, 100);
  rig.replicas = new Set(["w17", "w58"]);
  const tasks = rig.addMany(12);
  const holders = new Set(tasks.map((task) => rig.holderOf(task)?.id));
  holders.delete(undefined);
  for (const id of holders) assert.ok(rig.replicas.has(id as string));
  assert.ok(holders.size > 0);
});

type Step =
  | { readonly do: "join"; readonly slots: number; readonly site: number }
  | {
      readonly do: "leave" | "answer" | "fail" | "release" | "silence" | "spare" | "block";
      readonly which: number;
    }
  | { readonly do: "add"; readonly count: number }
  | { readonly do: "wait"; readonly ms: number };

const which = fc.nat({ max: 1000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("join" as const),
    slots: fc.integer({ min: 1, max: 64 }),
    site: fc.nat({ max: 3 }),
  }),
  fc.record({
    do: fc.constantFrom("leave", "fail", "release", "silence", "spare", "block"),
    which,
  }),
  { weight: 4, arbitrary: fc.record({ do: fc.constant("answer" as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("add" as const), count: fc.integer({ min: 1, max: 12 }) }),
  },
  fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 900 }) }),
);

const sum = (workers: readonly FleetWorker[], of: (worker: FleetWorker) => number): number =>
  workers.reduce((total, worker) => total + of(worker), 0);

class Story {
  readonly rig: FleetRig;
  readonly workers: FleetWorker[] = [];
  #names = 0;

  constructor(strategy: "ADAPTIVE" | "LEAST_LOADED", firstWorkers: number) {
    this.rig = new FleetRig({ strategy, random: seededRandom(firstWorkers + 1), maxAttempts: 4 });
    for (let i = 0; i < firstWorkers; i += 1) this.#join(1 + (i % 3), i % 4);
  }

  take(step: Step): void {
    const { rig, workers } = this;
    if (step.do === "join") this.#join(step.slots, step.site);
    else if (step.do === "add") rig.addMany(step.count);
    else if (step.do === "wait") rig.clock.advance(step.ms);
    else if (workers.length > 0) this.#befalls(step.do, workers[step.which % workers.length] as FleetWorker);
    rig.round();
  }

  #join(slots: number, site: number): void {
    this.#names += 1;
    this.workers.push(
      this.rig.join(`w${this.#names}`, { slots, site: `s${site}`, rttMs: SITES[site] as number }),
    );
  }

  #befalls(what: string, worker: FleetWorker): void {
    const { rig, workers } = this;
    const [flight] = worker.flights;
    if (what === "leave") {
      workers.splice(workers.indexOf(worker), 1);
      for (const held of rig.dispatcher.leave(worker)) rig.lost(held);
    } else if (what === "silence") rig.dispatcher.pinged(worker);
    else if (what === "block") rig.setCanSend(worker, !worker.facts.canSend);
    else if (what === "spare") for (let i = 0; i < 3; i += 1) rig.teachFailure(worker);
    else if (flight === undefined) rig.dispatcher.heard(worker);
    else if (what === "release") {
      rig.dispatcher.released(flight);
      rig.lost(flight);
    } else
      rig.answer(flight, { isOk: what === "answer", executeMs: 10 + 40 * Math.abs(worker.oneWayMs % 3) });
  }

  check(): void {
    const { rig, workers } = this;
    const live = new Set<Flight>(rig.tasks.flatMap(({ flights }) => flights ?? []));
    for (const worker of workers) {
      for (const flight of worker.flights) {
        assert.equal(flight.worker, worker);
        assert.equal(flight.isOver, false);
        assert.equal(live.delete(flight), !flight.isSuperseded);
      }
      const running = worker.flights.filter(({ run }) => run !== undefined);
      assert.ok(worker.runs.length <= worker.slots);
      assert.equal(worker.runs.flatMap(({ flights }) => flights).length, running.length);
      assert.equal(
        worker.runs.length,
        Math.min(worker.slots, worker.flights.length),
        "no free slot while tasks wait",
      );
      assert.ok(Number.isFinite(worker.freeAtMs));
    }
    this.#checkCohorts();
    assert.equal(live.size, 0, "no flight is left of who is gone");
  }

  /** Each worker is counted once, in one cohort or in none. */
  #checkCohorts(): void {
    for (const cohort of new Set(this.workers.map((worker) => worker.cohort))) {
      const those = this.workers.filter((worker) => worker.cohort === cohort);
      if (cohort === undefined) {
        for (const worker of those) assert.equal(worker.isOnOffer, false, worker.id);
        continue;
      }
      assert.equal(cohort.size, those.length);
      assert.equal(
        cohort.slots,
        sum(those, ({ slots }) => slots),
      );
      assert.equal(
        cohort.busySlots,
        sum(those, ({ busySlots }) => busySlots),
      );
      const rate = sum(those, ({ ratePerMs }) => ratePerMs);
      assert.ok(Math.abs(cohort.ratePerMs - rate) < 1e-6 * rate, `${cohort.ratePerMs} and ${rate} per ms`);
      assert.ok(those.includes(cohort.head as FleetWorker));
    }
  }
}

for (const [firstWorkers, strategy] of [
  [3, "ADAPTIVE"],
  [70, "ADAPTIVE"],
  [60, "LEAST_LOADED"],
] as const) {
  test(`whatever befalls ${firstWorkers} workers under ${strategy}, what each of them holds is known`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const story = new Story(strategy, firstWorkers);
        for (const each of steps) {
          const sentBefore = story.rig.sent.length;
          story.take(each);
          story.check();
          for (const { worker, purpose } of story.rig.sent.slice(sentBefore))
            if (purpose === "first") assert.ok(worker.facts.canSend, "nothing goes on a full link");
        }
        story.rig.dispatcher.close();
        assert.equal(story.rig.clock.pendingCount, 0);
      }),
      { numRuns: 40 },
    );
  });
}

test("nothing is sent beyond a worker's credit", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 12 }), which, (bursts, seed) => {
      const rig = new FleetRig({ random: seededRandom(seed) });
      const next = seededRandom(seed + 5);
      const workers = Array.from({ length: 70 }, (_, i) =>
        rig.serve(`w${i}`, () => ({ executeMs: 5 + 50 * next() }), { rttMs: SITES[i % 4] as number }),
      );
      for (const count of bursts) {
        // What it holds already stays, and sending works its credit out anew, which may be less by then.
        const allowed = workers.map(({ flights, credit }) => Math.max(flights.length, credit));
        rig.addMany(count);
        for (const [i, { id, flights, credit }] of workers.entries())
          assert.ok(flights.length <= Math.max(allowed[i] as number, credit), id);
        rig.clock.advance(30);
      }
      rig.dispatcher.close();
    }),
    { numRuns: 30 },
  );
});
