/**
 * Entry of a throw-away process: does this execution provider really compute here? Its drivers may crash or hang, so
 * nobody else's process should try.
 *
 * Usage: `node provider-trial PROVIDER`. Writes one line of JSON: `{"ok": true}` or `{"ok": false, "reason": …}`.
 */

import { encodeModel } from "@legacygpu/shared/onnx";
import { openModel } from "../executors/onnx.ts";

/** output = input × matrix: small, and nothing that an engine could leave to the processor as trivial. */
const SIZE = 8;
const FP32 = 1;

function trialModel(matrix: Float32Array): Uint8Array {
  const shape = { dim: [{ dimValue: SIZE }, { dimValue: SIZE }] };
  const square = { tensorType: { elemType: FP32, shape } };
  return encodeModel({
    irVersion: 8,
    opsetImport: [{ version: 17 }],
    graph: {
      name: "trial",
      node: [{ opType: "MatMul", input: ["input", "matrix"], output: ["output"] }],
      initializer: [
        { name: "matrix", dims: [SIZE, SIZE], dataType: FP32, rawData: new Uint8Array(matrix.buffer) },
      ],
      input: [{ name: "input", type: square }],
      output: [{ name: "output", type: square }],
    },
  });
}

async function tryProvider(provider: string): Promise<string | undefined> {
  const matrix = Float32Array.from({ length: SIZE * SIZE }, (_, index) => (index % 7) - 3);
  const ones = new Float32Array(SIZE * SIZE).fill(1);
  const model = await openModel(trialModel(matrix), { provider, threads: 1 });
  const data = new Uint8Array(ones.buffer);
  const [output] = await model.run([{ name: "input", datatype: "FP32", shape: [SIZE, SIZE], data }]);
  const got = new Float32Array(Uint8Array.from(output?.data ?? []).buffer);
  for (let column = 0; column < SIZE; column += 1) {
    let expected = 0;
    for (let row = 0; row < SIZE; row += 1) expected += matrix[row * SIZE + column] ?? 0;
    const difference = Math.abs((got[column] ?? Number.NaN) - expected);
    if (!(difference < 1e-2)) return `it computes wrong numbers: ${got[column]} instead of ${expected}`;
  }
  return undefined;
}

const reason = await tryProvider(process.argv[2] ?? "cpu").catch((error: Error) => error.message);
process.stdout.write(`${JSON.stringify(reason === undefined ? { ok: true } : { ok: false, reason })}\n`, () =>
  process.exit(0),
);
