/** How a box with a join token becomes a worker, and whose place it takes. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { enrolledSchema, enrolledWorkerListSchema } from "@legacygpu/shared/api/enrolment";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { Box, EnrolmentRig, problemOf } from "./enrolment-rig.ts";

describe("enrolment", () => {
  test("registers a box at the site of its token, and says so to administrators and in the audit log", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { secret, id: join_token } = await rig.token("lab");
    const box = new Box("box-1");
    const answer = await rig.enrol(secret, box, "deep-thought");
    assert.deepEqual(enrolledSchema.parse(answer.body), {
      worker_id: "box-1",
      site: "lab",
      status: "approved",
    });
    const at = new Date(rig.clock.now()).toISOString();
    const list = enrolledWorkerListSchema.parse((await rig.call("GET", "/workers")).body);
    assert.deepEqual(list.workers, [
      {
        id: "box-1",
        site: "lab",
        host: "deep-thought",
        status: "approved",
        enrolled_at: at,
        approved_at: at,
        revoked_at: null,
        renewed_at: null,
        identity_expires_at: null,
        is_connected: false,
        join_token,
      },
    ]);
    assert.deepEqual(rig.told("worker.enrol"), [
      {
        action: "worker.enrol",
        actor: join_token,
        actorName: "join token",
        target: "box-1",
        details: { site: "lab", host: "deep-thought", status: "approved", join_token },
      },
    ]);
    assert.equal(rig.audit.at(-1)?.address, "127.0.0.1");
  });

  test("is answered again to the same key without another use, also when the token has none left", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { secret } = await rig.token();
    const box = new Box("box-1");
    const [first, again] = await Promise.all([rig.enrol(secret, box), rig.enrol(secret, box)]);
    assert.deepEqual([first.status, again.status].sort(), [200, 201]);
    assert.deepEqual(again.body, first.body);
    assert.deepEqual((await rig.enrol(secret, box)).body, first.body);
    assert.equal(rig.told("worker.enrol").length, 1);
    const other = await rig.token("lab", { uses: 5 });
    assert.deepEqual((await rig.enrol(other.secret, box)).body, first.body);
    assert.equal((await rig.call("GET", "/join-tokens")).body.join_tokens[1].uses_left, 5);
    assert.equal((await rig.enrol(secret, new Box("box-1"))).status, 401, "another key is another box");
  });

  test("with a used-up token is not answered again to a box that came with another token", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const box = new Box("box-1");
    await rig.join(box);
    const used = await rig.token();
    await rig.enrol(used.secret, new Box("box-2"));
    assert.deepEqual(problemOf(await rig.enrol(used.secret, box)), [401, "auth_invalid"]);
  });

  test("replaces the registration of a box that was set up anew, and ends the old identity at once", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const identity = await rig.join(new Box("box-1"));
    const ended: string[] = [];
    rig.enrolment.workers.onRevoked((id) => ended.push(id));
    const anew = new Box("box-1");
    const { secret } = await rig.token("lab");
    assert.equal((await rig.enrol(secret, anew)).status, 201);
    assert.deepEqual(ended, ["box-1"]);
    assert.deepEqual(problemOf(await rig.whoIs(identity)), [401, "auth_invalid"]);
    assert.equal((await rig.whoIs(await rig.identity(anew))).status, 200);
    assert.deepEqual(
      rig.told("worker.replace").map(({ target }) => target),
      ["box-1"],
    );
  });

  test("does not take a worker id away: not at another site, and none that is the id of a key", async (t) => {
    const rig = await EnrolmentRig.start(t, { isKeyId: (id) => id === "key1234567" });
    const box = new Box("box-1");
    const identity = await rig.join(box, "lab");
    const elsewhere = await rig.token("office");
    for (const other of [new Box("box-1"), box])
      assert.deepEqual(problemOf(await rig.enrol(elsewhere.secret, other)), [409, "worker_id_in_use"]);
    assert.deepEqual(problemOf(await rig.enrol(elsewhere.secret, new Box("key1234567"))), [
      409,
      "worker_id_in_use",
    ]);
    assert.equal((await rig.whoIs(identity)).body.sites[0], "lab");
    assert.equal((await rig.enrol(elsewhere.secret, new Box("box-2"))).status, 201, "no use was spent");
    assert.equal(rig.told("worker.enrol").filter(({ outcome }) => outcome === "refused").length, 3);
  });

  test("refuses what has not the form of a worker", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { secret: bearer } = await rig.token();
    const good = { worker_id: "box-1", public_key: new Box("x").publicKey, host: "host" };
    const changes = [
      { worker_id: "../x" },
      { worker_id: "" },
      { public_key: "short" },
      { host: "x".repeat(254) },
      { site: "lab" },
    ];
    for (const change of changes) {
      const answer = await rig.call("POST", "/agent/enrolments", { json: { ...good, ...change }, bearer });
      assert.deepEqual(problemOf(answer), [400, "request_invalid"], JSON.stringify(change));
    }
    const large = { ...good, host: "x".repeat(5000) };
    assert.equal((await rig.call("POST", "/agent/enrolments", { json: large, bearer })).status, 413);
  });

  test("that cannot be stored gives the use back and registers nobody", async (t) => {
    const documents = new MemoryDocuments();
    const rig = await EnrolmentRig.start(t, { documents });
    const { secret } = await rig.token();
    const box = new Box("box-1");
    documents.isFull = true;
    assert.deepEqual(problemOf(await rig.enrol(secret, box)), [503, "store_full"]);
    assert.deepEqual((await rig.call("GET", "/workers")).body, { workers: [] });
    assert.deepEqual(problemOf(await rig.prove(box)), [401, "auth_invalid"]);
    documents.isFull = false;
    assert.equal((await rig.enrol(secret, box)).status, 201);
    assert.deepEqual(
      rig.told("worker.enrol").map(({ outcome }) => outcome),
      ["failed", undefined],
    );
  });
});
