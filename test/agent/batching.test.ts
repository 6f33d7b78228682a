/** Tasks that run as one, in the work of a runner process: who goes together, and what each gets. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import fc from "fast-check";
import sharp from "sharp";
import { GraphBuilder } from "../../models/onnx/graph-builder.ts";
import { buildFailsOnSomeInputs } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { floats } from "../support/fake-gateway.ts";
import { LoopRig } from "../support/loop-rig.ts";

const BATCHED: Manifest = { batching: { max_size: 8, max_delay_ms: 0 } };

async function withRig(work: (rig: LoopRig) => Promise<void>): Promise<void> {
  const rig = await LoopRig.start();
  try {
    await work(rig);
  } finally {
    await rig.close();
  }
}

function indices(...values: number[]): Tensor {
  const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return { name: "input", datatype: "INT64", shape: [values.length], data };
}

function strings(...values: string[]): Tensor {
  const parts = values.map((value) => {
    const text = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text]);
  });
  return {
    name: "input",
    datatype: "BYTES",
    shape: [values.length],
    data: new Uint8Array(Buffer.concat(parts)),
  };
}

/** `a` and `b` FP32 [N, C, D] to `sum` [N, C, D] and `largest` [N, D]. */
function buildTwoInputs(): Uint8Array {
  const graph = new GraphBuilder("pair");
  const [a, b] = ["a", "b"].map((name) => graph.input(name, "FP32", ["N", "C", "D"])) as [string, string];
  const sum = graph.node("Add", [a, b]);
  graph.output("sum", "FP32", ["N", "C", "D"], sum);
  graph.output("largest", "FP32", ["N", "D"], graph.node("ReduceMax", [sum], { axes: [1], keepdims: 0 }));
  return graph.encode();
}

/** `input` FP32 [N, 4] to those of its rows whose sum is positive: as many as there are. */
function buildFilter(): Uint8Array {
  const graph = new GraphBuilder("filter");
  const input = graph.input("input", "FP32", ["N", 4]);
  const sums = graph.node("ReduceSum", [input, graph.int64([1])], { keepdims: 0 });
  const isKept = graph.node("Greater", [sums, graph.fp32(Float32Array.of(0), [])]);
  graph.output("output", "FP32", ["M", 4], graph.node("Compress", [input, isKept], { axis: 0 }));
  return graph.encode();
}

function buildStrings(): Uint8Array {
  const graph = new GraphBuilder("strings");
  graph.output("output", "BYTES", ["N"], graph.node("Identity", [graph.input("input", "BYTES", ["N"])]));
  return graph.encode();
}

test("what each task of a batch gets is what it gets alone, whatever the shapes and rows", async () => {
  await withRig(async (rig) => {
    await rig.load("joined", buildTwoInputs(), { batching: { max_size: 7, max_delay_ms: 0 } });
    await rig.load("alone", buildTwoInputs(), {});
    const task = fc.record({
      rows: fc.integer({ min: 1, max: 4 }),
      // Few, so that some go together and some do not.
      shape: fc.constantFrom([1, 2], [3, 2]),
      outputs: fc.constantFrom(undefined, ["largest"]),
      isSwapped: fc.boolean(),
      seed: fc.integer({ min: -1000, max: 1000 }),
    });
    const property = fc.asyncProperty(fc.array(task, { minLength: 1, maxLength: 12 }), async (tasks) => {
      const before = rig.runs.length;
      const inputs = tasks.map(({ rows, shape, isSwapped, seed }): TaskInput => {
        const full = [rows, ...shape];
        const count = full.reduce((product, size) => product * size, 1);
        const values = (factor: number) =>
          Float32Array.from({ length: count }, (_, i) => factor * (seed + i));
        const tensors = [floats("a", full, [...values(1)]), floats("b", full, [...values(-0.5)])];
        return { kind: "tensors", tensors: isSwapped ? tensors.toReversed() : tensors };
      });
      const send = (model: string) => inputs.map((input, i) => rig.run(model, input, tasks[i]?.outputs));
      const joined = await rig.all(send("joined"));
      const joinedRuns = rig.runs.slice(before);
      const alone = await rig.all(send("alone"));
      const outputs = (answers: typeof alone) =>
        answers.map((answer) => answer.type === "done" && answer.output);
      assert.deepEqual(outputs(joined), outputs(alone));
      assert.ok(joinedRuns.every((rows) => rows <= 7));
      const total = tasks.reduce((sum, { rows }) => sum + rows, 0);
      assert.equal(
        joinedRuns.reduce((sum, rows) => sum + rows, 0),
        total,
      );
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

test("tasks that wait run as one, up to the size, and say so; order and answers stay theirs", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 2 }), BATCHED);
    const seqs = Array.from({ length: 20 }, (_, i) => rig.run("m", floats("input", [1, 2], i)));
    const answers = await rig.all(seqs);
    assert.deepEqual(rig.runs, [8, 8, 4]);
    assert.deepEqual(
      rig.answers.map(({ seq }) => seq),
      seqs,
    );
    for (const [i, answer] of answers.entries()) {
      assert.ok(answer.type === "done");
      assert.deepEqual(answer.output.tensors, [floats("output", [1, 2], i)]);
      assert.equal(answer.timings.batchSize, i < 16 ? 8 : 4);
    }
  });
});

test("a task that is alone runs at once, though it might wait for others", async (t) => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 2 }), { batching: { max_size: 8, max_delay_ms: 1000 } });
    // No timer fires: one that waits for others waits for ever.
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const seq = rig.run("m", floats("input", [1, 2], 1));
    for (let turn = 0; turn < 1000 && rig.answerTo(seq) === undefined; turn += 1)
      await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.reset();
    const answer = rig.answerTo(seq);
    assert.ok(answer?.type === "done");
    assert.equal(answer.timings.batchSize, undefined);
    assert.ok(!rig.reports.some(({ type }) => type === "batch"));
  });
});

test("tasks of several shapes and models go with their like; the oldest is never left behind", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildTwoInputs(), BATCHED);
    await rig.load("other", buildIdentity({ size: 2 }), {});
    const pair = (size: number): TaskInput => ({
      kind: "tensors",
      tensors: [floats("a", [1, 1, size], 1), floats("b", [1, 1, size], 2)],
    });
    const [a1, b1, o1, a2, b2, a3] = [
      rig.run("m", pair(1)),
      rig.run("m", pair(2)),
      rig.run("other", floats("input", [1, 2], 9)),
      rig.run("m", pair(1)),
      rig.run("m", pair(2)),
      rig.run("m", pair(1)),
    ];
    await rig.all([a1, b1, o1, a2, b2, a3]);
    assert.deepEqual(
      rig.answers.map(({ seq }) => seq),
      [a1, a2, a3, b1, b2, o1],
    );
    assert.deepEqual(rig.runs, [3, 2, 1]);
    const batches = rig.reports.flatMap((report) => (report.type === "batch" ? [report.seqs] : []));
    assert.deepEqual(batches, [
      [a1, a2, a3],
      [b1, b2],
    ]);
  });
});

test("rows count, not tasks, and what is larger than the bound runs alone", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 1 }), BATCHED);
    const rows = [3, 3, 3, 20, 2, 8];
    await rig.all(rows.map((count) => rig.run("m", floats("input", [count, 1], count))));
    assert.deepEqual(rig.runs, [8, 3, 20, 8]);
  });
});

test("one bad task does not fail its neighbours", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildFailsOnSomeInputs(), BATCHED);
    const seqs = [0, 1, 99, 3].map((index) => rig.run("m", indices(index)));
    const answers = await rig.all(seqs);
    assert.deepEqual(
      answers.map((answer) => (answer.type === "done" ? answer.output.tensors[0] : answer.error.code)),
      [floats("output", [1], 10), floats("output", [1], 20), "model_run_failed", floats("output", [1], 40)],
    );
    assert.deepEqual(rig.runs, [4, 1, 1, 1, 1]);
    const batches = rig.reports.flatMap((report) => (report.type === "batch" ? [report.seqs] : []));
    assert.deepEqual(batches, [seqs, seqs.slice(0, 1)]);
    await rig.all([0, 1].map((index) => rig.run("m", indices(index))));
    assert.equal(rig.runs.at(-1), 2, "the next ones are joined again");
  });
});

test("a task whose bytes do not fill its shape takes nothing from its neighbour", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildStrings(), BATCHED);
    const tooMany = { ...strings("mine", "mine too"), shape: [1] };
    const answers = await rig.all(
      [tooMany, strings("yours"), strings("", "theirs")].map((t) => rig.run("m", t)),
    );
    assert.deepEqual(
      answers.map((answer) => (answer.type === "done" ? answer.output.tensors[0]?.data : answer.error.code)),
      ["input_invalid", strings("yours").data, strings("", "theirs").data],
    );
    assert.deepEqual(rig.runs, [1, 3]);
  });
});

test("a task that was withdrawn is not part of a batch", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 1 }), BATCHED);
    const seqs = [1, 2, 3, 4].map((value) => rig.run("m", floats("input", [1, 1], value)));
    rig.skip(seqs[0] as number);
    rig.skip(seqs[2] as number);
    const answers = await rig.all(seqs);
    assert.deepEqual(
      answers.map((answer) => (answer.type === "failed" ? answer.error.code : "done")),
      ["task_cancelled", "done", "task_cancelled", "done"],
    );
    assert.deepEqual(rig.runs, [2]);
  });
});

test("a task that is withdrawn while its batch fails is not run again", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildFailsOnSomeInputs(), BATCHED);
    const seqs = [99, 1, 2].map((index) => rig.run("m", indices(index)));
    rig.beforeRun = () => rig.skip(seqs[1] as number);
    const answers = await rig.all(seqs);
    assert.deepEqual(
      answers.map((answer) => (answer.type === "failed" ? answer.error.code : "done")),
      ["model_run_failed", "task_cancelled", "done"],
    );
    assert.deepEqual(rig.runs, [3, 1, 1]);
  });
});

test("a model that answers with other rows than it was given is not batched any more, and nobody notices", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildFilter(), BATCHED);
    const run = () => [1, -2, 3].map((value) => rig.run("m", floats("input", [1, 4], value)));
    for (const runs of [
      [3, 1, 1, 1],
      [1, 1, 1],
    ]) {
      rig.runs.length = 0;
      const answers = await rig.all(run());
      assert.deepEqual(
        answers.map((answer) => answer.type === "done" && answer.output.tensors[0]),
        [floats("output", [1, 4], 1), floats("output", [0, 4], 0), floats("output", [1, 4], 3)],
      );
      assert.deepEqual(rig.runs, runs);
    }
    const limits = rig.reports.filter((report) => report.type === "batch_limit");
    assert.deepEqual(
      limits.map(({ modelKey, maxRows, reason }) => [modelKey, maxRows, reason]),
      [["m", 1, "output `output` is [2, 4] for 3 rows of input"]],
    );
  });
});

test("a model without a variable first dimension is run task by task", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 2, isBatched: false }), BATCHED);
    await rig.all([1, 2, 3].map((value) => rig.run("m", floats("input", [2], value))));
    assert.deepEqual(rig.runs, [2, 2, 2]);
    assert.ok(!rig.reports.some(({ type }) => type === "batch"));
  });
});

test("where memory does not last for a batch, the next ones are half as large", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 1 }), BATCHED);
    rig.beforeRun = (rows) => {
      if (rows > 4) throw fail("out_of_memory", "too many rows");
    };
    const send = () => Array.from({ length: 8 }, (_, i) => rig.run("m", floats("input", [1, 1], i)));
    const answers = await rig.all(send());
    assert.ok(answers.every(({ type }) => type === "done"));
    rig.runs.length = 0;
    await rig.all(send());
    assert.deepEqual(rig.runs, [4, 4]);
  });
});

test("a limit that was learned before holds from the loading on", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildIdentity({ size: 1 }), BATCHED, 3);
    await rig.all(Array.from({ length: 5 }, (_, i) => rig.run("m", floats("input", [1, 1], i))));
    assert.deepEqual(rig.runs, [3, 2]);
  });
});

const PICTURES: Manifest = {
  preprocess: {
    kind: "image",
    width: 4,
    height: 4,
    layout: "NCHW",
    colors: "RGB",
    fit: "fill",
    background: "#ffffff",
    scale: 1,
    mean: 0,
    std: 1,
  },
  // Longer than any decoding takes: a batch that is complete does not wait to its end.
  batching: { max_size: 4, max_delay_ms: 1000 },
};

function buildPictures(): Uint8Array {
  const graph = new GraphBuilder("pictures");
  const input = graph.input("input", "FP32", ["N", 3, 4, 4]);
  const mean = graph.node("ReduceMean", [input], { axes: [1, 2, 3], keepdims: 0 });
  graph.output("output", "FP32", ["N"], mean);
  return graph.encode();
}

async function grey(level: number): Promise<TaskInput> {
  const image = sharp({
    create: { width: 8, height: 8, channels: 3, background: { r: level, g: level, b: level } },
  });
  return { kind: "image", image: new Uint8Array(await image.png().toBuffer()) };
}

test("pictures are decoded one by one and run as one; those that are being decoded are waited for", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildPictures(), PICTURES);
    const pictures = await Promise.all([10, 20, 30, 40].map(grey));
    const answers = await rig.all(pictures.map((picture) => rig.run("m", picture)));
    assert.deepEqual(
      answers.map((answer) => answer.type === "done" && answer.output.tensors[0]),
      [10, 20, 30, 40].map((level) => floats("output", [1], level)),
    );
    assert.deepEqual(rig.runs, [4]);
  });
});

test("a picture that is none fails alone, at the head of a batch or inside it", async () => {
  await withRig(async (rig) => {
    await rig.load("m", buildPictures(), PICTURES);
    const none: TaskInput = { kind: "image", image: Buffer.from("no picture") };
    const given = [none, await grey(1), none, await grey(2)];
    const answers = await rig.all(given.map((picture) => rig.run("m", picture)));
    assert.deepEqual(
      answers.map((answer) => (answer.type === "failed" ? answer.error.code : "done")),
      ["image_invalid", "done", "image_invalid", "done"],
    );
    assert.deepEqual(rig.runs, [2]);
  });
});
