import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseExactly, stringifyExactly } from "../../../gateway/tasks/exact-json.ts";

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);
/** Only those that a number cannot hold are bigints. */
const wide = fc
  .bigInt({ min: -(2n ** 64n), max: 2n ** 64n })
  .filter((value) => value > SAFE || value < -SAFE);
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    wide,
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.maxSafeInteger(),
    fc.array(tie("any")),
    fc.dictionary(
      fc.string().filter((key) => key !== "__proto__"),
      tie("any"),
      { noNullPrototype: true },
    ),
  ),
})).any;

/** A number that is whole, beyond what is exact, and no longer than 64 bits can be, comes back as what its digits say. */
function asRead(given: unknown): unknown {
  if (typeof given === "number" && Number.isInteger(given) && !Number.isSafeInteger(given)) {
    const digits = String(given);
    return /^-?\d{1,20}$/.test(digits) ? BigInt(digits) : given;
  }
  if (Array.isArray(given)) return given.map(asRead);
  if (typeof given !== "object" || given === null) return given;
  return Object.fromEntries(Object.entries(given).map(([key, each]) => [key, asRead(each)]));
}

test("what is written is read again, with all of its digits, and without bigints both are the engine's own", () => {
  fc.assert(
    fc.property(value, (given) => {
      const text = stringifyExactly(given);
      assert.deepEqual(parseExactly(text), asRead(given));
      assert.equal(stringifyExactly(parseExactly(text)), text);
    }),
  );
});

test("a number of a million digits is no bigint, which would take for ever to make", () => {
  assert.equal(parseExactly(`1${"0".repeat(1_000_000)}`), Number.POSITIVE_INFINITY);
});

test("numbers with many digits keep them; numbers in texts, fractions and exponents stay what they are", () => {
  const text = '{"a":[9007199254740993,-18446744073709551615,1234567890123456],"b":"[9007199254740993]",';
  const more = '"c":0.1234567890123456,"d":1e22,"e":"\\"9007199254740993"}';
  assert.deepEqual(parseExactly(text + more), {
    a: [9007199254740993n, -18446744073709551615n, 1234567890123456],
    b: "[9007199254740993]",
    c: 0.1234567890123456,
    d: 1e22,
    e: '"9007199254740993',
  });
  assert.equal(parseExactly(" 9007199254740993 "), 9007199254740993n);
  assert.equal(parseExactly("9007199254740991"), Number.MAX_SAFE_INTEGER);
});

test("what is no JSON is refused as the engine refuses it, also with many digits in it", () => {
  for (const text of ["", "[9007199254740993", "[09007199254740993]", "9007199254740993,"])
    assert.throws(() => parseExactly(text), SyntaxError);
});

test("nesting deeper than any stack is read", () => {
  const depth = 50_000;
  const text = `${"[".repeat(depth)}9007199254740993${"]".repeat(depth)}`;
  let at = parseExactly(text);
  for (let level = 0; level < depth; level += 1) at = (at as unknown[])[0];
  assert.equal(at, 9007199254740993n);
});

test("what JSON cannot say stays an error", () => {
  const cycle: unknown[] = [1n];
  cycle.push(cycle);
  assert.throws(() => stringifyExactly(cycle), TypeError);
});
