/** Which models a worker may be asked for: what they need of it, and what it said of them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Requirements } from "@legacygpu/shared/manifest";
import { Site } from "../../gateway/registry/sites.ts";
import { Worker, type WorkerLink } from "../../gateway/registry/worker.ts";
import { WorkerPath } from "../../gateway/registry/worker-path.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { hello } from "../support/scheduler-rig.ts";

const MIB = 1024 * 1024;
const MODEL = { name: "m", version: "1" };
const LINK: WorkerLink = {
  sessionId: "s",
  keyId: "k",
  canSend: true,
  send: () => {},
  announce: () => {},
};

function workerWith(providers: string[], vramMib: readonly number[], needs?: Requirements): Worker {
  const gpus = vramMib.map((mib) => ({ name: "card", vendor: "AMD", vramBytes: mib * MIB }));
  const hardware = { cpu: { model: "c", cores: 2 }, memoryBytes: 1, platform: "linux-x64", gpus };
  const clock = new ManualClock();
  const path = new WorkerPath(new Site("home", clock), clock);
  return new Worker(hello("w", { providers, hardware }), LINK, 0, path, () => needs);
}

test("a worker is asked only for models whose providers and memory it has", () => {
  const cases: [Requirements | undefined, boolean][] = [
    [undefined, true],
    [{}, true],
    [{ providers: ["cuda", "webgpu"] }, true],
    [{ providers: ["cuda"] }, false],
    [{ min_vram_mb: 8192 }, true],
    [{ min_vram_mb: 8193 }, false],
    [{ providers: ["webgpu"], min_vram_mb: 8193 }, false],
  ];
  for (const [needs, isAble] of cases)
    assert.equal(
      workerWith(["webgpu", "cpu"], [2048, 8192], needs).canRun(MODEL, 0),
      isAble,
      JSON.stringify(needs),
    );
  assert.equal(workerWith(["cpu"], [], { min_vram_mb: 1 }).canRun(MODEL, 0), false);
});

test("a worker that keeps a model out is not asked for as long as it says, or until it has it again", () => {
  const worker = workerWith(["cpu"], []);
  const state = { type: "model_state" as const, ...MODEL };
  worker.heard({ ...state, state: "failed", reason: "it crashes", retryAfterMs: 600_000 }, 1000);
  worker.modelFailed(MODEL, 2000);
  assert.equal(worker.canRun(MODEL, 600_999), false);
  assert.equal(worker.canRun({ ...MODEL, version: "2" }, 2000), true);
  assert.equal(worker.canRun(MODEL, 601_001), true);
  worker.heard({ ...state, state: "failed", retryAfterMs: 600_000 }, 700_000);
  assert.equal(worker.canRun(MODEL, 700_000), false);
  worker.heard({ ...state, state: "unloaded" }, 700_001);
  assert.equal(worker.canRun(MODEL, 700_001), true);
});
