/** Which strategy holds for which model, through restarts and changes of the configuration. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BalancingConfig } from "../../gateway/balancers/balancing-config.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";

const started = (documents: MemoryDocuments, configured = "LEAST_LOADED"): BalancingConfig =>
  new BalancingConfig({ documents, configured });

test("the configured strategy holds for every model until another is set", async () => {
  const config = started(new MemoryDocuments(), "adaptive");
  assert.deepEqual([config.name, config.nameFor("digits")], ["ADAPTIVE", "ADAPTIVE"]);
  assert.equal(await config.use("latency_based"), "LATENCY");
  assert.deepEqual([config.name, config.nameFor("digits")], ["LATENCY", "LATENCY"]);
});

test("a model has a strategy of its own until that is taken back", async () => {
  const config = started(new MemoryDocuments());
  assert.equal(await config.override("digits", "GPU_MATCH"), "GPU_MATCH");
  assert.deepEqual([config.nameFor("digits"), config.nameFor("other")], ["GPU_MATCH", "LEAST_LOADED"]);
  await config.use("ROUND_ROBIN");
  assert.deepEqual([config.nameFor("digits"), config.nameFor("other")], ["GPU_MATCH", "ROUND_ROBIN"]);
  assert.equal(await config.override("digits", undefined), "ROUND_ROBIN");
  assert.equal(config.nameFor("digits"), "ROUND_ROBIN");
  assert.equal(config.overrides.size, 0);
});

test("an unknown strategy changes nothing", async () => {
  const documents = new MemoryDocuments();
  const config = started(documents);
  await assert.rejects(config.use("FASTEST"), { code: "strategy_unknown" });
  await assert.rejects(config.override("digits", "FASTEST"), { code: "strategy_unknown" });
  assert.deepEqual([config.name, config.overrides.size], ["LEAST_LOADED", 0]);
  assert.equal(started(documents.copy()).name, "LEAST_LOADED");
});

test("after a restart what was set at run time holds, unless the configuration has been changed since", async () => {
  const documents = new MemoryDocuments();
  await started(documents).use("ADAPTIVE");
  assert.equal(started(documents.copy()).name, "ADAPTIVE");
  assert.equal(started(documents.copy(), "ROUND_ROBIN").name, "ROUND_ROBIN");
  await started(documents).use(undefined);
  assert.equal(started(documents.copy()).name, "LEAST_LOADED");
});

test("a start after any changes finds what the last one left", async () => {
  const strategy = fc.constantFrom("ROUND_ROBIN", "LATENCY", "ADAPTIVE", undefined);
  const change = fc.record({ model: fc.constantFrom("a", "b", undefined), strategy });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 20 }), async (changes) => {
      const documents = new MemoryDocuments();
      const config = started(documents);
      for (const { model, strategy } of changes)
        await (model === undefined ? config.use(strategy) : config.override(model, strategy));
      const again = started(documents.copy());
      assert.deepEqual(
        [again.name, [...again.overrides].sort()],
        [config.name, [...config.overrides].sort()],
      );
    }),
    { numRuns: 50 },
  );
});
