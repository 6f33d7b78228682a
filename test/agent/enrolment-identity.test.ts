/** The identity of an enrolled box: how long it is used, when it is renewed, and what ends it. Real TLS, virtual time. */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import { type Access, openAccess } from "../../agent/enrolment/access.ts";
import { clockAheadMs as clockAhead } from "../../agent/enrolment/trust.ts";
import { Connection } from "../../agent/link/connection.ts";
import { buildHello } from "../../agent/link/hello.ts";
import { Network } from "../../agent/link/network.ts";
import { startAgent } from "../../agent/main.ts";
import { checkOptions } from "../../agent/options.ts";
import { EnrolmentGateway, issueIdentity, type ServerIdentity } from "../support/enrolment-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PROOF = "POST /agent/identities";
const LINK = "UPGRADE /agent";

class Box {
  readonly gateway: EnrolmentGateway;
  readonly stateDir: string;
  readonly lines: string[] = [];
  readonly trusted: string[] = [];
  readonly refusals: LegacyGpuError[] = [];
  readonly #open = new Set<Access>();

  constructor(gateway: EnrolmentGateway, stateDir: string) {
    this.gateway = gateway;
    this.stateDir = stateDir;
  }

  options(clock: ManualClock, random = () => 0.5) {
    const log = createLogger("test", "debug", { write: (line) => void this.lines.push(line) });
    return { stateDir: this.stateDir, workerId: "box-1", site: "default", log, clock, random };
  }

  async join(clock: ManualClock, random?: () => number): Promise<Access> {
    return this.#begun(
      await openAccess(checkOptions({ ...this.options(clock, random), join: this.gateway.token() })),
    );
  }

  /** As a later process of the same box, which is told nothing. */
  async restart(clock: ManualClock): Promise<Access> {
    this.#stop();
    return this.#begun(await openAccess(checkOptions(this.options(clock))));
  }

  get proofs(): number {
    return this.gateway.count(PROOF);
  }

  async close(): Promise<void> {
    this.#stop();
    await this.gateway.close();
    await rm(this.stateDir, { recursive: true, force: true });
  }

  #stop(): void {
    for (const access of this.#open) access.close();
  }

  #begun(access: Access): Access {
    this.#open.add(access);
    access.start({
      onTrust: (caPem) => void this.trusted.push(caPem),
      onRefused: (error) => void this.refusals.push(error),
    });
    return access;
  }
}

let identity: ServerIdentity;
let otherIdentity: ServerIdentity;
before(async () => {
  identity = await issueIdentity();
  otherIdentity = await issueIdentity();
});

async function withBox(run: (box: Box, clock: ManualClock) => Promise<void>): Promise<void> {
  const clock = new ManualClock(Date.now());
  const gateway = await EnrolmentGateway.start(identity);
  gateway.nowMs = () => clock.now();
  const box = new Box(gateway, await mkdtemp(join(tmpdir(), "legacygpu-identity-")));
  try {
    await run(box, clock);
  } finally {
    await box.close();
  }
}

test("an identity is proved once, kept in a file for the owner only, and used by the next process", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    const [bearer, again] = await Promise.all([access.credentials.bearer(), access.credentials.bearer()]);
    assert.match(bearer, /^lgi_/);
    assert.equal(again, bearer);
    const file = join(box.stateDir, "identity-token.json");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    clock.advance(HOUR_MS);
    const later = await box.restart(clock);
    assert.equal(await later.credentials.bearer(), bearer);
    assert.deepEqual([later.gateway.origin, later.workerId, later.site], [box.gateway.url, "box-1", "lab"]);
    assert.equal(box.proofs, 1);
    assert.ok(!box.lines.join().includes(bearer));
  });
});

test("it is renewed at two thirds of its life, five per cent earlier or later", async () => {
  for (const [random, atMs] of [
    [0, 16 * HOUR_MS * 0.95],
    [0.5, 16 * HOUR_MS],
    [0.999_999, 16 * HOUR_MS * 1.05],
  ] as const) {
    await withBox(async (box, clock) => {
      const access = await box.join(clock, () => random);
      const first = await access.credentials.bearer();
      clock.advance(atMs - 1000);
      assert.equal(clock.pendingCount, 1);
      assert.equal(await access.credentials.bearer(), first);
      clock.advance(2000);
      await until("the renewal", () => box.proofs === 2 && clock.pendingCount === 1);
      assert.notEqual(await access.credentials.bearer(), first);
    });
  }
});

test("a process that starts late in the life of an identity renews it when the one before would have", async () => {
  await withBox(async (box, clock) => {
    await (await box.join(clock)).credentials.bearer();
    clock.advance(15 * HOUR_MS);
    await box.restart(clock);
    clock.advance(HOUR_MS - 1000);
    assert.equal(box.proofs, 1);
    clock.advance(2000);
    await until("the renewal", () => box.proofs === 2);
  });
});

test("a box that was away for thirty days comes back without anybody's help", async () => {
  await withBox(async (box, clock) => {
    const first = await (await box.join(clock)).credentials.bearer();
    box.gateway.accepted.clear();
    const later = new ManualClock(clock.now() + 30 * DAY_MS);
    const switchedOff = await box.restart(later);
    assert.notEqual(await switchedOff.credentials.bearer(), first);
    assert.equal(box.proofs, 2);
  });
});

test("a process that was cut off for thirty days goes on trying, and is back when the gateway is", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    const first = await access.credentials.bearer();
    for (let i = 0; i < 4; i += 1)
      box.gateway.failures.push({ path: "/agent/challenges", code: "gateway_draining" });
    for (let tries = 2; tries <= 5; tries += 1) {
      clock.advance(tries === 2 ? 16 * HOUR_MS : 15 * 60_000);
      await until(
        `try ${tries}`,
        () => box.gateway.count("POST /agent/challenges") === tries && clock.pendingCount === 1,
      );
    }
    box.gateway.accepted.clear();
    clock.advance(30 * DAY_MS);
    const bearer = await access.credentials.bearer();
    assert.notEqual(bearer, first);
    assert.ok(box.gateway.accepted.has(bearer));
    assert.deepEqual(box.refusals, []);
  });
});

test("a clock that jumps by years costs a proof and locks nobody out", async () => {
  for (const jumpMs of [10 * 365 * DAY_MS, -10 * 365 * DAY_MS]) {
    await withBox(async (box, clock) => {
      const first = await (await box.join(clock)).credentials.bearer();
      const jumped = await box.restart(new ManualClock(clock.now() + jumpMs));
      const second = await jumped.credentials.bearer();
      assert.notEqual(second, first);
      assert.equal(await jumped.credentials.bearer(), second);
      assert.equal(box.proofs, 2);
      assert.ok(box.lines.some((line) => /10 years (ahead of|behind) the gateway/.test(line)));
    });
  }
});

test("what may still be good is tried while the gateway cannot be asked", async () => {
  await withBox(async (box, clock) => {
    const first = await (await box.join(clock)).credentials.bearer();
    box.gateway.failures.push({ path: "/agent/challenges", code: "rate_limited" });
    const access = await box.restart(new ManualClock(clock.now() - DAY_MS));
    assert.equal(await access.credentials.bearer(), first);
    assert.notEqual(await access.credentials.bearer(), first);
  });
});

test("a stored identity that is damaged is proved again; a damaged key is said", async () => {
  await withBox(async (box, clock) => {
    await (await box.join(clock)).credentials.bearer();
    await writeFile(join(box.stateDir, "identity-token.json"), "{");
    assert.match(await (await box.restart(clock)).credentials.bearer(), /^lgi_/);
    await writeFile(join(box.stateDir, "identity.key"), "secret of somebody");
    await assert.rejects(box.restart(clock), (error: LegacyGpuError) => {
      assert.doesNotMatch(error.message, /secret of somebody/);
      return error.code === "config_invalid" && /Move it away and join again/.test(error.message);
    });
  });
});

test("CAs that the gateway names take the place of the pinned one, also after a restart", async () => {
  await withBox(async (box, clock) => {
    const both = identity.caPem + otherIdentity.caPem;
    box.gateway.nextCaPem = both;
    const access = await box.join(clock);
    const first = await access.credentials.bearer();
    assert.deepEqual(box.trusted, [both]);
    box.gateway.serve(otherIdentity);
    box.gateway.nextCaPem = undefined;
    clock.advance(16 * HOUR_MS);
    await until("the renewal under the new CA", () => box.proofs === 2 && clock.pendingCount === 1);
    assert.equal((await box.restart(clock)).caPem, otherIdentity.caPem);
    assert.notEqual(await access.credentials.bearer(), first);
  });
});

type Door = Pick<Access, "gateway" | "credentials" | "isEnrolled" | "caPem">;

function connect(box: Box, access: Door, clock: ManualClock) {
  const { gateway, credentials, isEnrolled, caPem } = access;
  const clockAheadMs = () => clockAhead({ gateway, env: {} }, clock);
  const network = new Network({ gateway, credentials, caPem, env: {}, clock, clockAheadMs });
  const hardware = { cpu: { model: "m", cores: 1 }, memoryBytes: 1, platform: "p", gpus: [] };
  const facts = {
    workerId: "box-1",
    instanceId: "i",
    site: "lab",
    labels: {},
    hardware,
    providers: ["cpu"],
    slots: 1,
  };
  const connection = new Connection({
    dial: (handlers) => network.openSocket(handlers),
    context: { gateway, isEnrolled },
    ...box.options(clock),
    hello: () => buildHello({ ...facts, models: [], held: [] }),
    telemetry: () => ({ type: "telemetry", running: 0, queued: 0, rssBytes: 1, cpuPercent: 0 }),
    onWelcome: () => {},
    onOrder: () => {},
    onLost: () => {},
  });
  connection.start();
  const close = async (): Promise<void> => {
    connection.close("the test ends");
    await network.close();
  };
  return { connection, network, close };
}

test("a link that is refused proves the key again, once for each dial", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    await access.credentials.bearer();
    box.gateway.accepted.clear();
    const link = connect(box, access, clock);
    await until("the link", () => link.connection.state === "greeting");
    assert.deepEqual([box.proofs, box.gateway.count(LINK)], [2, 2]);
    await link.close();
  });
});

test("a gateway that never accepts what it issues is not hammered", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    await access.credentials.bearer();
    box.gateway.accepted.add = function refuse() {
      return this;
    };
    box.gateway.accepted.clear();
    const link = connect(box, access, clock);
    await until("the end of the dial", () => link.connection.state === "waiting");
    assert.equal(link.connection.lastError?.code, "auth_invalid");
    assert.deepEqual([box.proofs, box.gateway.count(LINK)], [2, 2]);
    clock.advance(14_000);
    assert.equal(link.connection.state, "waiting");
    assert.equal(box.gateway.count(LINK), 2);
    await link.close();
  });
});

test("a link that fails for the clock of this machine says so, by how much, and waits for a right one", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    await access.credentials.bearer();
    const [tenYearsMs, server] = [
      10 * 365.25 * DAY_MS,
      await issueIdentity(clock.now() - 10 * 365.25 * DAY_MS),
    ];
    box.gateway.serve(server);
    box.gateway.nowMs = () => clock.now() - tenYearsMs;
    const { gateway, credentials, isEnrolled } = access;
    const link = connect(box, { gateway, credentials, isEnrolled, caPem: server.caPem }, clock);
    await until("the end of the dial", () => link.connection.state === "waiting");
    assert.equal(link.connection.lastError?.code, "clock_wrong");
    assert.match(link.connection.lastError.message, /10 years ahead of the gateway's.*Set the clock/);
    assert.equal(box.gateway.count(LINK), 0);
    await link.close();
  });
});

test("a request that is refused proves the key again, once", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    await access.credentials.bearer();
    const link = connect(box, access, clock);
    box.gateway.accepted.clear();
    const ask = () => link.network.request("/agent/blobs/it", { method: "GET" });
    const replies = await Promise.all([ask(), ask(), ask()]);
    assert.deepEqual(
      replies.map(({ status }) => status),
      [200, 200, 200],
    );
    for (const { body } of replies) assert.equal(await body.text(), "it");
    await link.close();
  });
});

const isDebug = (line: string): boolean => JSON.parse(line).level === 20;

test("approval is waited for, at first every ten seconds, with one line that says what the operator has to do", async () => {
  await withBox(async (box, clock) => {
    box.gateway.newWorkersAre = "pending";
    const access = await box.join(clock);
    const link = connect(box, access, clock);
    const waits: number[] = [];
    for (let polls = 1; polls <= 4; polls += 1) {
      await until("the next wait", () => link.connection.state === "waiting");
      assert.equal(box.proofs, polls);
      const start = clock.monotonic();
      while (link.connection.state === "waiting") clock.advance(500);
      waits.push(clock.monotonic() - start);
    }
    assert.deepEqual(waits, [10_000, 13_000, 17_000, 22_000]);
    const asking = box.lines.filter((line) => line.includes("legacygpu worker approve box-1"));
    assert.equal(asking.filter((line) => !isDebug(line)).length, 1);
    await until("the next wait", () => link.connection.state === "waiting");
    const worker = box.gateway.workers.get("box-1");
    assert.ok(worker);
    worker.status = "approved";
    clock.advance(60_000);
    await until("the link", () => link.connection.state === "greeting");
    await link.close();
  });
});

test("a revoked box stops for good, keeps that in mind, and says what to do", async () => {
  await withBox(async (box, clock) => {
    const access = await box.join(clock);
    await access.credentials.bearer();
    const link = connect(box, access, clock);
    await until("the link", () => link.connection.state === "greeting");
    clock.advance(6000);
    box.gateway.revoke("box-1");
    box.gateway.cut();
    await until("the loss", () => link.connection.state === "waiting");
    clock.advance(5000);
    const reason = await link.connection.closed;
    assert.equal(reason?.code, "worker_revoked");
    assert.match(reason.message, /box-1.*revoked.*new join token/);
    const enrolment = JSON.parse(await readFile(join(box.stateDir, "enrolment.json"), "utf8"));
    assert.equal(enrolment.isRevoked, true);
    await link.close();
  });
});

test("a renewal that learns of the revocation, or of a gateway that forgot this worker, is told at once", async () => {
  for (const [end, code] of [
    [(box: Box) => box.gateway.revoke("box-1"), "worker_revoked"],
    [(box: Box) => box.gateway.workers.clear(), "auth_invalid"],
  ] as const) {
    await withBox(async (box, clock) => {
      await (await box.join(clock)).credentials.bearer();
      end(box);
      clock.advance(16 * HOUR_MS);
      const refusal = await until("the refusal", () => box.refusals[0]);
      assert.equal(refusal.code, code);
      assert.equal(clock.pendingCount, 0);
    });
  }
});

test("a box that joined nothing and has no key says what it needs", async () => {
  await withBox(async (box, clock) => {
    await assert.rejects(box.restart(clock), (error: LegacyGpuError) => error.code === "auth_missing");
  });
});

test("a whole agent joins, dials as the worker that joined, and ends when it is revoked", async () => {
  await withBox(async (box) => {
    const options = { ...box.options(new ManualClock()), clock: systemClock, providers: ["cpu"] };
    const agent = await startAgent({ ...options, join: box.gateway.token() });
    await until("the link", () => agent.status().link === "greeting");
    assert.deepEqual([agent.workerId, agent.status().site], ["box-1", "lab"]);
    box.gateway.revoke("box-1");
    box.gateway.cut();
    const reason = await agent.closed;
    assert.ok(reason instanceof LegacyGpuError && reason.code === "worker_revoked");
  });
});
