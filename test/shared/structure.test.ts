import assert from "node:assert/strict";
import { test } from "node:test";
import { Decoder, Encoder } from "@msgpack/msgpack";
import fc from "fast-check";
import { structureProblem } from "../../shared/protocol/structure.ts";
import { AGENT_VECTORS, GATEWAY_VECTORS } from "./protocol-vectors.ts";

const encoder = new Encoder();
const decoder = new Decoder({ maxArrayLength: 1000, maxMapLength: 1000 });
const bytesOf = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(" ", ""), "hex");

test("whatever the encoder writes is sound, up to the depth that is allowed", () => {
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "medium" },
      fc.constantFrom(null, true, false, Number.NaN, -1, 2 ** 40),
      fc.integer(),
      fc.double(),
      fc.string({ maxLength: 300 }),
      fc.uint8Array({ maxLength: 300 }),
      fc.date({ noInvalidDate: true }),
      fc.array(tie("value"), { maxLength: 20 }),
      fc.dictionary(fc.string(), tie("value"), { maxKeys: 20 }),
    ),
  })).value;
  fc.assert(fc.property(value, (given) => structureProblem(encoder.encode(given)) === undefined));
  assert.equal(structureProblem(encoder.encode(new Array(70_000).fill(1))), undefined);
  assert.equal(structureProblem(encoder.encode("x".repeat(70_000))), undefined);
  for (const [, , hex] of [...AGENT_VECTORS, ...GATEWAY_VECTORS])
    assert.equal(structureProblem(bytesOf(hex)), undefined);
});

test("what is let through the decoder takes too, but for keys of maps that are no text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      if (structureProblem(bytes) !== undefined) return;
      try {
        decoder.decode(bytes);
      } catch (error) {
        assert.match(String(error), /key|Max|UTF|ext|timestamp|__proto__/i);
      }
    }),
    { numRuns: 20_000 },
  );
});

test("a few bytes that promise millions are refused before anything is made of them", () => {
  for (const hex of [
    "dd ffffffff",
    "df ffffffff 01",
    "dc ffff dc ffff dc ffff",
    "c6 ffffffff 00",
    "db 00010000 61",
  ])
    assert.match(structureProblem(bytesOf(hex)) ?? "", /promises more/, hex);
  assert.match(structureProblem(Buffer.alloc(65_000, 0x91)) ?? "", /nested/);
});

test("an empty, a cut off and a too long value are refused", () => {
  assert.match(structureProblem(new Uint8Array()) ?? "", /begins no value/);
  assert.match(structureProblem(bytesOf("c1")) ?? "", /begins no value/);
  assert.match(structureProblem(bytesOf("92 01")) ?? "", /promises more|begins no value/);
  assert.match(structureProblem(bytesOf("a3 6162")) ?? "", /promises more/);
  assert.match(structureProblem(bytesOf("01 02")) ?? "", /more follows/);
});
