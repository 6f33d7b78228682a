import assert from "node:assert/strict";
import { test } from "node:test";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import fc from "fast-check";
import { Admission } from "../../gateway/queue/admission.ts";

const LIMITS = { maxTasks: 10, maxBytes: 1000, maxTasksPerKey: 6, maxBytesPerKey: 700 };

function refusalOf(attempt: () => void): LegacyGpuError {
  try {
    attempt();
  } catch (error) {
    if (error instanceof LegacyGpuError) return error;
    throw error;
  }
  return assert.fail("it was let in");
}

test("up to the limit everything is let in, and what is over it is refused whole", () => {
  const admission = new Admission(LIMITS);
  admission.reserve("key", 5, 100);
  refusalOf(() => admission.reserve("key", 2, 2));
  assert.deepEqual(admission.usageOf("key"), { tasks: 5, bytes: 100 });
  admission.reserve("key", 1, 600);
  assert.deepEqual(admission.usageOf("key"), { tasks: 6, bytes: 700 });
});

test("a key at its own limit is told its limit and how far it is, and others are let in", () => {
  const admission = new Admission(LIMITS);
  admission.reserve("key", 6, 0);
  const error = refusalOf(() => admission.reserve("key", 1, 0));
  assert.equal(error.code, "key_queue_full");
  assert.equal(error.status, 429);
  const { retryAfterSeconds, ...details } = error.details;
  assert.deepEqual(details, { pending: 6, requested: 1, limit: 6, unit: "tasks" });
  assert.ok(Number.isInteger(retryAfterSeconds) && Number(retryAfterSeconds) > 0);
  assert.match(error.message, /key has 6 tasks .* limit of 6/);
  admission.reserve("other", 1, 0);
});

test("bytes are bounded as tasks are", () => {
  const admission = new Admission(LIMITS);
  admission.reserve("key", 1, 650);
  const own = refusalOf(() => admission.reserve("key", 1, 51));
  assert.equal(own.code, "key_queue_full");
  assert.equal(own.details.unit, "bytes");
  assert.equal(own.details.pending, 650);
  const all = refusalOf(() => admission.reserve("other", 1, 351));
  assert.equal(all.code, "queue_full");
  assert.equal(all.status, 503);
  assert.deepEqual([all.details.unit, all.details.pending, all.details.limit], ["bytes", 650, 1000]);
  assert.match(all.message, /650 bytes .* limit of 1000/);
});

test("who has filled their own share is told so, also when the queue is full", () => {
  const admission = new Admission(LIMITS);
  admission.reserve("key", 6, 0);
  admission.reserve("other", 4, 0);
  assert.equal(refusalOf(() => admission.reserve("key", 1, 0)).code, "key_queue_full");
  assert.equal(refusalOf(() => admission.reserve("other", 1, 0)).code, "queue_full");
});

test("what an empty queue could not hold either is refused for good", () => {
  const admission = new Admission({ ...LIMITS, maxBytesPerKey: 5000 });
  const bytes = refusalOf(() => admission.reserve("key", 1, 1001));
  assert.equal(bytes.code, "body_too_large");
  assert.equal(bytes.retryable, false);
  assert.equal(bytes.details.limitBytes, 1000);
  assert.match(bytes.message, /never hold .* 1001 bytes .* limit is 1000/);
  const tasks = refusalOf(() => admission.reserve("key", 7, 0));
  assert.equal(tasks.code, "body_too_large");
  assert.deepEqual(tasks.details, { requested: 7, limit: 6, unit: "tasks" });
});

test("what an earlier start accepted is counted, over the limit too", () => {
  const admission = new Admission(LIMITS);
  admission.restore("key", 20, 5000);
  assert.deepEqual([admission.tasks, admission.bytes], [20, 5000]);
  assert.equal(refusalOf(() => admission.reserve("other", 1, 0)).code, "queue_full");
  admission.release("key", 15, 4500);
  admission.reserve("other", 1, 0);
});

test("more cannot be given back than was taken", () => {
  const admission = new Admission(LIMITS);
  admission.reserve("key", 1, 10);
  assert.throws(() => admission.release("key", 2, 10), RangeError);
  assert.throws(() => admission.release("key", 1, 11), RangeError);
  assert.throws(() => admission.release("other", 1, 0), RangeError);
  admission.release("key", 1, 10);
  assert.deepEqual([admission.tasks, admission.bytes], [0, 0]);
});

interface Request {
  readonly owner: string;
  readonly tasks: number;
  readonly bytes: number;
}

const request: fc.Arbitrary<Request> = fc.record({
  owner: fc.constantFrom("a", "b", "c"),
  tasks: fc.integer({ min: 1, max: 4 }),
  bytes: fc.nat(400),
});
const step = fc.oneof(
  request.map((value) => ({ kind: "reserve" as const, value })),
  fc.nat(20).map((index) => ({ kind: "release" as const, index })),
);

test("what is held is the sum of what was let in, and no limit is passed", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const admission = new Admission(LIMITS);
      const held: Request[] = [];
      const sum = (unit: "tasks" | "bytes", owner?: string): number =>
        held
          .filter((each) => owner === undefined || each.owner === owner)
          .reduce((total, each) => total + each[unit], 0);
      const fits = ({ owner, tasks, bytes }: Request): boolean =>
        sum("tasks") + tasks <= LIMITS.maxTasks &&
        sum("bytes") + bytes <= LIMITS.maxBytes &&
        sum("tasks", owner) + tasks <= LIMITS.maxTasksPerKey &&
        sum("bytes", owner) + bytes <= LIMITS.maxBytesPerKey;
      for (const each of steps) {
        if (each.kind === "release") {
          const [given] = held.splice(each.index % (held.length + 1), 1);
          if (given !== undefined) admission.release(given.owner, given.tasks, given.bytes);
        } else {
          const { owner, tasks, bytes } = each.value;
          if (fits(each.value)) {
            admission.reserve(owner, tasks, bytes);
            held.push(each.value);
          } else refusalOf(() => admission.reserve(owner, tasks, bytes));
        }
        assert.deepEqual([admission.tasks, admission.bytes], [sum("tasks"), sum("bytes")]);
        assert.equal(admission.owners, new Set(held.map(({ owner }) => owner)).size);
        for (const owner of ["a", "b", "c"]) {
          assert.deepEqual(admission.usageOf(owner), {
            tasks: sum("tasks", owner),
            bytes: sum("bytes", owner),
          });
        }
      }
    }),
    { numRuns: 500 },
  );
});
