/** How a choice is shown. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { choiceJsonSchema } from "@legacygpu/shared/api/tasks";
import type { Choice } from "../../gateway/dispatch/choice.ts";
import { taskJson } from "../../gateway/tasks/task-json.ts";
import { sampleTask } from "../store/sample-tasks.ts";

const choice: Choice = {
  strategy: "LATENCY",
  decidedAtMs: Date.UTC(2026, 0, 2),
  chosenWorkerId: "near",
  candidates: [
    {
      workerId: "near",
      site: "lab",
      verdict: "chosen",
      predictedMs: 12.34567,
      parts: { rttMs: 2, waitMs: 0, serviceMs: 10.34567, loadMs: 0, transferMs: 0 },
    },
    { workerId: "away", site: "attic", verdict: "it drains", predictedMs: undefined, parts: undefined },
  ],
};

test("a task shows how its worker was chosen when it is asked, and only then", () => {
  const json = taskJson(sampleTask(), undefined, choice);
  assert.deepEqual(choiceJsonSchema.parse(json.choice), {
    strategy: "LATENCY",
    decided_at: "2026-01-02T00:00:00.000Z",
    chosen: "near",
    candidates: [
      {
        worker: "near",
        site: "lab",
        verdict: "chosen",
        predicted_ms: 12.346,
        parts: { rtt_ms: 2, wait_ms: 0, service_ms: 10.346, load_ms: 0, transfer_ms: 0 },
      },
      { worker: "away", site: "attic", verdict: "it drains", predicted_ms: null, parts: null },
    ],
  });
  assert.equal(
    taskJson(sampleTask(), undefined, { ...choice, chosenWorkerId: undefined }).choice?.chosen,
    null,
  );
  assert.equal("choice" in taskJson(sampleTask(), undefined), false);
});
