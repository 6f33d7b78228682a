import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { percentile } from "../../bench/load/percentile.ts";
import { makeReport, reportLine, reportText, thisMachine } from "../../bench/report.ts";
import { alternate, median, ratioOf, spreadOf } from "../../bench/rounds.ts";

const MACHINE = { cpu: "abacus", cores: 2, memoryMb: 1, platform: "wood", node: "20.0.0" };

describe("the report of a bench", () => {
  const report = makeReport(
    "e2e",
    {
      ratios: { rate_64: [0.3, 0.4, 0.5], overall: { ADAPTIVE: { mean: [1, 1.123456, 2] } } },
      counts: { requests: 1234567 },
      figures: { ours: { p50_ms_1: 0.123456 } },
    },
    MACHINE,
    "abc1234",
  );

  test("has its line in the agreed form: medians by name, their rounds under `spread`", () => {
    assert.deepEqual(JSON.parse(reportLine(report)), {
      bench: "e2e",
      commit: "abc1234",
      machine: MACHINE,
      ratios: {
        rate_64: 0.4,
        overall: { ADAPTIVE: { mean: 1.123 } },
        spread: { rate_64: [0.3, 0.4, 0.5], "overall.ADAPTIVE.mean": [1, 1.123, 2] },
      },
      counts: { requests: 1234567 },
      figures: { ours: { p50_ms_1: 0.1235 } },
    });
  });

  test("is one line", () => assert.doesNotMatch(reportLine(report), /\n/));

  test("has empty groups rather than none", () => {
    const { counts, figures, ratios } = makeReport("fuzz", { ratios: {} }, MACHINE, "abc1234");
    assert.deepEqual({ counts, figures, ratios }, { counts: {}, figures: {}, ratios: { spread: {} } });
  });

  test("shows people every number by its path", () => {
    const text = reportText(report);
    for (const shown of [
      /rate_64 +0\.4 +0\.3 … 0\.5/,
      /overall\.ADAPTIVE\.mean +1\.123/,
      /requests +1,234,567/,
      /ours\.p50_ms_1 +0\.1235/,
    ])
      assert.match(text, shown);
  });

  test("knows the machine", () => {
    const { cores, cpu } = thisMachine();
    assert.ok(cores >= 1 && cpu !== "");
  });
});

describe("rounds", () => {
  test("alternate, and turn around each time", async () => {
    const order: string[] = [];
    const side = (name: string) => async () => {
      order.push(name);
      return order.length;
    };
    const rounds = await alternate(5, { ours: side("ours"), relay: side("relay") });
    assert.equal(order.join(" "), "ours relay relay ours ours relay relay ours ours relay");
    assert.deepEqual(rounds[1], { relay: 3, ours: 4 });
  });

  test("are at least five", () =>
    assert.rejects(alternate(4, { ours: async () => 1 }), /4 rounds are too few/));

  test("count by the ratio within a round: a machine that slows down on the way changes nothing", () => {
    const rounds = [1, 0.5, 0.1, 0.2, 1].map((speed) => ({ ours: 40 * speed, relay: 100 * speed }));
    assert.deepEqual(
      ratioOf(rounds, ({ ours, relay }) => ours / relay).map((ratio) => ratio.toFixed(6)),
      ["0.400000", "0.400000", "0.400000"],
    );
  });

  test("have a median of odd and of even numbers of values", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 3, 2]), 2.5);
    assert.deepEqual(spreadOf([7]), [7, 7, 7]);
  });

  test("refuse what is no measurement", () => {
    assert.throws(() => spreadOf([]), /Nothing was measured/);
    assert.throws(() => ratioOf([{ ours: 1, relay: 0 }], ({ ours, relay }) => ours / relay), /Infinity/);
  });
});

test("a percentile is a value that was measured", () => {
  const sorted = Float64Array.from({ length: 200 }, (_, index) => index + 1);
  assert.equal(percentile(sorted, 0.5), 100);
  assert.equal(percentile(sorted, 0.99), 198);
  assert.equal(percentile(sorted, 1), 200);
  assert.equal(percentile([5], 0.99), 5);
});
