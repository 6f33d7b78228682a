/** Pings on the agent link: how often, what their answers are worth, and who is told. On a virtual clock, over the session itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { encodeValue } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage } from "@legacygpu/shared/protocol/messages";
import type { SocketHandler } from "../../gateway/http/exchange.ts";
import { AttemptOutputs } from "../../gateway/link/attempt-outputs.ts";
import { Hub } from "../../gateway/link/hub.ts";
import type { Worker } from "../../gateway/registry/worker.ts";
import { principal } from "../support/principals.ts";
import { hello, SchedulerRig } from "../support/scheduler-rig.ts";

const HEARTBEAT_MS = 10_000;

function rig() {
  const scheduler = new SchedulerRig();
  const { clock, counters, registry } = scheduler;
  const signs: string[] = [];
  const visitor = principal("key", "worker");
  const hub = new Hub({
    clock,
    log: createLogger("test", "silent"),
    revocable: [],
    gatekeeper: { admitWorker: () => visitor },
    registry,
    scheduler: scheduler.scheduler,
    counters,
    outputs: new AttemptOutputs(),
    health: {
      pinged: ({ id }) => signs.push(`pinged ${id}`),
      heard: ({ id }) => signs.push(`heard ${id}`),
    },
    heartbeatIntervalMs: HEARTBEAT_MS,
    heartbeatTimeoutMs: 30_000,
  });
  /** An agent whose answers take `rttMs`; undefined: it does not answer. */
  const connect = (workerId: string, rttMs: number | undefined) => {
    const pings: Uint8Array[] = [];
    const socket = {
      remoteAddress: "",
      bufferedBytes: 0,
      wake() {},
      close() {},
      ping(payload: Uint8Array) {
        pings.push(payload);
        if (rttMs !== undefined) clock.after(rttMs, () => session.pong(payload));
      },
    };
    const session: SocketHandler = hub.route.open(socket, visitor);
    const send = (...messages: AgentMessage[]): void => session.message(encodeValue(messages));
    send(hello(workerId, { site: "home" }));
    return { session, pings, send, worker: registry.get(workerId) as Worker };
  };
  return { scheduler, clock, counters, hub, signs, connect };
}

test("a worker is pinged when it comes and once a second from then on, however rare heartbeats are", () => {
  const { clock, connect, hub } = rig();
  const { pings, worker } = connect("a", 80);
  assert.equal(pings.length, 1);
  clock.advance(9_050);
  assert.equal(pings.length, 10);
  assert.equal(worker.rtt.samples, 9);
  assert.equal(worker.rtt.smoothedMs, 80);
  assert.equal(worker.path.rttMs, 80);
  hub.close();
});

test("who does not answer is asked again after five seconds only", () => {
  const { clock, connect, hub } = rig();
  const { pings } = connect("a", undefined);
  clock.advance(4_900);
  assert.equal(pings.length, 1);
  clock.advance(200);
  assert.equal(pings.length, 2);
  hub.close();
});

test("an agent that answers what was not asked, or twice, seems no nearer for it, and is counted", () => {
  const { clock, connect, counters, hub } = rig();
  const { session, pings, worker } = connect("liar", 150);
  session.pong(new Uint8Array(8));
  const early = new Uint8Array(8);
  new DataView(early.buffer).setFloat64(0, clock.monotonic() - 1);
  session.pong(early);
  clock.advance(151);
  session.pong(pings[0] as Uint8Array);
  assert.equal(counters.unknownPongs, 3);
  assert.equal(worker.rtt.samples, 1);
  assert.equal(worker.path.rttMs, 150);
  hub.close();
});

test("every ping and every sign of life is told, acknowledgements among them", () => {
  const { clock, connect, hub, signs } = rig();
  const { send } = connect("a", 40);
  assert.deepEqual(signs, ["pinged a"]);
  clock.advance(50);
  send({ type: "ack", receivedBytes: 0 });
  send({ type: "telemetry", running: 0, queued: 0, rssBytes: 1, cpuPercent: 1 });
  assert.deepEqual(signs, ["pinged a", "heard a", "heard a", "heard a"]);
  hub.close();
});

test("what the agent says of itself is kept, with its time", () => {
  const { clock, connect, hub } = rig();
  const { send, worker } = connect("a", 40);
  assert.equal(worker.reported, undefined);
  clock.advance(700);
  send({ type: "telemetry", running: 2, queued: 5, rssBytes: 1000, cpuPercent: 55 });
  assert.deepEqual(worker.reported, { running: 2, queued: 5, cpuPercent: 55, rssBytes: 1000, atMs: 700 });
  hub.close();
});

test("a ping that was out while a file came in does not make the worker seem farther", () => {
  const { clock, connect, hub } = rig();
  const { send, session, pings, worker } = connect("a", undefined);
  const answer = (): void => session.pong(pings.at(-1) as Uint8Array);
  clock.advance(50);
  answer();
  const digest = `sha256:${"0".repeat(64)}` as const;
  for (let second = 0; second < 5; second += 1) {
    send({ type: "blob_state", digest, state: "fetching", receivedBytes: second * 4_000_000 });
    const asked = pings.length;
    while (pings.length === asked) clock.advance(100);
    clock.advance(400);
    answer();
  }
  assert.equal(worker.rtt.smoothedMs, 50);
  assert.equal(worker.path.rttMs, 50);
  assert.ok((worker.path.site.toSite.bytesPerSecond ?? 0) > 1_000_000);
  hub.close();
});

test("a worker that comes back starts from what was known of its site", () => {
  const { clock, connect, hub, scheduler } = rig();
  const { worker } = connect("a", 120);
  clock.advance(5_000);
  scheduler.registry.giveUp(worker, "goodbye");
  const { worker: next } = connect("b", undefined);
  assert.equal(next.path.rttMs, 120);
  assert.equal(next.rtt.smoothedMs, undefined);
  hub.close();
});
