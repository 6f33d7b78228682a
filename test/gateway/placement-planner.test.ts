/** Which changes the planner wants: by table, and whatever happens to workers, tasks and loads. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LONG_WAIT_MS, plan } from "../../gateway/placement/planner.ts";
import type {
  Change,
  DeploymentView,
  PlacedVersion,
  ReplicaView,
  WorkerView,
} from "../../gateway/placement/views.ts";

const GIB = 1024 ** 3;
const V1: PlacedVersion = {
  version: "1",
  providers: [],
  sites: undefined,
  needBytes: 0,
  isNeedDeclared: false,
};

const worker = (id: string, more: Partial<WorkerView> = {}): WorkerView => ({
  id,
  site: "lab",
  condition: "sound",
  providers: ["cpu"],
  gpuBytes: 0,
  load: 0,
  ...more,
});
const replica = (workerId: string, more: Partial<ReplicaView> = {}): ReplicaView => ({
  workerId,
  version: "1",
  state: "ready",
  inFlight: 0,
  ...more,
});
const view = (more: Partial<DeploymentView> = {}): DeploymentView => ({
  model: "m",
  minReplicas: 0,
  maxReplicas: 4,
  wanted: V1,
  replicas: [],
  target: 0,
  isSettled: true,
  demand: { waiting: 0, estimatedWaitMs: undefined, retained: 0 },
  barred: new Set(),
  holders: new Set(),
  loaded: new Set(),
  ...more,
});
const demand = (waiting: number, estimatedWaitMs?: number, retained = 0): DeploymentView["demand"] => ({
  waiting,
  estimatedWaitMs,
  retained,
});
const brief = ({ kind, workerId, version }: Change): string =>
  `${kind} ${workerId}${version === "1" ? "" : `@${version}`}`;

interface Case {
  readonly what: string;
  readonly workers: readonly WorkerView[];
  readonly given: Partial<DeploymentView>;
  readonly changes: readonly string[];
  readonly target?: number;
}

const three = [worker("a"), worker("b"), worker("c")];
const CASES: readonly Case[] = [
  { what: "nothing is asked, nothing is loaded", workers: three, given: {}, changes: [], target: 0 },
  {
    what: "the least number is loaded on different workers",
    workers: three,
    given: { minReplicas: 2 },
    changes: ["load a", "load b"],
  },
  {
    what: "the least number is spread over sites",
    workers: [worker("a"), worker("b"), worker("c", { site: "office" })],
    given: { minReplicas: 2, holders: new Set(["a", "b"]) },
    changes: ["load a", "load c"],
  },
  {
    what: "the first task that waits loads one, where the file is",
    workers: three,
    given: { demand: demand(50), holders: new Set(["c"]) },
    changes: ["load c"],
    target: 1,
  },
  {
    what: "next best is a worker at a site where another has the file",
    workers: [
      worker("a"),
      worker("b", { site: "office" }),
      worker("c", { site: "office", condition: "failing" }),
    ],
    given: { demand: demand(1), holders: new Set(["c"]) },
    changes: ["load b"],
  },
  {
    what: "a long wait adds one",
    workers: three,
    given: { replicas: [replica("a")], target: 1, demand: demand(9, LONG_WAIT_MS + 1, 4) },
    changes: ["load b"],
    target: 2,
  },
  {
    what: "a wait that is not long adds none, however many wait",
    workers: three,
    given: { replicas: [replica("a")], target: 1, demand: demand(900, LONG_WAIT_MS, 4) },
    changes: [],
    target: 1,
  },
  {
    what: "no second one is added before the first is ready",
    workers: three,
    given: {
      replicas: [replica("a"), replica("b", { state: "loading" })],
      target: 2,
      demand: demand(9, 60_000, 4),
    },
    changes: [],
    target: 2,
  },
  {
    what: "nor before its effect can be seen",
    workers: three,
    given: {
      replicas: [replica("a"), replica("b")],
      target: 2,
      isSettled: false,
      demand: demand(9, 60_000, 4),
    },
    changes: [],
    target: 2,
  },
  {
    what: "never more than the largest number",
    workers: three,
    given: { maxReplicas: 1, replicas: [replica("a")], target: 1, demand: demand(9, 60_000, 4) },
    changes: [],
    target: 1,
  },
  {
    what: "what has not been needed for long goes, down to the least number",
    workers: three,
    given: { minReplicas: 1, replicas: [replica("a"), replica("b"), replica("c")], target: 3 },
    changes: ["retire c", "retire b"],
    target: 1,
  },
  {
    what: "down to zero",
    workers: three,
    given: { replicas: [replica("a")], target: 1 },
    changes: ["retire a"],
    target: 0,
  },
  {
    what: "who retires is told to unload once it holds nothing",
    workers: three,
    given: {
      replicas: [replica("a", { state: "retiring" }), replica("b", { state: "retiring", inFlight: 1 })],
    },
    changes: ["unload a"],
  },
  {
    what: "who retires is kept when it is wanted again",
    workers: three,
    given: { replicas: [replica("b", { state: "retiring" })], demand: demand(1) },
    changes: ["keep b"],
  },
  {
    what: "a failing worker is replaced, and keeps its replica until the other is ready",
    workers: [worker("a", { condition: "failing" }), worker("b")],
    given: { minReplicas: 1, replicas: [replica("a")], target: 1 },
    changes: ["load b"],
  },
  {
    what: "then it retires",
    workers: [worker("a", { condition: "failing" }), worker("b")],
    given: { minReplicas: 1, replicas: [replica("a"), replica("b")], target: 1 },
    changes: ["retire a"],
  },
  {
    what: "a worker whose link has just broken is waited for",
    workers: [worker("a", { condition: "pausing" }), worker("b")],
    given: { minReplicas: 1, replicas: [replica("a")], target: 1 },
    changes: [],
  },
  {
    what: "a new version is loaded before the old one goes",
    workers: three,
    given: {
      minReplicas: 1,
      wanted: { ...V1, version: "2" },
      replicas: [replica("a")],
      target: 1,
      holders: new Set(["a"]),
    },
    changes: ["load a@2"],
  },
  {
    what: "the old version retires when the new one is ready",
    workers: three,
    given: {
      minReplicas: 1,
      wanted: { ...V1, version: "2" },
      replicas: [replica("a"), replica("a", { version: "2" })],
      target: 1,
    },
    changes: ["retire a"],
  },
  {
    what: "what is not deployed any more goes",
    workers: three,
    given: {
      wanted: undefined,
      maxReplicas: 0,
      replicas: [replica("a"), replica("b", { state: "loading" })],
    },
    changes: ["retire a"],
  },
  {
    what: "what has it loaded already is taken as it is",
    workers: three,
    given: { minReplicas: 1, loaded: new Set(["b"]) },
    changes: ["adopt b"],
  },
  {
    what: "unless there are too many of them",
    workers: three,
    given: { maxReplicas: 2, loaded: new Set(["a", "b", "c"]) },
    changes: ["adopt a", "adopt b", "dismiss c"],
  },
  {
    what: "a worker that failed to load it is passed over",
    workers: three,
    given: { minReplicas: 1, barred: new Set(["a"]) },
    changes: ["load b"],
  },
  {
    what: "providers and sites are not negotiable",
    workers: [
      worker("a", { providers: ["cpu"] }),
      worker("b", { providers: ["webgpu", "cpu"], site: "home" }),
      worker("c", { providers: ["webgpu", "cpu"] }),
    ],
    given: { minReplicas: 3, wanted: { ...V1, providers: [["webgpu"], undefined], sites: ["lab"] } },
    changes: ["load c"],
  },
  {
    what: "a worker that may prove itself is the last choice",
    workers: [worker("a", { condition: "doubtful" }), worker("b", { load: 9 })],
    given: { minReplicas: 1, holders: new Set(["a"]) },
    changes: ["load b"],
  },
];

describe("one step", () => {
  for (const { what, workers, given, changes, target } of CASES)
    test(what, () => {
      const wanted = plan([view(given)], workers);
      assert.deepEqual(wanted.changes.map(brief), changes);
      if (target !== undefined) assert.equal(wanted.targets.get("m"), target);
    });
});

test("GPU memory that the manifest asks for is given to one model after the other, and never twice", () => {
  const workers = [worker("a", { gpuBytes: 8 * GIB }), worker("b", { gpuBytes: 6 * GIB })];
  const needs = (gib: number): PlacedVersion => ({ ...V1, needBytes: gib * GIB, isNeedDeclared: true });
  const wanted = plan(
    [
      view({ model: "large", minReplicas: 1, wanted: needs(7) }),
      view({ model: "small", minReplicas: 2, wanted: needs(2) }),
    ],
    workers,
  );
  assert.deepEqual(
    wanted.changes.map(({ model, workerId }) => `${model} ${workerId}`),
    ["large a", "small b"],
  );
  assert.equal(
    wanted.shortfalls.get("small"),
    "No other worker can take it: 1 whose GPU memory is taken by other models.",
  );
});

// ---- whatever happens

interface World {
  workers: WorkerView[];
  replicas: ReplicaView[];
  target: number;
  barred: Set<string>;
  loaded: Set<string>;
}

const MIN = 1;
const MAX = 3;
type Happening =
  | { readonly kind: "condition"; readonly index: number; readonly condition: WorkerView["condition"] }
  | { readonly kind: "load ends"; readonly index: number; readonly isFailure: boolean }
  | { readonly kind: "in flight"; readonly index: number; readonly count: number }
  | { readonly kind: "gone"; readonly index: number }
  | { readonly kind: "stray"; readonly index: number }
  | { readonly kind: "patience" }
  | { readonly kind: "demand"; readonly waiting: number; readonly waitMs: number; readonly retained: number };

const index = fc.nat(7);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({
    kind: fc.constant("condition" as const),
    index,
    condition: fc.constantFrom("sound" as const, "doubtful" as const, "pausing" as const, "failing" as const),
  }),
  fc.record({ kind: fc.constant("load ends" as const), index, isFailure: fc.boolean() }),
  fc.record({ kind: fc.constant("in flight" as const), index, count: fc.nat(2) }),
  fc.record({ kind: fc.constant("gone" as const), index }),
  fc.record({ kind: fc.constant("stray" as const), index }),
  fc.constant({ kind: "patience" as const }),
  fc.record({
    kind: fc.constant("demand" as const),
    waiting: fc.nat(5),
    waitMs: fc.nat(2 * LONG_WAIT_MS),
    retained: fc.nat(MAX),
  }),
);

function happens(world: World, what: Happening): void {
  const { workers, replicas } = world;
  if (what.kind === "condition") {
    const at = what.index % workers.length;
    workers[at] = { ...(workers[at] as WorkerView), condition: what.condition };
  } else if (what.kind === "stray") {
    const { id } = workers[what.index % workers.length] as WorkerView;
    if (!replicas.some(({ workerId }) => workerId === id)) world.loaded.add(id);
  } else if (what.kind === "patience") world.barred.clear();
  const at = "index" in what && replicas.length > 0 ? what.index % replicas.length : -1;
  const chosen = replicas[at];
  if (chosen === undefined) return;
  if (what.kind === "load ends" && chosen.state === "loading") {
    if (!what.isFailure) replicas[at] = { ...chosen, state: "ready" };
    else {
      replicas.splice(at, 1);
      world.barred.add(chosen.workerId);
    }
  }
  if (what.kind === "in flight" && chosen.state !== "loading")
    replicas[at] = { ...chosen, inFlight: chosen.state === "ready" ? what.count : 0 };
  if (what.kind === "gone") world.replicas = replicas.filter(({ workerId }) => workerId !== chosen.workerId);
}

function step(world: World, asked: DeploymentView["demand"]): readonly Change[] {
  const { changes, targets } = plan(
    [
      view({
        minReplicas: MIN,
        maxReplicas: MAX,
        wanted: { ...V1, sites: ["lab", "office"] },
        replicas: world.replicas,
        target: world.target,
        demand: asked,
        barred: world.barred,
        loaded: world.loaded,
      }),
    ],
    world.workers,
  );
  for (const change of changes) apply(world, change);
  world.target = targets.get("m") ?? 0;
  return changes;
}

function apply(world: World, { kind, workerId }: Change): void {
  const at = world.replicas.findIndex((each) => each.workerId === workerId);
  const known = world.replicas[at];
  const where = world.workers.find(({ id }) => id === workerId);
  if (kind === "load" || kind === "adopt" || kind === "dismiss") {
    assert.equal(known, undefined, `${kind} on ${workerId}, which is a replica`);
    if (kind === "load") {
      assert.ok(
        where?.condition === "sound" || where?.condition === "doubtful",
        `load on a worker that is ${where?.condition}`,
      );
      assert.notEqual(where.site, "home");
      assert.ok(!world.barred.has(workerId), "load where it failed");
    } else assert.ok(world.loaded.delete(workerId));
    const state = { load: "loading", adopt: "ready", dismiss: "retiring" } as const;
    world.replicas.push(replica(workerId, { state: state[kind] }));
  } else if (kind === "unload") {
    assert.equal(known?.state, "retiring");
    assert.equal(known?.inFlight, 0, "unloaded while it held a task");
    world.replicas.splice(at, 1);
  } else {
    assert.ok(known !== undefined);
    assert.equal(known.state, kind === "retire" ? "ready" : "retiring");
    world.replicas[at] = { ...known, state: kind === "retire" ? "retiring" : "ready" };
  }
}

test("whatever happens: no load where it may not be, nothing unloaded that is in use, never too many, and it comes to rest", () => {
  const places = fc.array(fc.constantFrom("lab", "office", "home"), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(places, fc.array(happening, { maxLength: 40 }), (sites, happenings) => {
      const world: World = {
        workers: sites.map((site, i) => worker(`w${i}`, { site })),
        replicas: [],
        target: 0,
        barred: new Set(),
        loaded: new Set(),
      };
      let asked = demand(0);
      for (const what of happenings) {
        happens(world, what);
        if (what.kind === "demand") asked = demand(what.waiting, what.waitMs, what.retained);
        const readyBefore = goodReady(world);
        const changes = step(world, asked);
        const isRetired = changes.some(({ kind }) => kind === "retire");
        if (isRetired)
          assert.ok(goodReady(world) >= Math.min(readyBefore, world.target), "retired too early");
        const good = world.replicas.filter((each) => each.state !== "retiring" && isGood(world, each));
        assert.ok(good.length <= MAX + world.replicas.filter(({ state }) => state === "loading").length);
        assert.ok(world.target <= MAX && world.target >= MIN);
      }
      comesToRest(world);
    }),
    { numRuns: 300 },
  );
});

const isGood = ({ workers }: World, { workerId }: ReplicaView): boolean => {
  const found = workers.find(({ id }) => id === workerId);
  return found !== undefined && found.condition !== "failing" && found.site !== "home";
};
const goodReady = (world: World): number =>
  world.replicas.filter((each) => each.state === "ready" && isGood(world, each)).length;

/** Every load succeeds and every task ends: after a few steps nothing changes any more, and there are as many as there can be. */
function comesToRest(world: World): void {
  world.barred.clear();
  const rest = demand(0, 0, 0);
  for (let round = 0; round < 12; round += 1) {
    step(world, rest);
    world.replicas = world.replicas.map((each) => ({
      ...each,
      state: each.state === "loading" ? "ready" : each.state,
      inFlight: 0,
    }));
  }
  assert.deepEqual(step(world, rest), [], "it does not come to rest");
  const able = world.workers.filter(
    ({ condition, site }) => site !== "home" && (condition === "sound" || condition === "doubtful"),
  ).length;
  assert.ok(goodReady(world) >= Math.min(MIN, able), "fewer than there should be");
  if (goodReady(world) >= MIN) assert.equal(world.replicas.length, MIN, "more than there should be");
}
