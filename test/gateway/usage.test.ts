import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LimitsConfig } from "../../gateway/limits/limits-config.ts";
import type { Document } from "../../gateway/store/task-store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { until } from "../support/until.ts";
import { detailsOf, head, keyOf, LimitsRig, NOON, refusalOf, withBody } from "./limits-rig.ts";

const HOUR_MS = 3_600_000;
const ACME = keyOf("acme");
const OTHER = keyOf("other");

class CountingDocuments extends MemoryDocuments {
  puts = 0;

  override put(documents: readonly Document[]): Promise<void> {
    this.puts += 1;
    return super.put(documents);
  }
}

/** The writing that has begun is done. */
const written = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

const usedBy = (rig: LimitsRig, tenant = "acme"): Record<string, number> => {
  const { tasks, gpuSeconds, bytes, requests } = rig.quotas.usage(tenant);
  return { tasks: tasks.used, gpu: gpuSeconds.used, bytes: bytes.used, requests: requests.used };
};

/** The gateway begins anew with what is on the disk. */
const restarted = (rig: LimitsRig, config: LimitsConfig = {}): LimitsRig =>
  new LimitsRig(config, { clock: new ManualClock(rig.clock.now()), documents: rig.documents.copy() });

test("requests, bytes, tasks and GPU time are counted for each tenant", () => {
  const rig = new LimitsRig();
  rig.limits.enter(ACME, withBody(100)).leave(70);
  rig.limits.enter(ACME, head()).leave(0);
  rig.limits.enter(OTHER, head()).leave(5);
  rig.quotas.chargeTasks(ACME, 3);
  rig.quotas.taskRan("acme", 1250);
  rig.quotas.taskRan("acme", 250);
  assert.deepEqual(usedBy(rig), { tasks: 3, gpu: 1.5, bytes: 70, requests: 2 });
  assert.deepEqual(usedBy(rig, "other"), { tasks: 0, gpu: 0, bytes: 5, requests: 1 });
  assert.deepEqual(usedBy(rig, "nobody"), { tasks: 0, gpu: 0, bytes: 0, requests: 0 });
});

test("a limited request counts the same as one without limits", () => {
  const rig = new LimitsRig({ perKey: { bytesPerSecond: 1000 }, perAddress: { requestsPerSecond: 100 } });
  rig.limits.enter(ACME, withBody(100)).leave(70);
  assert.ok(refusalOf(() => rig.limits.enter(ACME, withBody(5000))));
  rig.limits.enterUnknown(head()).leave(50);
  assert.deepEqual(usedBy(rig), { tasks: 0, gpu: 0, bytes: 70, requests: 1 });
});

test("counts are written at most every 5 seconds, and not at all while nothing happens", async () => {
  const documents = new CountingDocuments();
  const rig = new LimitsRig({}, { documents });
  for (let i = 0; i < 50; i += 1) {
    rig.limits.enter(keyOf(`tenant-${i % 7}`), head()).leave(1);
    rig.clock.advance(100);
    await written();
  }
  assert.equal(documents.puts, 1);
  assert.equal(documents.ids("usage").length, 7);
  rig.clock.advance(5000);
  await written();
  assert.equal(documents.puts, 1);
  assert.equal(rig.clock.pendingCount, 0);
});

test("a restart goes on with what was written; what is lost is younger than 5 seconds", async () => {
  const rig = new LimitsRig();
  rig.quotas.chargeTasks(ACME, 4);
  rig.clock.advance(5000);
  await written();
  rig.quotas.chargeTasks(ACME, 2);
  rig.clock.advance(4999);
  await written();
  assert.equal(usedBy(restarted(rig)).tasks, 4);
  rig.clock.advance(1);
  await written();
  const second = restarted(rig);
  assert.equal(second.quotas.chargeTasks(ACME, 1) > 0, true);
  assert.equal(usedBy(second).tasks, 7);
});

test("closing writes what has not been written, and leaves no timer behind", async () => {
  const rig = new LimitsRig();
  rig.quotas.chargeTasks(ACME, 4);
  await rig.ledger.close();
  await rig.ledger.close();
  assert.equal(usedBy(restarted(rig)).tasks, 4);
  rig.quotas.chargeTasks(ACME, 1);
  assert.equal(rig.clock.pendingCount, 0);
});

test("what a full disk did not take is written when there is room again", async () => {
  const rig = new LimitsRig();
  rig.documents.isFull = true;
  rig.quotas.chargeTasks(ACME, 4);
  rig.clock.advance(5000);
  await written();
  assert.deepEqual(rig.documents.ids("usage"), []);
  rig.documents.isFull = false;
  rig.clock.advance(5000);
  await until("the counts to be stored", () => rig.documents.ids("usage").length === 1);
  assert.equal(usedBy(restarted(rig)).tasks, 4);
});

test("every day begins with nothing, and the day before is kept for 40 days", async () => {
  const rig = new LimitsRig();
  rig.quotas.chargeTasks(ACME, 4);
  const visit = rig.limits.enter(ACME, head());
  rig.clock.advance(12 * HOUR_MS - 1);
  assert.equal(usedBy(rig).tasks, 4);
  rig.quotas.chargeTasks(ACME, 1);
  rig.clock.advance(1);
  assert.deepEqual(usedBy(rig), { tasks: 0, gpu: 0, bytes: 0, requests: 0 });
  visit.leave(10);
  rig.quotas.chargeTasks(ACME, 2);
  assert.deepEqual(usedBy(rig), { tasks: 2, gpu: 0, bytes: 10, requests: 0 });
  await rig.ledger.close();
  const ids = rig.documents.ids("usage");
  assert.deepEqual(ids, ["2026-01-02/acme", "2026-01-03/acme"]);
  assert.deepEqual(rig.documents.get("usage", ids[0] ?? ""), { tasks: 5, gpuMs: 0, bytes: 0, requests: 1 });
  assert.equal(rig.documents.expiryOf("usage", ids[0] ?? ""), Date.UTC(2026, 1, 11));
});

test("a wall clock that is set back goes on with the counts of that day", () => {
  const clock = new SettableClock(NOON);
  const rig = new LimitsRig({}, { clock });
  rig.quotas.chargeTasks(ACME, 4);
  clock.shiftMs = 24 * HOUR_MS;
  rig.quotas.chargeTasks(ACME, 1);
  assert.equal(usedBy(rig).tasks, 1);
  clock.shiftMs = 0;
  rig.quotas.chargeTasks(ACME, 1);
  assert.equal(usedBy(rig).tasks, 5);
  clock.shiftMs = 24 * HOUR_MS;
  assert.equal(usedBy(rig).tasks, 1);
});

class SettableClock extends ManualClock {
  shiftMs = 0;

  override now(): number {
    return super.now() + this.shiftMs;
  }
}

test("a stored count that cannot be read does not keep anybody out", async () => {
  for (const value of ["nonsense", { tasks: -1, gpuMs: 0, bytes: 0, requests: 0 }]) {
    const documents = new MemoryDocuments();
    await documents.put([{ collection: "usage", id: "2026-01-02/acme", value }]);
    const rig = new LimitsRig({}, { documents });
    rig.limits.enter(ACME, head());
    assert.equal(usedBy(rig).requests, 1);
  }
});

type Step =
  | { readonly kind: "count"; readonly tenant: number; readonly tasks: number }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "crash" }
  | { readonly kind: "restart" };

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("count" as const),
        tenant: fc.nat(2),
        tasks: fc.integer({ min: 1, max: 9 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 8000 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  ),
  { maxLength: 40 },
);

test("however often the gateway crashes, it never forgets what is older than 5 seconds and never counts twice", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (given: readonly Step[]) => {
      let rig = new LimitsRig({}, { clock: new ManualClock(NOON), documents: new MemoryDocuments() });
      let charged: { atMs: number; tenant: string; tasks: number }[] = [];
      for (const step of given) {
        if (step.kind === "count") {
          const tenant = `tenant-${step.tenant}`;
          rig.quotas.chargeTasks({ tenant }, step.tasks);
          charged.push({ atMs: rig.clock.now(), tenant, tasks: step.tasks });
        } else if (step.kind === "wait") {
          rig.clock.advance(step.ms);
          await written();
        } else {
          if (step.kind === "restart") await rig.ledger.close();
          const before = rig.clock.now();
          rig = restarted(rig);
          const kept: typeof charged = [];
          for (const tenant of ["tenant-0", "tenant-1", "tenant-2"]) {
            const own = charged.filter((charge) => charge.tenant === tenant);
            const sum = (charges: typeof own): number =>
              charges.reduce((total, { tasks }) => total + tasks, 0);
            const found = usedBy(rig, tenant).tasks ?? 0;
            const certain = step.kind === "restart" ? own : own.filter(({ atMs }) => before - atMs >= 5000);
            assert.ok(found >= sum(certain) && found <= sum(own), `${found} of ${sum(own)}`);
            kept.push({ atMs: 0, tenant, tasks: found });
          }
          charged = kept;
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("tasks over the quota of the day are refused, all or nothing, and tomorrow begins anew", () => {
  const rig = new LimitsRig({ dailyQuotas: { default: { tasks: 10 } } });
  rig.quotas.chargeTasks(ACME, 8);
  const refusal = refusalOf(() => rig.quotas.chargeTasks(ACME, 3));
  assert.equal(refusal?.code, "quota_exceeded");
  assert.deepEqual(refusal.details, {
    quota: "tasks",
    used: 8,
    requested: 3,
    limit: 10,
    resetsAt: "2026-01-03T00:00:00.000Z",
    retryAfterSeconds: 43_200,
  });
  assert.equal(usedBy(rig).tasks, 8);
  rig.quotas.chargeTasks(ACME, 2);
  assert.ok(refusalOf(() => rig.quotas.chargeTasks(ACME, 1)));
  assert.equal(
    refusalOf(() => rig.quotas.chargeTasks(OTHER, 10)),
    undefined,
  );
  rig.clock.advance(43_200_000);
  assert.equal(
    refusalOf(() => rig.quotas.chargeTasks(ACME, 10)),
    undefined,
  );
});

test("what could not be stored is given back, unless its day is over", () => {
  const rig = new LimitsRig({ dailyQuotas: { default: { tasks: 10 } } });
  const day = rig.quotas.chargeTasks(ACME, 10);
  rig.quotas.refundTasks(ACME, 4, day);
  assert.equal(usedBy(rig).tasks, 6);
  rig.clock.advance(12 * HOUR_MS);
  rig.quotas.refundTasks(ACME, 6, day);
  assert.equal(usedBy(rig).tasks, 0);
});

test("more than a day's quota at once is told that it never fits", () => {
  const rig = new LimitsRig({ dailyQuotas: { default: { tasks: 10 } } });
  const refusal = refusalOf(() => rig.quotas.chargeTasks(ACME, 11));
  assert.match(refusal?.message ?? "", /send less at a time/);
});

test("who has used up the GPU seconds gets no further task in", () => {
  const rig = new LimitsRig({ dailyQuotas: { default: { gpuSeconds: 2 } } });
  rig.quotas.chargeTasks(ACME, 100);
  rig.quotas.taskRan("acme", 1999);
  rig.quotas.chargeTasks(ACME, 1);
  rig.quotas.taskRan("acme", 5000);
  const { quota, used, limit } = detailsOf(() => rig.quotas.chargeTasks(ACME, 1));
  assert.deepEqual({ quota, used, limit }, { quota: "gpu_seconds", used: 6.999, limit: 2 });
});

test("bytes are held against the quota as they are announced, and only those that came are counted", () => {
  const rig = new LimitsRig({ dailyQuotas: { default: { bytes: 1000 } } });
  const first = rig.limits.enter(ACME, withBody(600));
  const { quota, used, requested } = detailsOf(() => rig.limits.enter(ACME, withBody(600)));
  assert.deepEqual({ quota, used, requested }, { quota: "bytes", used: 600, requested: 600 });
  first.leave(100);
  assert.equal(usedBy(rig).bytes, 100);
  rig.limits.enter(ACME, withBody(900)).leave(900);
  assert.ok(refusalOf(() => rig.limits.enter(ACME, withBody(1))));
  assert.ok(refusalOf(() => rig.limits.enter(ACME, head({ headers: { "transfer-encoding": "chunked" } }))));
  assert.equal(
    refusalOf(() => rig.limits.enter(ACME, head())),
    undefined,
    "it has no body",
  );
  assert.equal(
    refusalOf(() => rig.limits.enter(OTHER, withBody(1000))),
    undefined,
  );
});

test("a request that the quota refuses does not use up the rate", () => {
  const rig = new LimitsRig({
    perKey: { requestsPerSecond: 1, requestBurst: 2, concurrentRequests: 2 },
    dailyQuotas: { default: { bytes: 10 } },
  });
  for (let i = 0; i < 5; i += 1)
    assert.equal(refusalOf(() => rig.limits.enter(ACME, withBody(11)))?.code, "quota_exceeded");
  assert.equal(
    rig.letIn(9, () => rig.limits.enter(ACME, withBody(1))),
    2,
  );
});

test("a tenant's own quota replaces of the default what it names", () => {
  const rig = new LimitsRig({
    dailyQuotas: {
      default: { tasks: 10, bytes: 1000 },
      tenants: { acme: { tasks: 100 }, free: { tasks: null, bytes: null }, constructor: { tasks: 1 } },
    },
  });
  const limits = (tenant: string): (number | undefined)[] => {
    const { tasks, gpuSeconds, bytes } = rig.quotas.usage(tenant);
    return [tasks.limit, gpuSeconds.limit, bytes.limit];
  };
  assert.deepEqual(limits("other"), [10, undefined, 1000]);
  assert.deepEqual(limits("acme"), [100, undefined, 1000]);
  assert.deepEqual(limits("free"), [undefined, undefined, undefined]);
  assert.deepEqual(limits("constructor"), [1, undefined, 1000]);
  assert.deepEqual(limits("__proto__"), [10, undefined, 1000]);
});
