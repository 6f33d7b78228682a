/** What is said of a task that no connected worker can run. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Requirements } from "@legacygpu/shared/manifest";
import { Site } from "../../gateway/registry/sites.ts";
import { type Hello, Worker, type WorkerLink } from "../../gateway/registry/worker.ts";
import { WorkerPath } from "../../gateway/registry/worker-path.ts";
import { isAble } from "../../gateway/scheduler/able.ts";
import { type Unmet, unmetRequirement } from "../../gateway/scheduler/unmet.ts";
import type { Placement } from "../../gateway/tasks/record.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { hello } from "../support/scheduler-rig.ts";

const GIB = 1024 ** 3;
const MODEL = { name: "big", version: "1" };
const LINK: WorkerLink = {
  sessionId: "s",
  keyId: "k",
  canSend: true,
  send: () => {},
  announce: () => {},
};

interface Box extends Partial<Hello> {
  /** Names of cards, each with its memory when it says so. */
  readonly cards?: readonly (readonly [name: string, gib?: number])[];
}

function box(id: string, { cards = [], ...more }: Box, needs?: Requirements): Worker {
  const gpus = cards.map(([name, gib]) => ({
    name,
    vendor: "any",
    ...(gib === undefined ? {} : { vramBytes: gib * GIB }),
  }));
  const hardware = { cpu: { model: "c", cores: 2 }, memoryBytes: 1, platform: "linux-x64", gpus };
  const clock = new ManualClock();
  const path = new WorkerPath(new Site(more.site ?? "lab", clock), clock);
  return new Worker(hello(id, { hardware, ...more }), LINK, 0, path, () => needs);
}

function fleet(needs?: Requirements): Worker[] {
  return [
    box(
      "box-1",
      { site: "berlin", labels: { tier: "old", region: "eu" }, cards: [["Radeon RX 580"]] },
      needs,
    ),
    box("box-2", { site: "berlin", providers: ["webgpu", "cpu"], labels: { region: "eu" } }, needs),
    box(
      "box-3",
      {
        site: "lab",
        providers: ["cuda", "cpu"],
        labels: { tier: "new" },
        cards: [["NVIDIA GeForce GTX 1070", 8]],
      },
      needs,
    ),
  ];
}

function unmet(
  placement: Placement | undefined,
  needs?: Requirements,
  workers = fleet(needs),
): Unmet | undefined {
  return unmetRequirement({ workers, requirements: { model: MODEL, placement }, needs, nowMs: 0 });
}

test("the requirement that nobody meets is named, with what there is instead", () => {
  const cases: [Placement, Unmet["requirement"], string][] = [
    [{ sites: ["paris"] }, "site", "No connected worker is at site paris; they are at berlin, lab."],
    [
      { labels: { tier: "mid" } },
      "label",
      "No connected worker has the label tier=mid; they have tier=new, old.",
    ],
    [
      { labels: { floor: "2" } },
      "label",
      "No connected worker has the label floor=2; none has a label floor.",
    ],
    [
      { residency: ["us", "ca"] },
      "residency",
      "No connected worker has the label region=us or ca; they have region=eu.",
    ],
    [
      { providers: ["coreml"] },
      "provider",
      "No connected worker has the provider coreml; they have cpu, cuda, webgpu.",
    ],
    [
      { families: ["Vega"] },
      "family",
      "No connected worker has a card of family Vega; they have Pascal, Polaris.",
    ],
    [
      { minVramBytes: 24 * GIB },
      "min_vram",
      "No connected worker has 24 GiB of VRAM; the largest has 8 GiB (box-3).",
    ],
  ];
  for (const [placement, requirement, reason] of cases)
    assert.deepEqual(unmet(placement), { requirement, reason });
});

test("what each is met by somebody, but not together, is named with those that come near", () => {
  assert.deepEqual(unmet({ sites: ["berlin"], providers: ["cuda"] }), {
    requirement: "provider",
    reason: "Site berlin: 2 workers, none of which has the provider cuda; they have cpu, webgpu.",
  });
  assert.deepEqual(unmet({ labels: { tier: "old" }, minVramBytes: 8 * GIB }), {
    requirement: "min_vram",
    reason: "Label tier=old: 1 worker, none of which has 8 GiB of VRAM; the largest has 4 GiB (box-1).",
  });
});

test("what the model needs is named as its own", () => {
  assert.deepEqual(unmet(undefined, { min_vram_mb: 12 * 1024 }), {
    requirement: "min_vram",
    reason: "No connected worker has 12 GiB of VRAM, which big@1 needs; the largest has 8 GiB (box-3).",
  });
  assert.deepEqual(unmet({ sites: ["berlin"] }, { providers: ["cuda"] }), {
    requirement: "provider",
    reason:
      "Site berlin: 2 workers, none of which has the provider cuda, which big@1 needs; they have cpu, webgpu.",
  });
});

test("family and memory have to be of the same card", () => {
  const two = [box("two", { cards: [["Radeon RX 580"], ["GeForce GTX 1070", 8]] })];
  assert.equal(unmet({ families: ["Polaris"], minVramBytes: 4 * GIB }, undefined, two), undefined);
  assert.equal(
    unmet({ families: ["Polaris"], minVramBytes: 8 * GIB }, undefined, two)?.reason,
    "No connected worker has 8 GiB of VRAM; the largest has 4 GiB (two).",
  );
});

test("memory that a card does not tell is taken from what such cards have", () => {
  const [known] = fleet();
  assert.ok(known !== undefined);
  assert.equal(isAble(known, { model: MODEL, placement: { minVramBytes: 4 * GIB } }, 0), true);
  assert.equal(isAble(known, { model: MODEL, placement: { minVramBytes: 5 * GIB } }, 0), false);
  assert.equal(box("b", { cards: [["Radeon RX 580"]] }, { min_vram_mb: 4096 }).canRun(MODEL, 0), true);
  assert.equal(box("b", { cards: [["Radeon RX 580"]] }, { min_vram_mb: 4097 }).canRun(MODEL, 0), false);
  assert.equal(
    unmet({ minVramBytes: GIB }, undefined, [box("bare", {})])?.reason,
    "No connected worker has 1 GiB of VRAM; none has a card whose memory is known.",
  );
});

test("data stays in its regions: only workers with one of their labels are able", () => {
  const able = (residency: string[]): string[] =>
    fleet()
      .filter((worker) => isAble(worker, { model: MODEL, placement: { residency } }, 0))
      .map(({ id }) => id);
  assert.deepEqual(able(["eu", "us"]), ["box-1", "box-2"]);
  // A worker that says nothing of its region is in none.
  assert.deepEqual(able(["us", ""]), []);
});

test("without a worker that takes tasks that is the reason", () => {
  assert.equal(unmet({ sites: ["paris"] }, undefined, [])?.requirement, "worker");
  const [first] = fleet();
  assert.ok(first !== undefined);
  first.state = "DRAINING";
  first.cause = "the operator said so";
  assert.equal(
    unmet(undefined, undefined, [first])?.reason,
    "No worker takes tasks now: box-1 is DRAINING (the operator said so).",
  );
});

test("nothing is unmet while somebody could run it, and a model that could not be loaded is its own reason", () => {
  assert.equal(unmet({ sites: ["berlin"], labels: { tier: "old" } }), undefined);
  const workers = fleet();
  for (const worker of workers) worker.modelFailed(MODEL, 0);
  assert.deepEqual(unmet(undefined, undefined, workers), {
    requirement: "model",
    reason: "No worker can run big@1: it could not be loaded",
  });
});
