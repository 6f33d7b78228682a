/** A gateway that is there and has no room now: the agent comes again when it was told to, with the link and with what travels beside it. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { GatewayApi } from "../../agent/enrolment/gateway-api.ts";
import { IdentityKeeper } from "../../agent/enrolment/identity-keeper.ts";
import { IdentityStore } from "../../agent/enrolment/identity-store.ts";
import { joinGateway } from "../../agent/enrolment/join.ts";
import { Connection } from "../../agent/link/connection.ts";
import { type Credentials, workerKey } from "../../agent/link/credentials.ts";
import type { SocketClosure } from "../../agent/link/dial.ts";
import { LinkGate } from "../../agent/link/gate.ts";
import { buildHello } from "../../agent/link/hello.ts";
import { Network } from "../../agent/link/network.ts";
import { askedWait } from "../../agent/link/retry-after.ts";
import { Transfers } from "../../agent/link/transfers.ts";
import { BlobCache } from "../../agent/models/blob-cache.ts";
import { EnrolmentGateway } from "../support/enrolment-gateway.ts";
import { FakeGateway } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const HARDWARE = { cpu: { model: "m", cores: 1 }, memoryBytes: 1, platform: "p", gpus: [] };
const FACTS = {
  workerId: "w",
  instanceId: "i",
  site: "s",
  labels: {},
  hardware: HARDWARE,
  providers: ["cpu"],
  slots: 1,
  models: [],
  held: [],
};

/** Waits for a timer to be set, and says in how many milliseconds it is due. */
async function msToNextTimer(clock: ManualClock): Promise<number> {
  await until("a wait", () => clock.pendingCount === 1);
  const start = clock.monotonic();
  while (clock.pendingCount > 0) clock.advance(1);
  return clock.monotonic() - start;
}

test("the wait is read in seconds or as a date, of these two answers only, and never by our own clock", () => {
  const date = "Tue, 06 Jan 2026 10:00:00 GMT";
  const later = "Tue, 06 Jan 2026 10:00:09 GMT";
  const wait = (status: number, headers: Record<string, string | string[]>) =>
    askedWait(status, headers).retryAfterMs;
  assert.equal(wait(429, { "retry-after": "7" }), 7000);
  assert.equal(wait(503, { "retry-after": " 0 " }), 0);
  assert.equal(wait(503, { "retry-after": later, date }), 9000);
  assert.equal(wait(503, { "retry-after": date, date: later }), 0);
  for (const value of ["", "soon", "-1", "1e3", "7.5", later])
    assert.equal(wait(429, { "retry-after": value }), undefined, value);
  assert.equal(wait(429, { "retry-after": ["1", "2"] }), undefined);
  assert.equal(wait(429, {}), undefined);
  for (const status of [200, 404, 500]) assert.equal(wait(status, { "retry-after": "7" }), undefined);
});

describe("the link", () => {
  /** @param answers what each dial ends with. */
  function link(random: number) {
    const clock = new ManualClock();
    const lines: { level: number; msg: string; retryInMs: number }[] = [];
    let refuse: (closure: SocketClosure) => void = () => {};
    const connection = new Connection({
      dial: ({ onClosed }) => {
        refuse = onClosed;
        return { send: () => {}, close: () => {}, destroy: () => {} };
      },
      context: { gateway: new URL("https://gateway:8000"), isEnrolled: true },
      clock,
      random: () => random,
      log: createLogger("test", "info", { write: (line) => void lines.push(JSON.parse(line)) }),
      hello: () => buildHello(FACTS),
      telemetry: () => ({ type: "telemetry", running: 0, queued: 0, rssBytes: 1, cpuPercent: 0 }),
      onWelcome: () => {},
      onOrder: () => {},
      onLost: () => {},
    });
    connection.start();
    /** @returns the milliseconds until the next dial. */
    const refused = (closure: Partial<SocketClosure>): number => {
      refuse({ code: 1006, reason: "", ...closure });
      const start = clock.monotonic();
      while (connection.state === "waiting") clock.advance(1);
      return clock.monotonic() - start;
    };
    return { connection, refused, lines };
  }

  for (const httpStatus of [429, 503]) {
    test(`is dialled again when HTTP ${httpStatus} asked for it, and spread from then on`, () => {
      const delays = (random: number) => {
        const { refused } = link(random);
        return [7000, 7000, 7000].map((retryAfterMs) => refused({ httpStatus, retryAfterMs }));
      };
      assert.deepEqual(delays(0), [7000, 7000, 7000]);
      assert.deepEqual(delays(1), [7500, 8000, 9000]);
    });

    test(`backs off as from any outage after HTTP ${httpStatus} that asked for nothing`, () => {
      const { refused } = link(1);
      assert.deepEqual([refused({ httpStatus }), refused({ httpStatus })], [500, 1000]);
    });
  }

  test("waits half a minute at most, whatever is asked for", () => {
    const { refused } = link(1);
    assert.equal(refused({ httpStatus: 429, retryAfterMs: 86_400_000 }), 30_000);
  });

  test("says once that it was refused, and again after something else happened", () => {
    const { connection, refused, lines } = link(0);
    for (const retryAfterMs of [1000, 2000, 3000]) refused({ httpStatus: 429, retryAfterMs });
    const [line] = lines;
    assert.equal(lines.length, 1);
    assert.match(line?.msg ?? "", /takes no link at this moment \(HTTP 429\)/);
    assert.deepEqual([line?.level, line?.retryInMs], [40, 1000]);
    assert.equal(connection.lastError?.code, "rate_limited");
    refused({ error: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) });
    refused({ httpStatus: 503, retryAfterMs: 1000 });
    assert.equal(lines.length, 3);
  });
});

describe("with a gateway that refuses", () => {
  let gateway: FakeGateway;
  let network: Network;
  let clock: ManualClock;
  let gate: LinkGate;

  before(async () => {
    gateway = await FakeGateway.start();
    const url = new URL(gateway.url.replace("wss:", "https:"));
    const credentials = workerKey(gateway.key);
    network = new Network({ gateway: url, credentials, caPem: gateway.caPem, env: {}, clock: systemClock });
  });
  beforeEach(() => {
    clock = new ManualClock();
    gate = new LinkGate();
    gate.open();
    gateway.requests.length = 0;
  });
  after(async () => {
    await network.close();
    await gateway.close();
  });

  test("a dial learns how long to wait", async () => {
    for (const [status, retryAfter, retryAfterMs] of [
      ["429 Too Many Requests", "3", 3000],
      ["503 Service Unavailable", "4", 4000],
      ["503 Service Unavailable", undefined, undefined],
      ["500 Oh", "5", undefined],
    ] as const) {
      gateway.refuseWith = status;
      gateway.retryAfter = retryAfter;
      const closure = await new Promise<SocketClosure>((resolve) => {
        network.openSocket({ onOpen: () => {}, onFrame: () => {}, onClosed: resolve });
      });
      assert.deepEqual(
        [closure.httpStatus, closure.retryAfterMs],
        [Number(status.slice(0, 3)), retryAfterMs],
      );
    }
  });

  test("an output is sent again not before the gateway wants it", async () => {
    const request = network.request.bind(network);
    const transfers = new Transfers({ request, gate, clock, random: () => 0 });
    gateway.failNext = { status: 429, count: 1, retryAfter: "20" };
    const stored = transfers.storeOutput(
      { taskId: "t", token: 1 },
      new Uint8Array(9),
      new AbortController().signal,
    );
    assert.equal(await msToNextTimer(clock), 20_000);
    await stored;
    assert.equal(gateway.outputs.get("t/1")?.length, 9);
    assert.equal(gateway.requests.length, 2);
  });

  test("a model is fetched again not before the gateway wants it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "legacygpu-retry-after-"));
    const waits: number[] = [];
    const cache = new BlobCache({
      directory,
      request: network.request.bind(network),
      gate,
      clock: {
        now: () => clock.now(),
        monotonic: () => clock.monotonic(),
        after: (delayMs, callback) => {
          waits.push(delayMs);
          return clock.after(delayMs, callback);
        },
      },
      random: () => 0,
    });
    const bytes = Buffer.from("a model");
    const digest = gateway.addBlob(bytes) as `sha256:${string}`;
    gateway.failNext = { status: 503, count: 1, retryAfter: "11" };
    const fetched = cache.ensure({ digest, extension: ".onnx", maxBytes: 100 });
    await until("the wait that was asked for", () => waits.includes(11_000));
    clock.advance(10_999);
    await turn();
    assert.equal(gateway.requests.length, 1);
    clock.advance(1);
    await fetched;
    assert.equal(gateway.requests.length, 2);
    await cache.close();
    await rm(directory, { recursive: true });
  });
});

describe("with a gateway that lets nobody join", () => {
  let gateway: EnrolmentGateway;
  before(async () => {
    gateway = await EnrolmentGateway.start();
  });
  after(() => gateway.close());

  test("a box that joins asks again when it was told to, and says so once", async () => {
    const stateDir = await mkdtemp(join(tmpdir(), "legacygpu-retry-after-"));
    const clock = new ManualClock(Date.now());
    const lines: string[] = [];
    const log = createLogger("test", "warn", { write: (line) => void lines.push(line) });
    const path = "/agent/enrolments";
    for (const retryAfter of ["6", "8"]) gateway.failures.push({ path, code: "rate_limited", retryAfter });
    const joined = joinGateway({
      token: gateway.token(),
      workerId: "box-1",
      store: new IdentityStore(stateDir),
      env: {},
      clock,
      random: () => 0,
      log,
    });
    assert.equal(await msToNextTimer(clock), 6000);
    assert.equal(await msToNextTimer(clock), 8000);
    assert.equal((await joined).workerId, "box-1");
    assert.equal(lines.length, 1);
    assert.equal(gateway.count(`POST ${path}`), 3);
    await rm(stateDir, { recursive: true });
  });

  test("a link waits for what the request for an identity was told", async () => {
    const clock = new ManualClock();
    const url = new URL(gateway.url);
    const api = new GatewayApi({ gateway: url, caPem: () => gateway.caPem, env: {}, clock });
    const credentials: Credentials = new IdentityKeeper({
      stored: undefined,
      prove: async () => {
        await api.challenge("box-1");
        throw new Error("not reached");
      },
      onIdentity: async () => {},
      onRefused: () => {},
      clock,
      random: () => 0,
      log: createLogger("test", "silent"),
    });
    gateway.failures.push({ path: "/agent/challenges", code: "gateway_draining", retryAfter: "12" });
    const network = new Network({ gateway: url, credentials, caPem: gateway.caPem, env: {}, clock });
    const closure = await new Promise<SocketClosure>((resolve) => {
      network.openSocket({ onOpen: () => {}, onFrame: () => {}, onClosed: resolve });
    });
    await network.close();
    const { code, details } = closure.error as { code?: string; details?: Record<string, unknown> };
    assert.deepEqual([code, details?.retryAfterMs], ["gateway_draining", 12_000]);
  });
});
