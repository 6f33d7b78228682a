/** Join tokens, and the proofs by which a box that has joined gets its identity. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import {
  challengeSchema,
  createdJoinTokenSchema,
  identitySchema,
  joinTokenListSchema,
} from "@legacygpu/shared/api/enrolment";
import { decodeJoinToken, pinOf } from "@legacygpu/shared/join-token";
import { newCredential } from "../../gateway/auth/credential.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { Box, EnrolmentRig, problemOf } from "./enrolment-rig.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

describe("a join token", () => {
  test("says where the gateway is, as it was called, and by which CA it is recognised", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const answer = await rig.call("POST", "/join-tokens", { json: { site: "lab" } });
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.get("cache-control"), "no-store");
    const { token, ...shown } = createdJoinTokenSchema.parse(answer.body);
    const { url, pins } = decodeJoinToken(token);
    assert.equal(url, rig.url);
    const ca = await rig.call("GET", "/ca.pem", { bearer: null });
    assert.deepEqual(pins, [pinOf(new X509Certificate(ca.body))], "the CA that everybody may fetch");
    const atMs = rig.clock.now();
    assert.deepEqual(shown, {
      id: shown.id,
      site: "lab",
      created_at: new Date(atMs).toISOString(),
      expires_at: new Date(atMs + 30 * MINUTE_MS).toISOString(),
      uses: 1,
      uses_left: 1,
      revoked_at: null,
    });
    assert.deepEqual(joinTokenListSchema.parse((await rig.call("GET", "/join-tokens")).body), {
      join_tokens: [shown],
    });
    assert.deepEqual(rig.told("join_token.create"), [
      {
        action: "join_token.create",
        actor: rig.audit[0]?.actor,
        actorName: "root",
        tenant: "operators",
        target: shown.id,
        details: { site: "lab", ttl: 1800, uses: 1, url: rig.url },
      },
    ]);
  });

  test("names another address when asked to, both CAs while they are changed, and none that everybody knows", async (t) => {
    let caPem: string | undefined;
    const rig = await EnrolmentRig.start(t, { caPem: () => caPem });
    const create = async (url: string) => rig.call("POST", "/join-tokens", { json: { site: "lab", url } });
    const { token } = (await create("https://gpu.example.org/")).body;
    assert.deepEqual(
      { ...decodeJoinToken(token), secret: "" },
      { url: "https://gpu.example.org", pins: [], secret: "" },
    );
    assert.deepEqual(problemOf(await rig.call("GET", "/ca.pem", { bearer: null })), [404, "route_not_found"]);
    caPem = rig.gateway.caPem + rig.gateway.caPem;
    const pin = pinOf(new X509Certificate(rig.gateway.caPem));
    assert.deepEqual(decodeJoinToken((await create("https://gpu.example.org:1")).body.token).pins, [
      pin,
      pin,
    ]);
    for (const wrong of ["http://a", "https://a/b", "https://a?b", "https://u:p@a", "a"])
      assert.deepEqual(problemOf(await create(wrong)), [400, "request_invalid"], wrong);
    assert.equal(
      (await rig.call("GET", "/join-tokens")).body.join_tokens.length,
      2,
      "refused ones are not made",
    );
  });

  test("names the address that the operator has published, unless it is asked for another", async (t) => {
    const rig = await EnrolmentRig.start(t, { publicUrl: "https://gpu.example.org" });
    const urlOf = async (more: object): Promise<string> => {
      const { body } = await rig.call("POST", "/join-tokens", { json: { site: "lab", ...more } });
      return decodeJoinToken(body.token).url;
    };
    assert.equal(await urlOf({}), "https://gpu.example.org");
    assert.equal(await urlOf({ url: "https://10.0.0.1:8000" }), "https://10.0.0.1:8000");
  });

  test("is stored as a hash", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { id, secret } = await rig.token();
    const stored = JSON.stringify(rig.documents.get("join-tokens", id));
    assert.ok(stored.includes('"site":"lab"') && !stored.includes(secret.slice(-38)), stored);
  });

  test("lets in as many boxes as it has uses, and not one more, however many come at once", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { secret, id } = await rig.token("lab", { uses: 3 });
    const boxes = Array.from({ length: 8 }, (_, i) => new Box(`box-${i}`));
    const answers = await Promise.all(boxes.map((box) => rig.enrol(secret, box)));
    const outcomes = answers.map(({ status }) => status).sort();
    assert.deepEqual(outcomes, [201, 201, 201, 401, 401, 401, 401, 401]);
    const [token] = (await rig.call("GET", "/join-tokens")).body.join_tokens;
    assert.deepEqual([token.id, token.uses_left], [id, 0]);
    assert.equal((await rig.call("GET", "/workers")).body.workers.length, 3);
  });

  test("that is unknown, wrong, used up, expired or revoked is refused in the same words", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const used = await rig.token();
    await rig.enrol(used.secret, new Box("first"));
    const revoked = await rig.token();
    const gone = await rig.call("DELETE", `/join-tokens/${revoked.id}`);
    assert.notEqual(gone.body.revoked_at, null);
    const short = await rig.token("lab", { ttl: 60 });
    const living = await rig.token();
    rig.clock.advance(MINUTE_MS);
    const swapped = newCredential("join").text.replace(/_\w{10}_/, `_${living.id}_`);
    const secrets = [
      newCredential("join").text,
      swapped,
      used.secret,
      revoked.secret,
      short.secret,
      "lgj_x",
      living.id,
    ];
    const texts = new Set<string>();
    for (const secret of secrets) {
      const answer = await rig.enrol(secret, new Box("late"));
      assert.deepEqual(problemOf(answer), [401, "auth_invalid"]);
      const { request_id: _, instance: __, ...rest } = answer.body;
      texts.add(JSON.stringify(rest));
    }
    assert.equal(texts.size, 1, [...texts].join("\n"));
    assert.deepEqual(
      problemOf(
        await rig.call("POST", "/agent/enrolments", {
          json: { worker_id: "a", public_key: new Box("a").publicKey, host: "" },
          bearer: null,
        }),
      ),
      [401, "auth_missing"],
    );
    assert.equal(
      (await rig.enrol(living.secret, new Box("late"))).status,
      201,
      "the wrong ones cost it nothing",
    );
    assert.ok(
      rig.told("worker.enrol").filter(({ outcome }) => outcome === "refused").length >= secrets.length,
    );
  });

  test("is good until the end of its last millisecond, and is shown for a week after that", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { secret } = await rig.token("lab", { ttl: 60, uses: 2 });
    rig.clock.advance(MINUTE_MS - 1);
    assert.equal((await rig.enrol(secret, new Box("a"))).status, 201);
    rig.clock.advance(1);
    assert.equal((await rig.enrol(secret, new Box("b"))).status, 401);
    rig.clock.advance(7 * 24 * HOUR_MS - 1);
    assert.equal((await rig.call("GET", "/join-tokens")).body.join_tokens.length, 1);
    rig.clock.advance(1);
    assert.equal((await rig.call("GET", "/join-tokens")).body.join_tokens.length, 0);
  });

  test("can be revoked twice, and not when it never was", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { id } = await rig.token();
    const first = await rig.call("DELETE", `/join-tokens/${id}`);
    rig.clock.advance(1000);
    const second = await rig.call("DELETE", `/join-tokens/${id}`);
    assert.deepEqual(second.body, first.body);
    assert.deepEqual(problemOf(await rig.call("DELETE", "/join-tokens/none")), [404, "join_token_not_found"]);
    assert.equal(rig.told("join_token.revoke").length, 2);
  });
});

describe("a proof", () => {
  test("gets an identity, which is its worker at its site for a day and nothing else", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const box = new Box("box-1");
    const { secret } = await rig.token("lab");
    await rig.enrol(secret, box, "deep-thought");
    const answer = await rig.prove(box);
    assert.equal(answer.headers.get("cache-control"), "no-store");
    const identity = identitySchema.parse(answer.body);
    assert.match(identity.identity, /^lgi_/);
    assert.deepEqual(
      [identity.expires_in, identity.site, identity.ca_pem, identity.server_time],
      [86_400, "lab", rig.gateway.caPem, new Date(rig.clock.now()).toISOString()],
    );
    assert.deepEqual((await rig.whoIs(identity.identity)).body, {
      kind: "worker",
      keyId: "box-1",
      tenant: "worker:box-1",
      name: "deep-thought",
      scopes: ["worker"],
      sites: ["lab"],
      workerId: "box-1",
      expiresAtMs: rig.clock.now() + 24 * HOUR_MS,
    });
    const admin = await rig.call("GET", "/workers", { bearer: identity.identity });
    assert.deepEqual(problemOf(admin), [403, "auth_forbidden"]);
    const stored = JSON.stringify(rig.documents.get("workers", "box-1"));
    assert.ok(!stored.includes(identity.identity.slice(-38)), "only its hash is stored");
    rig.clock.advance(24 * HOUR_MS - 1);
    assert.equal((await rig.whoIs(identity.identity)).status, 200);
    rig.clock.advance(1);
    assert.deepEqual(problemOf(await rig.whoIs(identity.identity)), [401, "auth_invalid"]);
    rig.clock.advance(365 * 24 * HOUR_MS);
    assert.equal(
      (await rig.whoIs(await rig.identity(box))).status,
      200,
      "its key is good however late it comes",
    );
  });

  test("is refused in the same words for every reason, and a challenge is good for one try", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const box = new Box("box-1");
    const other = new Box("box-2");
    await rig.join(box);
    await rig.join(other);
    const replayed = await rig.challenge("box-1");
    assert.equal((await rig.prove(box, { challenge: replayed })).status, 200);
    const failed = await rig.challenge("box-1");
    const late = await rig.challenge("box-1");
    const wrong = [
      await rig.prove(box, { challenge: replayed }),
      await rig.prove(other, { worker_id: "box-1", challenge: failed }),
      await rig.prove(box, { challenge: failed }),
      await rig.prove(new Box("nobody")),
      await rig.prove(box, { challenge: "never-issued" }),
      await rig.prove(box, { challenge: await rig.challenge("box-2") }),
      await rig.prove(box, { signature: box.sign("another challenge") }),
      await rig.prove(box, { signature: Buffer.alloc(64).toString("base64url") }),
    ];
    rig.clock.advance(MINUTE_MS);
    wrong.push(await rig.prove(box, { challenge: late }));
    const texts = wrong.map((answer) => {
      assert.deepEqual(problemOf(answer), [401, "auth_invalid"]);
      const { request_id: _, instance: __, ...rest } = answer.body;
      return JSON.stringify(rest);
    });
    assert.equal(new Set(texts).size, 1);
    assert.equal(rig.told("worker.prove").length, wrong.length);
    assert.equal((await rig.prove(box)).status, 200);
  });

  test("of the same challenge by several at once is taken once", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const box = new Box("box-1");
    await rig.join(box);
    const challenge = await rig.challenge("box-1");
    const answers = await Promise.all([1, 2, 3, 4].map(() => rig.prove(box, { challenge })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401, 401]);
  });

  test("with a public key that is no point of the curve is refused like any other", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const { secret } = await rig.token("lab", { uses: 2 });
    for (const [id, byte] of [
      ["ones", 0xff],
      ["twos", 2],
    ] as const) {
      const publicKey = Buffer.alloc(32, byte).toString("base64url");
      const body = { worker_id: id, public_key: publicKey, host: "" };
      assert.equal((await rig.call("POST", "/agent/enrolments", { json: body, bearer: secret })).status, 201);
      assert.deepEqual(problemOf(await rig.prove(new Box(id))), [401, "auth_invalid"]);
    }
  });

  test("gets a challenge whoever asks", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const ask = () => rig.call("POST", "/agent/challenges", { json: { worker_id: "nobody" }, bearer: null });
    const [first, second] = [
      challengeSchema.parse((await ask()).body),
      challengeSchema.parse((await ask()).body),
    ];
    assert.equal(first.expires_in, 60);
    assert.notEqual(first.challenge, second.challenge);
  });

  test("leaves the identity before good for five minutes more, and not longer than it was", async (t) => {
    const rig = await EnrolmentRig.start(t, { identityLifeMs: HOUR_MS });
    const box = new Box("box-1");
    const first = await rig.join(box);
    rig.clock.advance(10 * MINUTE_MS);
    const second = await rig.identity(box);
    const third = await rig.identity(box);
    const statuses = async () =>
      (await Promise.all([first, second, third].map((each) => rig.whoIs(each)))).map(({ status }) => status);
    rig.clock.advance(5 * MINUTE_MS - 1);
    assert.deepEqual(await statuses(), [200, 200, 200]);
    rig.clock.advance(1);
    assert.deepEqual(await statuses(), [401, 401, 200]);
    rig.clock.advance(53 * MINUTE_MS);
    const fourth = await rig.identity(box);
    rig.clock.advance(2 * MINUTE_MS);
    assert.deepEqual(await statuses(), [401, 401, 401], "its own end comes first");
    assert.equal((await rig.whoIs(fourth)).status, 200);
  });

  test("again and again leaves a bounded number of identities", async (t) => {
    const rig = await EnrolmentRig.start(t);
    const box = new Box("box-1");
    const identities = [await rig.join(box)];
    for (let i = 0; i < 12; i += 1) identities.push(await rig.identity(box));
    const { identities: stored } = rig.documents.get("workers", "box-1") as { identities: unknown[] };
    assert.equal(stored.length, 8);
    assert.equal((await rig.whoIs(identities[0] ?? "")).status, 401);
    assert.equal((await rig.whoIs(identities.at(-1) ?? "")).status, 200);
  });

  test("that cannot be stored gets no identity, and takes none away", async (t) => {
    const documents = new MemoryDocuments();
    const rig = await EnrolmentRig.start(t, { documents });
    const box = new Box("box-1");
    const identity = await rig.join(box);
    documents.isFull = true;
    assert.deepEqual(problemOf(await rig.prove(box)), [503, "store_full"]);
    rig.clock.advance(HOUR_MS);
    assert.equal((await rig.whoIs(identity)).status, 200);
  });
});
