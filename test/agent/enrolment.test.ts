/** Joining a gateway over real TLS: the right one, a false one, one whose answer is lost, and a machine whose clock is wrong. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { type Enrolment, IdentityStore } from "../../agent/enrolment/identity-store.ts";
import { joinGateway } from "../../agent/enrolment/join.ts";
import { fetchPinnedCa } from "../../agent/enrolment/trust.ts";
import { EnrolmentGateway, issueIdentity, type ServerIdentity } from "../support/enrolment-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { TlsInterceptor } from "../support/tls-interceptor.ts";
import { until } from "../support/until.ts";

const DAY_MS = 86_400_000;

interface Rig {
  readonly gateway: EnrolmentGateway;
  readonly clock: ManualClock;
  readonly stateDir: string;
  readonly lines: string[];
  enrol(token?: ReturnType<EnrolmentGateway["token"]>, signal?: AbortSignal): Promise<Enrolment>;
}

let trueIdentity: ServerIdentity;
let falseIdentity: ServerIdentity;
before(async () => {
  trueIdentity = await issueIdentity();
  falseIdentity = await issueIdentity();
});

async function withRig(run: (rig: Rig) => Promise<void>, identity = trueIdentity): Promise<void> {
  const gateway = await EnrolmentGateway.start(identity);
  const stateDir = await mkdtemp(join(tmpdir(), "legacygpu-enrolment-"));
  const clock = new ManualClock(Date.now());
  const lines: string[] = [];
  const log = createLogger("test", "debug", { write: (line) => void lines.push(line) });
  const options = {
    workerId: "box-1",
    store: new IdentityStore(stateDir),
    env: {},
    clock,
    random: () => 0.5,
    log,
  };
  const enrol: Rig["enrol"] = (token = gateway.token(), signal) => joinGateway({ ...options, token, signal });
  try {
    await run({ gateway, clock, stateDir, lines, enrol });
  } finally {
    await gateway.close();
    await rm(stateDir, { recursive: true, force: true });
  }
}

const isCode = (code: string) => (error: LegacyGpuError) => error.code === code;

test("a box that joins knows gateway, site and CA from then on, in files that only its owner can read", async () => {
  await withRig(async ({ gateway, stateDir, enrol, lines }) => {
    const enrolment = await enrol();
    const { url, caPem, secret } = gateway;
    assert.deepEqual(
      [enrolment.gateway, enrolment.workerId, enrolment.site, enrolment.caPem?.trim(), enrolment.pins],
      [url, "box-1", "lab", caPem.trim(), [trueIdentity.pin]],
    );
    assert.deepEqual(await new IdentityStore(stateDir).readEnrolment(), enrolment);
    const files = (await readdir(stateDir)).sort();
    assert.deepEqual(files, ["enrolment.json", "identity.key"]);
    for (const file of files) {
      assert.equal((await stat(join(stateDir, file))).mode & 0o777, 0o600, file);
      assert.ok(!(await readFile(join(stateDir, file), "utf8")).includes(secret), file);
    }
    assert.ok(!lines.join().includes(secret));
  });
});

test("the same token a second time changes nothing; a new one joins again with the same key", async () => {
  await withRig(async ({ gateway, enrol }) => {
    const first = await enrol();
    const before = gateway.requests.length;
    assert.deepEqual(await enrol(), first);
    assert.equal(gateway.requests.length, before);
    const next = await EnrolmentGateway.start(falseIdentity);
    assert.equal((await enrol(next.token())).gateway, next.url);
    assert.deepEqual(next.publicKeys, gateway.publicKeys);
    await next.close();
  });
});

for (const forgesCa of [true, false]) {
  const how = forgesCa ? "his own CA" : "the true CA, and a certificate of his own";
  test(`a man in the middle who serves ${how} gets nothing secret`, async () => {
    await withRig(async ({ gateway, enrol, stateDir }) => {
      const target = { port: gateway.port, caPem: trueIdentity.caPem };
      const middle = await TlsInterceptor.start(falseIdentity, target, { forgesCa });
      await assert.rejects(enrol(gateway.token(middle.url)), (error: LegacyGpuError) => {
        assert.match(error.message, /somebody is in between.*Nothing secret was sent/);
        return error.code === "gateway_untrusted";
      });
      // It did read what there was to read: one question without a credential.
      assert.equal(middle.connectionCount, 1);
      assert.match(middle.heard, /^GET \/ca\.pem HTTP\/1\.1\r\n/);
      assert.doesNotMatch(middle.heard, /authorization|POST|lgj_|box-1/i);
      assert.ok(!middle.heard.includes(gateway.secret));
      assert.deepEqual(gateway.publicKeys, []);
      assert.equal(await new IdentityStore(stateDir).readEnrolment(), undefined);
      await middle.close();
    });
  });
}

test("the interceptor of these tests reads what it is trusted with", async () => {
  await withRig(async ({ gateway, enrol }) => {
    const target = { port: gateway.port, caPem: trueIdentity.caPem };
    const middle = await TlsInterceptor.start(trueIdentity, target, { forgesCa: false });
    await enrol(gateway.token(middle.url));
    assert.ok(middle.heard.includes(gateway.secret));
    await middle.close();
  });
});

/** The certificate with its key and one letter of its name changed, which its owner has not signed. */
function withAnotherName(pem: string): string {
  const der = Buffer.from(pem.replace(/-----.*-----|\s/g, ""), "base64");
  der.write("L", der.indexOf("legacygpu"));
  return `-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n`;
}

test("of what is served only the pinned CA is taken, not what comes with it", async () => {
  await withRig(async ({ gateway }) => {
    const from = { gateway: new URL(gateway.url), env: {} };
    gateway.caPem = `${falseIdentity.caPem}${trueIdentity.caPem}${trueIdentity.certPem}`;
    const taken = await fetchPinnedCa(from, [trueIdentity.pin, trueIdentity.certPem]);
    assert.equal(taken.trim(), trueIdentity.caPem.trim());
    for (const served of [
      "",
      "not a certificate",
      falseIdentity.caPem,
      withAnotherName(trueIdentity.caPem),
    ]) {
      gateway.caPem = served;
      await assert.rejects(fetchPinnedCa(from, [trueIdentity.pin]), isCode("gateway_untrusted"));
    }
  });
});

test("a token that is used up or unknown is said so at once, and is no error of a key", async () => {
  await withRig(async ({ gateway, enrol }) => {
    gateway.usesLeft = 0;
    await assert.rejects(enrol(), (error: LegacyGpuError) => {
      assert.match(error.message, /expired, used up or revoked.*legacygpu join-token create/);
      return error.code === "auth_invalid" && error.details.credential === "join_token";
    });
    assert.equal(gateway.count("POST /agent/enrolments"), 1);
  });
});

test("a box whose answer was lost finds out that it is in, also with a token for one use and after a restart", async () => {
  await withRig(async ({ gateway, clock, enrol }) => {
    gateway.losesNextAnswer = true;
    const stop = new AbortController();
    const cut = assert.rejects(enrol(gateway.token(), stop.signal), isCode("gateway_unreachable"));
    await until("it to wait for the next try", () => clock.pendingCount > 0);
    stop.abort();
    await cut;
    assert.equal(gateway.usesLeft, 0);
    const { workerId, site } = await enrol();
    assert.deepEqual([workerId, site], ["box-1", "lab"]);
    assert.equal(gateway.publicKeys[0], gateway.publicKeys[1]);
  });
});

test("a revoked box whose answer was lost goes on with the fresh key that it asked with", async () => {
  await withRig(async ({ gateway, clock, stateDir, enrol }) => {
    const store = new IdentityStore(stateDir);
    await store.writeEnrolment({ ...(await enrol()), tokenHash: "of an earlier token", isRevoked: true });
    gateway.revoke("box-1");
    gateway.usesLeft = 1;
    gateway.losesNextAnswer = true;
    const joining = enrol();
    await until("it to wait for the next try", () => clock.pendingCount > 0);
    clock.advance(30_000);
    assert.equal((await joining).isRevoked, false);
    const [revoked, fresh, again] = gateway.publicKeys;
    assert.notEqual(fresh, revoked);
    assert.equal(again, fresh);
  });
});

test("a gateway that is not there yet is waited for, with one line in the log", async () => {
  await withRig(async ({ gateway, clock, enrol, lines }) => {
    for (let i = 0; i < 3; i += 1)
      gateway.failures.push({ path: "/agent/enrolments", code: "gateway_draining" });
    const joining = enrol();
    for (let tries = 1; tries <= 3; tries += 1) {
      await until("the next wait", () => clock.pendingCount > 0);
      assert.equal(gateway.count("POST /agent/enrolments"), tries);
      clock.advance(30_000);
    }
    assert.equal((await joining).workerId, "box-1");
    assert.equal(lines.filter((line) => line.includes("gateway_draining")).length, 1);
  });
});

test("a revoked worker joins again with a fresh key", async () => {
  await withRig(async ({ gateway, enrol, stateDir }) => {
    await enrol();
    gateway.revoke("box-1");
    gateway.usesLeft = 1;
    const store = new IdentityStore(stateDir);
    // Another token, as far as the box can tell.
    const before = await store.readEnrolment();
    assert.ok(before);
    await store.writeEnrolment({ ...before, tokenHash: "of an earlier token" });
    await enrol();
    const [first, refused, fresh] = gateway.publicKeys;
    assert.equal(refused, first);
    assert.notEqual(fresh, first);
    await store.writeEnrolment({ ...before, tokenHash: "of an earlier token", isRevoked: true });
    gateway.revoke("box-1");
    gateway.usesLeft = 1;
    await enrol();
    assert.equal(gateway.publicKeys.length, 4);
    assert.ok(!gateway.publicKeys.slice(0, 3).includes(gateway.publicKeys[3] ?? ""));
  });
});

test("a machine whose clock is years ahead says by how much; with a right clock the certificate is to blame", async () => {
  const sixYearsAgo = Date.now() - 6 * 365.25 * DAY_MS;
  const old = await issueIdentity(sixYearsAgo);
  await withRig(async ({ gateway, enrol }) => {
    gateway.nowMs = () => sixYearsAgo;
    await assert.rejects(enrol(), (error: LegacyGpuError) => {
      assert.match(error.message, /The clock of this machine is 6 years ahead of the gateway's/);
      return error.code === "clock_wrong";
    });
    gateway.nowMs = Date.now;
    await assert.rejects(enrol(), isCode("certificate_invalid"));
    assert.deepEqual(gateway.publicKeys, []);
  }, old);
});

test("a machine whose clock is years behind says so too", async () => {
  const inThreeYears = Date.now() + 3 * 365.25 * DAY_MS;
  const future = await issueIdentity(inThreeYears);
  await withRig(async ({ gateway, enrol }) => {
    gateway.nowMs = () => inThreeYears;
    await assert.rejects(enrol(), (error: LegacyGpuError) => {
      assert.match(error.message, /3 years behind the gateway's/);
      return error.code === "clock_wrong";
    });
  }, future);
});

test("a token without a pin trusts the CAs of the system and no other", async () => {
  await withRig(async ({ gateway, enrol }) => {
    await assert.rejects(enrol({ ...gateway.token(), pins: [] }), isCode("certificate_invalid"));
    assert.deepEqual(gateway.requests, []);
  });
});

test("a certificate for another name is no man in the middle, and nothing is sent either", async () => {
  const elsewhere = await issueIdentity(Date.now(), ["elsewhere.example"]);
  await withRig(async ({ gateway, enrol }) => {
    await assert.rejects(enrol(), isCode("certificate_invalid"));
    assert.deepEqual(gateway.publicKeys, []);
  }, elsewhere);
});
