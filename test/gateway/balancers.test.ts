import assert from "node:assert/strict";
import { test } from "node:test";
import { Balancer } from "../../gateway/balancers/balancer.ts";
import { LeastLoaded } from "../../gateway/balancers/least-loaded.ts";
import { RoundRobin } from "../../gateway/balancers/round-robin.ts";

const worker = (id: string, slots: number, inFlight = 0) => ({ id, slots, inFlight });

test("ROUND_ROBIN serves workers in proportion to their slots, and interleaved", () => {
  const workers = [worker("a", 5), worker("b", 1), worker("c", 1)];
  const strategy = new RoundRobin();
  const order = Array.from({ length: 14 }, () => strategy.choose(workers).id).join("");
  assert.equal(order, "aabacaaaabacaa");
});

test("ROUND_ROBIN passes over who is not a candidate, without a burst when it is back", () => {
  const [a, b, c] = [worker("a", 1), worker("b", 1), worker("c", 1)];
  const strategy = new RoundRobin();
  const whileAway = Array.from({ length: 20 }, () => strategy.choose([a, c]).id);
  assert.deepEqual([whileAway.includes("b"), whileAway.filter((id) => id === "a").length], [false, 10]);
  const after = Array.from({ length: 9 }, () => strategy.choose([a, b, c]).id);
  assert.deepEqual(after.filter((id) => id === "b").length, 3);
});

test("LEAST_LOADED takes the fewest attempts per slot, and turns among equals", () => {
  const strategy = new LeastLoaded();
  assert.equal(strategy.choose([worker("busy", 1, 1), worker("big", 4, 2)]).id, "big");
  const equals = [worker("a", 1), worker("b", 1), worker("c", 1)];
  assert.equal(Array.from({ length: 6 }, () => strategy.choose(equals).id).join(""), "abcabc");
});

test("an unknown strategy is refused with the names of the five", () => {
  const balancer = new Balancer("least_loaded");
  assert.equal(balancer.name, "LEAST_LOADED");
  assert.throws(
    () => balancer.use("FASTEST"),
    (error: { code: string; message: string }) => {
      assert.equal(error.code, "strategy_unknown");
      for (const name of ["ROUND_ROBIN", "LEAST_LOADED", "GPU_MATCH", "LATENCY", "ADAPTIVE"])
        assert.match(error.message, new RegExp(name));
      return true;
    },
  );
  assert.equal(balancer.name, "LEAST_LOADED");
});

test("a strategy that this version does not have says what there is", () => {
  assert.throws(() => new Balancer("ADAPTIVE"), {
    code: "strategy_unavailable",
    message: /ROUND_ROBIN, LEAST_LOADED/,
  });
});
