import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeValue } from "@legacygpu/shared/protocol/codec";
import type { TaskInput } from "@legacygpu/shared/protocol/messages";
import { AttemptInputs } from "../../gateway/link/attempt-inputs.ts";
import { ManualClock } from "../support/manual-clock.ts";

const INPUT: TaskInput = { kind: "image", image: new Uint8Array(100).fill(7) };
const never = (): never => assert.fail("it is read again");

test("an input that is fetched piece by piece is read and encoded once", () => {
  const inputs = new AttemptInputs(new ManualClock());
  const bytes = inputs.encoded(1, () => INPUT);
  assert.deepEqual(decodeValue(bytes), INPUT);
  assert.equal(inputs.encoded(1, never), bytes);
  inputs.close();
});

test("what has been sent to its end is forgotten, and what is asked for no more as well", () => {
  const clock = new ManualClock();
  const inputs = new AttemptInputs(clock);
  inputs.encoded(1, () => INPUT);
  inputs.forget(1);
  assert.equal(inputs.count, 0);
  inputs.encoded(2, () => INPUT);
  clock.advance(29_000);
  inputs.encoded(2, never);
  clock.advance(29_000);
  assert.equal(inputs.count, 1, "it was asked for meanwhile");
  clock.advance(60_000);
  assert.equal(inputs.count, 0);
  assert.equal(clock.pendingCount, 0, "nothing is left to look after");
});

test("an input that cannot be read leaves nothing behind", () => {
  const inputs = new AttemptInputs(new ManualClock());
  assert.throws(() =>
    inputs.encoded(1, () => {
      throw new Error("gone");
    }),
  );
  assert.equal(inputs.count, 0);
});

test("beyond the bound those go that were asked for longest ago", () => {
  const inputs = new AttemptInputs(new ManualClock(), 300);
  inputs.encoded(1, () => INPUT);
  inputs.encoded(2, () => INPUT);
  inputs.encoded(1, never);
  inputs.encoded(3, () => INPUT);
  assert.equal(inputs.count, 2);
  inputs.encoded(1, never);
  inputs.encoded(3, never);
  let reads = 0;
  const read = (): TaskInput => {
    reads += 1;
    return INPUT;
  };
  assert.deepEqual(decodeValue(inputs.encoded(2, read)), INPUT, "what went is read again");
  assert.equal(reads, 1);
  inputs.close();
});

test("one that is larger than the bound is kept while it is the latest", () => {
  const inputs = new AttemptInputs(new ManualClock(), 50);
  inputs.encoded(1, () => INPUT);
  inputs.encoded(1, never);
  inputs.encoded(2, () => INPUT);
  assert.equal(inputs.count, 1);
  inputs.close();
});
