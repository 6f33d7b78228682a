import assert from "node:assert/strict";
import { test } from "node:test";
import type { Datatype } from "@legacygpu/shared/tensor";
import fc from "fast-check";
import { parseTensors, tensorToJson } from "../../gateway/tasks/tensor-json.ts";

const place = { model: "m", path: "inputs" };
const parse = (
  datatype: Datatype,
  shape: number[],
  data: unknown[],
  declared: number[] = shape.map(() => -1),
) =>
  parseTensors([{ name: "x", datatype, shape, data }], [{ name: "x", datatype, shape: declared }], place)[0];

const ELEMENTS: Readonly<Record<Exclude<Datatype, "FP16">, fc.Arbitrary<unknown>>> = {
  BOOL: fc.boolean(),
  UINT8: fc.integer({ min: 0, max: 255 }),
  UINT16: fc.integer({ min: 0, max: 65535 }),
  UINT32: fc.integer({ min: 0, max: 0xffffffff }),
  UINT64: fc.oneof(fc.maxSafeNat(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n })),
  INT8: fc.integer({ min: -128, max: 127 }),
  INT16: fc.integer({ min: -32768, max: 32767 }),
  INT32: fc.integer(),
  INT64: fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n })),
  FP32: fc.float({ noNaN: true, noDefaultInfinity: true }),
  FP64: fc.double({ noNaN: true, noDefaultInfinity: true }),
  BYTES: fc.string({ unit: "grapheme" }),
};

for (const [datatype, element] of Object.entries(ELEMENTS) as [
  Exclude<Datatype, "FP16">,
  fc.Arbitrary<unknown>,
][]) {
  test(`${datatype}: what goes in comes out`, () => {
    fc.assert(
      fc.property(fc.array(element, { maxLength: 40 }), (data) => {
        const tensor = parse(datatype, [data.length], data);
        assert.ok(tensor);
        assert.deepEqual(tensorToJson(tensor).data, data);
      }),
    );
  });
}

test("nested arrays are read in row-major order, in any mix", () => {
  const tensor = parse("INT32", [2, 3], [[1, 2, 3], 4, [5, [6]]]);
  assert.ok(tensor);
  assert.deepEqual(tensorToJson(tensor).data, [1, 2, 3, 4, 5, 6]);
});

test("a dimension of zero is an empty tensor", () => {
  assert.equal(parse("FP32", [0, 4], [])?.data.length, 0);
});

test("numbers that the type cannot hold are refused, with the place", () => {
  const cases: [Datatype, unknown, RegExp][] = [
    ["UINT8", 256, /between 0 and 255/],
    ["INT8", -129, /between -128 and 127/],
    ["INT32", 1.5, /not an integer/],
    ["UINT64", -1, /between 0/],
    // Its digits were lost before it came here.
    ["INT64", 2 ** 53, /not an integer/],
    ["INT64", 2n ** 63n, /between/],
    ["UINT64", 2n ** 64n, /between/],
    ["INT32", 2n ** 53n, /between/],
    ["BOOL", 1, /not true or false/],
    ["FP32", null, /not a number/],
    ["BYTES", 1, /not a string/],
  ];
  for (const [datatype, element, text] of cases) {
    assert.throws(() => parse(datatype, [1], [element]), {
      code: "input_invalid",
      message: text,
      details: { path: "inputs[0].data[0]", model: "m" },
    });
  }
});

test("FP16 cannot be sent in JSON, and is readable when a model gives it", () => {
  assert.throws(() => parse("FP16", [1], [1]), { code: "input_invalid", message: /FP16/ });
  const data = new Uint8Array(new Uint16Array([0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00]).buffer);
  const json = tensorToJson({ name: "y", datatype: "FP16", shape: [5], data });
  assert.deepEqual(json.data, [1, -2, 65504, 2 ** -24, Number.POSITIVE_INFINITY]);
});

test("a small shape with very much data is refused without reading all of it", () => {
  const endless = new Proxy([] as unknown[], {
    get: (target, key) => {
      if (key === "length") return 10_000_000;
      if (typeof key === "string" && Number(key) > 1000) throw new Error("read too far");
      return typeof key === "string" && /^\d+$/.test(key) ? 0 : Reflect.get(target, key);
    },
  });
  assert.throws(() => parse("FP32", [2], [endless]), { code: "input_invalid", message: /more than 2/ });
});

test("every input that the model declares must be there, once", () => {
  const specs = [
    { name: "a", datatype: "FP32" as const, shape: [1] },
    { name: "b", datatype: "FP32" as const, shape: [1] },
  ];
  const tensor = { name: "a", datatype: "FP32" as const, shape: [1], data: [1] };
  assert.throws(() => parseTensors([tensor], specs, place), {
    message: /expected 2 inputs but got 1.*missing required input\(s\) \['b'\]/,
  });
  assert.throws(() => parseTensors([tensor, tensor], specs, place), { message: /given twice/ });
});
