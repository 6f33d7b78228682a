/** Approval, revocation, and what a restart and a crash leave of enrolled workers. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import fc from "fast-check";
import { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { Challenges } from "../../gateway/workers/challenges.ts";
import { Enrolment } from "../../gateway/workers/enrolment.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { Box, EnrolmentRig, problemOf } from "./enrolment-rig.ts";

function open(
  documents: ConstructorParameters<typeof Enrolment>[0]["documents"],
  clock: ManualClock,
): Enrolment {
  return new Enrolment({
    documents,
    clock,
    audit: { record() {} },
    caPem: () => undefined,
    approval: "automatic",
    isConnected: () => false,
  });
}

async function newSecret({ joinTokens }: Enrolment, uses = 1, site = "lab"): Promise<string> {
  return (await joinTokens.create({ site, ttlMs: 60_000, uses })).secret;
}

const wanted = ({ id, publicKey }: Box) => ({ id, publicKey, host: id });

async function identityOf(enrolment: Enrolment, box: Box): Promise<string> {
  const challenge = enrolment.challenges.issue(box.id);
  return (await enrolment.prove({ worker_id: box.id, challenge, signature: box.sign(challenge) })).text;
}

describe("approval", () => {
  test("by hand: a worker that has joined gets no identity before an operator approves it", async (t) => {
    const rig = await EnrolmentRig.start(t, { approval: "manual" });
    const box = new Box("box-1");
    const { secret } = await rig.token();
    assert.equal((await rig.enrol(secret, box)).body.status, "pending");
    const refused = await rig.prove(box);
    assert.deepEqual(problemOf(refused), [403, "worker_not_approved"]);
    assert.equal(refused.body.retryable, true);
    assert.deepEqual(problemOf(await rig.prove(new Box("box-1"), { worker_id: "box-1" })), [
      401,
      "auth_invalid",
    ]);
    rig.clock.advance(1000);
    const approved = await rig.call("POST", "/workers/box-1/approve");
    assert.deepEqual(
      [approved.status, approved.body.status, approved.body.approved_at],
      [200, "approved", new Date(rig.clock.now()).toISOString()],
    );
    assert.equal((await rig.whoIs(await rig.identity(box))).status, 200);
    rig.clock.advance(1000);
    const again = await rig.call("POST", "/workers/box-1/approve");
    assert.equal(again.body.approved_at, approved.body.approved_at);
    assert.deepEqual(problemOf(await rig.call("POST", "/workers/none/approve")), [404, "worker_not_found"]);
    assert.equal(rig.told("worker.approve").length, 2);
  });

  test("by hand is asked for again when a box is set up anew", async (t) => {
    const rig = await EnrolmentRig.start(t, { approval: "manual" });
    const { secret } = await rig.token("lab", { uses: 2 });
    await rig.enrol(secret, new Box("box-1"));
    await rig.call("POST", "/workers/box-1/approve");
    const anew = new Box("box-1");
    assert.equal((await rig.enrol(secret, anew)).body.status, "pending");
    assert.deepEqual(problemOf(await rig.prove(anew)), [403, "worker_not_approved"]);
  });
});

describe("revocation", () => {
  test("lasts: neither the token nor the key from before brings the worker back, a new token with a new key does", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const box = new Box("box-1");
    const many = await rig.token("lab", { uses: 5 });
    const older = await rig.token("lab");
    await rig.enrol(many.secret, box);
    rig.clock.advance(1000);
    const revoked = await rig.call("DELETE", "/workers/box-1");
    rig.clock.advance(1000);
    assert.deepEqual(
      (await rig.call("DELETE", "/workers/box-1")).body,
      revoked.body,
      "twice is no more than once",
    );
    assert.deepEqual(problemOf(await rig.call("POST", "/workers/box-1/approve")), [403, "worker_revoked"]);
    const fresh = await rig.token("office");
    for (const [secret, which] of [
      [many.secret, new Box("box-1")],
      [older.secret, new Box("box-1")],
      [many.secret, box],
      [fresh.secret, box],
    ] as const)
      assert.deepEqual(problemOf(await rig.enrol(secret, which)), [403, "worker_revoked"]);
    const anew = new Box("box-1");
    const back = await rig.enrol(fresh.secret, anew);
    assert.deepEqual([back.status, back.body.site, back.body.status], [201, "office", "approved"]);
    assert.equal((await rig.whoIs(await rig.identity(anew))).body.sites[0], "office");
    assert.deepEqual(problemOf(await rig.prove(box)), [401, "auth_invalid"]);
    assert.deepEqual(problemOf(await rig.call("DELETE", "/workers/none")), [404, "worker_not_found"]);
  });

  test("counts at once although it cannot be stored, and is stored when it is done again", async (t) => {
    const documents = new MemoryDocuments();
    const rig = await EnrolmentRig.start(t, { documents });
    const identity = await rig.join(new Box("box-1"));
    documents.isFull = true;
    assert.deepEqual(problemOf(await rig.call("DELETE", "/workers/box-1")), [503, "store_full"]);
    assert.equal((await rig.whoIs(identity)).status, 401);
    assert.equal(open(documents.copy(), rig.clock).workers.get("box-1")?.status, "approved");
    documents.isFull = false;
    assert.equal((await rig.call("DELETE", "/workers/box-1")).status, 200);
    assert.equal(open(documents.copy(), rig.clock).workers.get("box-1")?.status, "revoked");
    assert.deepEqual(
      rig.told("worker.revoke").map(({ outcome, target }) => [outcome, target]),
      [
        ["failed", "box-1"],
        [undefined, "box-1"],
      ],
    );
  });

  test("wins over every change of the same worker that is under way, in memory and on disk", async () => {
    const clock = new ManualClock();
    const documents = new MemoryDocuments();
    const enrolment = open(documents, clock);
    const box = new Box("box-1");
    await enrolment.workers.enrol(await newSecret(enrolment), wanted(box));
    const renewal = identityOf(enrolment, box);
    await new Promise(setImmediate);
    const outcomes = await Promise.allSettled([
      identityOf(enrolment, box),
      enrolment.workers.revoke("box-1"),
      identityOf(enrolment, box),
      renewal,
    ]);
    const alive = outcomes.flatMap((outcome) =>
      outcome.status === "fulfilled" && typeof outcome.value === "string" ? [outcome.value] : [],
    );
    for (const identity of alive)
      assert.throws(() => enrolment.workers.authenticate(identity), { code: "auth_invalid" });
    const later = open(documents, clock);
    assert.equal(later.workers.get("box-1")?.status, "revoked");
    assert.deepEqual(later.workers.get("box-1")?.identities, []);
  });
});

test("a proof of the old key gets nothing when the worker is replaced meanwhile", async () => {
  const enrolment = open(new MemoryDocuments(), new ManualClock());
  const [old, anew] = [new Box("box-1"), new Box("box-1")];
  const secret = await newSecret(enrolment, 2);
  await enrolment.workers.enrol(secret, wanted(old));
  const replaced = enrolment.workers.enrol(secret, wanted(anew));
  await assert.rejects(identityOf(enrolment, old), { code: "auth_invalid" });
  assert.equal((await replaced).kind, "replaced");
});

test("a restart finds workers, identities and tokens as they were, on a real disk", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-workers-"));
  t.after(() => rm(folder, { recursive: true }));
  const clock = new ManualClock();
  const openStore = () =>
    LmdbTaskStore.open({
      path: join(folder, "tasks.mdb"),
      clock,
      log: createLogger("test", "silent"),
      maxFinished: 10,
      maxFinishedAgeMs: Number.POSITIVE_INFINITY,
      maxStoredBytes: Number.POSITIVE_INFINITY,
      reserveBytes: 0,
    });
  const firstStore = await openStore();
  const first = open(firstStore.documents, clock);
  const secret = await newSecret(first, 3);
  const boxes = ["box-1", "box-2"].map((id) => new Box(id));
  const identities: string[] = [];
  for (const box of boxes) {
    await first.workers.enrol(secret, wanted(box));
    identities.push(await identityOf(first, box));
  }
  await first.workers.revoke("box-2");
  const before = { workers: first.workers.list(), tokens: first.joinTokens.list() };
  await firstStore.close();

  const store = await openStore();
  t.after(() => store.close());
  const second = open(store.documents, clock);
  assert.deepEqual({ workers: second.workers.list(), tokens: second.joinTokens.list() }, before);
  assert.equal(second.workers.authenticate(identities[0] ?? "").workerId, "box-1");
  assert.throws(() => second.workers.authenticate(identities[1] ?? ""), { code: "auth_invalid" });
  assert.equal(second.joinTokens.recognise(secret).usesLeft, 1);
});

test("a stored worker that is damaged stops the start and is named", async () => {
  const documents = new MemoryDocuments();
  await documents.put([{ collection: "workers", id: "box-1", value: { id: "box-1", status: "admitted" } }]);
  assert.throws(() => open(documents, new ManualClock()), {
    code: "store_corrupt",
    message: /workers\/box-1/,
  });
});

test("thousands of workers are read at the start, each with its own identity", async () => {
  const clock = new ManualClock();
  const documents = new MemoryDocuments();
  const first = open(documents, clock);
  const secret = await newSecret(first, 3000);
  const box = new Box("box");
  const ids = Array.from({ length: 3000 }, (_, i) => `box-${i}`);
  await Promise.all(ids.map((id) => first.workers.enrol(secret, { id, publicKey: box.publicKey, host: id })));
  const proofs = ids.slice(0, 300).map(async (id) => {
    const challenge = first.challenges.issue(id);
    const proof = { worker_id: id, challenge, signature: box.sign(challenge, id) };
    return [id, (await first.prove(proof)).text] as const;
  });
  const identities = await Promise.all(proofs);
  const second = open(documents, clock);
  assert.equal(second.workers.list().length, 3000);
  for (const [id, text] of identities) assert.equal(second.workers.authenticate(text).workerId, id);
});

test("however uses, failures of the disk and crashes mix, no token lets in more workers than it has uses", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.constantFrom("enrol", "enrol-together", "full", "room", "crash"), { maxLength: 12 }),
      async (uses, steps) => {
        const clock = new ManualClock();
        let documents = new MemoryDocuments();
        let enrolment = open(documents, clock);
        const secret = await newSecret(enrolment, uses);
        const letIn = new Set<string>();
        let count = 0;
        const enrol = async (): Promise<void> => {
          count += 1;
          const box = new Box(`box-${count}`);
          const outcome = await enrolment.workers.enrol(secret, wanted(box)).catch(() => undefined);
          if (outcome !== undefined) letIn.add(box.id);
        };
        for (const step of steps) {
          if (step === "enrol") await enrol();
          if (step === "enrol-together") await Promise.all([enrol(), enrol(), enrol()]);
          if (step === "full") documents.isFull = true;
          if (step === "room") documents.isFull = false;
          if (step === "crash") {
            documents = documents.copy();
            enrolment = open(documents, clock);
          }
        }
        assert.ok(letIn.size <= uses, `${letIn.size} of ${uses}`);
        const known = enrolment.workers.list().map(({ id }) => id);
        assert.deepEqual(known.sort(), [...letIn].sort(), "who was let in is registered, and nobody else");
        assert.equal(enrolment.joinTokens.recognise(secret).usesLeft, uses - letIn.size);
      },
    ),
    { numRuns: 40 },
  );
});

describe("challenges", () => {
  test("end after a minute and do not fill the memory", () => {
    const clock = new ManualClock();
    const challenges = new Challenges(clock, 3);
    const [first, ...others] = ["a", "b", "c", "d"].map((id) => [challenges.issue(id), id] as const);
    assert.equal(challenges.size, 3);
    assert.equal(challenges.take(...(first ?? assert.fail())), false, "the oldest made room");
    for (const issued of others) assert.equal(challenges.take(...issued), true);
    const early = challenges.issue("a");
    clock.advance(59_999);
    const late = challenges.issue("a");
    assert.equal(challenges.take(early, "a"), true);
    challenges.issue("a");
    clock.advance(60_000);
    assert.equal(challenges.take(late, "a"), false);
    challenges.issue("a");
    assert.equal(challenges.size, 1, "those that have ended are forgotten");
  });
});
