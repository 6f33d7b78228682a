import assert from "node:assert/strict";
import { test } from "node:test";
import { Adaptive } from "../../gateway/balancers/adaptive.ts";
import { GpuMatch } from "../../gateway/balancers/gpu-match.ts";
import { Latency } from "../../gateway/balancers/latency.ts";
import { LeastLoaded } from "../../gateway/balancers/least-loaded.ts";
import { RoundRobin } from "../../gateway/balancers/round-robin.ts";
import type { Candidate, Offer, Strategy } from "../../gateway/balancers/strategy.ts";
import { strategyNamed } from "../../gateway/balancers/strategy-name.ts";

const GIB = 2 ** 30;

function worker(id: string, slots: number, facts: Partial<Candidate> = {}): Candidate {
  return { id, slots, inFlight: 0, memoryBytes: undefined, hasCard: false, ...facts };
}

function offer(of: Candidate, times: Partial<Offer> = {}): Offer {
  return {
    worker: of,
    rttMs: 0,
    uploadMs: 0,
    serviceMs: 0,
    serviceBySpeedMs: 0,
    loadMs: 0,
    failureMs: 0,
    ...times,
  };
}

function choose(strategy: Strategy, workers: readonly Candidate[]): string {
  let best: Candidate | undefined;
  let bestPrice = Number.POSITIVE_INFINITY;
  for (const each of workers) {
    const price = strategy.price(offer(each));
    if (price >= bestPrice) continue;
    best = each;
    bestPrice = price;
  }
  if (best === undefined) throw new Error("There is nobody.");
  strategy.chosen?.(best);
  return best.id;
}

test("ROUND_ROBIN serves workers in proportion to their slots, and interleaved", () => {
  const workers = [worker("a", 5), worker("b", 1), worker("c", 1)];
  const strategy = new RoundRobin();
  const order = Array.from({ length: 14 }, () => choose(strategy, workers)).join("");
  assert.equal(order.replaceAll("a", "").length, 4);
  assert.equal([...order.slice(0, 7)].filter((id) => id === "a").length, 5);
  assert.doesNotMatch(order, /a{6}/);
  assert.doesNotMatch(order, /bb|cc/);
});

test("ROUND_ROBIN passes over who cannot be had, without a burst when it is back", () => {
  const [a, b, c] = [worker("a", 1), worker("b", 1), worker("c", 1)];
  const strategy = new RoundRobin();
  const whileAway = Array.from({ length: 20 }, () => choose(strategy, [a, c]));
  assert.equal(whileAway.filter((id) => id === "a").length, 10);
  const after = Array.from({ length: 9 }, () => choose(strategy, [a, b, c]));
  assert.equal(after.filter((id) => id === "b").length, 3);
});

test("ROUND_ROBIN gives a newcomer its share from now on, and no more", () => {
  const workers = [worker("a", 1), worker("b", 1)];
  const strategy = new RoundRobin();
  for (let i = 0; i < 1000; i += 1) choose(strategy, workers);
  workers.push(worker("new", 2));
  const order = Array.from({ length: 8 }, () => choose(strategy, workers));
  assert.equal(order.filter((id) => id === "new").length, 4);
});

test("LEAST_LOADED takes the fewest attempts per slot, and turns among equals", () => {
  const strategy = new LeastLoaded();
  assert.equal(
    choose(strategy, [worker("busy", 1, { inFlight: 1 }), worker("big", 4, { inFlight: 2 })]),
    "big",
  );
  const equals = [worker("a", 1), worker("b", 1), worker("c", 1)];
  assert.equal(Array.from({ length: 6 }, () => choose(strategy, equals)).join(""), "abcabc");
});

test("GPU_MATCH takes the smallest card, of equal ones the least loaded, and a machine without a card last", () => {
  const strategy = new GpuMatch();
  const cpu = worker("cpu", 4, { memoryBytes: 2 * GIB });
  const small = worker("small", 1, { hasCard: true, memoryBytes: 4 * GIB, inFlight: 3 });
  const alike = worker("alike", 1, { hasCard: true, memoryBytes: 4 * GIB - 2 ** 20 });
  const large = worker("large", 1, { hasCard: true, memoryBytes: 24 * GIB });
  assert.equal(choose(strategy, [cpu, large, small]), "small");
  assert.equal(choose(strategy, [cpu, large, small, alike]), "alike");
  assert.equal(choose(strategy, [cpu, large]), "large");
  assert.equal(choose(strategy, [cpu]), "cpu");
});

test("LATENCY and ADAPTIVE cost what the whole way costs, each with its own idea of the speed", () => {
  const times = { rttMs: 1, uploadMs: 2, serviceMs: 4, serviceBySpeedMs: 8, loadMs: 16, failureMs: 32 };
  assert.equal(new Adaptive().price(offer(worker("a", 1), times)), 1 + 2 + 4 + 16 + 32);
  assert.equal(new Latency().price(offer(worker("a", 1), times)), 1 + 2 + 8 + 16 + 32);
});

test("a strategy goes by any case, and by its older name", () => {
  assert.equal(strategyNamed("least_loaded"), "LEAST_LOADED");
  assert.equal(strategyNamed("latency_based"), "LATENCY");
});

test("an unknown strategy is refused with the names of the five", () => {
  assert.throws(
    () => strategyNamed("FASTEST"),
    (error: { code: string; message: string }) => {
      assert.equal(error.code, "strategy_unknown");
      for (const name of ["ROUND_ROBIN", "LEAST_LOADED", "GPU_MATCH", "LATENCY", "ADAPTIVE"])
        assert.match(error.message, new RegExp(name));
      return true;
    },
  );
});
