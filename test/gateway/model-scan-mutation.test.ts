/** Bytes that are no sound model: whatever they are, the look at them ends with a yes or a no. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeModel, encodeModel } from "@legacygpu/shared/onnx";
import { elementCount } from "@legacygpu/shared/tensor";
import fc from "fast-check";
import { buildEndlessLoop, buildStaticMemoryBomb } from "../../models/onnx/hostile.ts";
import { buildIdentity, buildMlp } from "../../models/onnx/synthetic.ts";
import {
  call,
  chain,
  expectReasons,
  int64s,
  modelOf,
  outside,
  reasonOf,
  scalar,
} from "./model-scan-graphs.ts";

describe("the scan of damaged bytes", () => {
  test("refuses bytes that another reader could take for another model", () => {
    const sound = buildIdentity();
    const graphTwice = Buffer.concat([sound, modelOf({ initializer: [outside] })]);
    expectReasons("repeated_field", { "two graphs": graphTwice });
    expectReasons("wire_type", {
      "a number where a message belongs": Uint8Array.of((7 << 3) | 0, 1),
      "a group": Buffer.concat([sound, Uint8Array.of((100 << 3) | 3, 6, (100 << 3) | 4, 6)]),
      "no field": Buffer.concat([sound, Uint8Array.of(0, 1)]),
    });
    expectReasons("not_onnx", {
      "cut off": sound.subarray(0, -1),
      "a tail that is too short": Buffer.concat([sound, Uint8Array.of((50 << 3) | 2, 3, 9)]),
    });
  });

  test("a file of a hundred thousand levels costs no stack", () => {
    expectReasons("nested_too_deep", { deep: deepFile(100_000) });
  });

  const seeds = [
    buildIdentity(),
    buildMlp({ widths: [4, 4, 2] }),
    buildEndlessLoop(),
    buildStaticMemoryBomb(),
  ];
  seeds.push(modelOf({ node: [call(0)] }, { functions: chain(3, 2) }));
  seeds.push(modelOf({ sparseInitializer: [{ values: scalar, indices: int64s([99]), dims: [10, 10] }] }));

  test("bytes changed at random are accepted or refused, and never anything else", () => {
    const change = fc.record({
      at: fc.nat(2000),
      kind: fc.constantFrom("set", "drop", "repeat", "insert"),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
    });
    let accepted = 0;
    const property = fc.property(
      fc.constantFrom(...seeds),
      fc.array(change, { minLength: 1, maxLength: 6 }),
      (seed, changes) => {
        let bytes = Buffer.from(seed);
        for (const { at: position, kind, bytes: more } of changes) {
          const at = position % (bytes.length + 1);
          const after = bytes.subarray(kind === "insert" ? at : at + more.length);
          const repeated = bytes.subarray(at, at + more.length);
          const between = { set: more, drop: [], repeat: Buffer.concat([repeated, repeated]), insert: more }[
            kind
          ];
          bytes = Buffer.concat([bytes.subarray(0, at), Uint8Array.from(between), after]);
        }
        if (reasonOf(bytes) === "accepted") accepted += 1;
      },
    );
    fc.assert(property, { numRuns: 3000 });
    assert.ok(accepted > 0);
  });

  test("what is accepted has nothing outside of the file, whatever was changed in the model", () => {
    const field = fc.constantFrom("dims", "dataType", "rawData", "externalData", "dataLocation", "name");
    const property = fc.property(
      field,
      fc.oneof(fc.integer(), fc.integer({ min: -2, max: 17 })),
      fc.nat(3),
      (key, number, index) => {
        const model = decodeModel(buildMlp({ widths: [4, 4, 2] }));
        const weights = [...(model.graph.initializer ?? [])];
        const changes: Readonly<Record<string, unknown>> = {
          dims: [number],
          dataType: number % 32,
          rawData: new Uint8Array(Math.abs(number) % 100),
          externalData: [{ key: "location", value: String(number) }],
          dataLocation: number,
          name: String.fromCharCode(Math.abs(number) % 65_536),
        };
        const before = weights[index]?.dims ?? [];
        weights[index] = { ...weights[index], [key]: changes[key] };
        const bytes = encodeModel({ ...model, graph: { ...model.graph, initializer: weights } });
        const isOutside = key === "externalData" || (key === "dataLocation" && number !== 0);
        const reason = reasonOf(bytes);
        if (isOutside) assert.equal(reason, "external_data");
        if (key === "dims") assert.equal(reason === "accepted", number === elementCount(before));
      },
    );
    fc.assert(property, { numRuns: 500 });
  });
});

/** Written from the inside out into one buffer. */
function deepFile(levels: number): Uint8Array {
  const buffer = Buffer.alloc(levels * 18 + 16);
  let start = buffer.length;
  const wrap = (id: number): void => {
    const length = buffer.length - start;
    const header = [(id << 3) | 2];
    let rest = length;
    for (; rest > 127; rest >>>= 7) header.push((rest & 127) | 128);
    header.push(rest);
    start -= header.length;
    buffer.set(header, start);
  };
  for (let level = 0; level < levels; level += 1) for (const id of [6, 5, 1]) wrap(id);
  wrap(7);
  return buffer.subarray(start);
}
