/** Reconnecting and the session's windows, on a virtual clock and a socket made of arrays. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createLogger } from "@legacygpu/shared/log";
import { agentFrames, FrameBuilder } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage } from "@legacygpu/shared/protocol/messages";
import { MAX_FRAME_BYTES, WINDOW_BYTES } from "@legacygpu/shared/protocol/version";
import { Connection } from "../../agent/link/connection.ts";
import { buildHello } from "../../agent/link/hello.ts";
import type { SocketClosure, SocketHandlers } from "../../agent/link/network.ts";
import { floats } from "../support/fake-gateway.ts";
import { ManualClock } from "../support/manual-clock.ts";

class Dialled {
  readonly handlers: SocketHandlers;
  readonly frames: Uint8Array[] = [];
  hungUp: { code: number; reason: string } | undefined;
  isDestroyed = false;
  constructor(handlers: SocketHandlers) {
    this.handlers = handlers;
  }

  get messages(): AgentMessage[] {
    return this.frames.flatMap((frame) => agentFrames.decode(frame).messages);
  }
  get sentBytes(): number {
    return this.frames.reduce((sum, frame) => sum + frame.length, 0);
  }
  give(...messages: GatewayMessage[]): void {
    const builder = new FrameBuilder<GatewayMessage>();
    for (const message of messages) builder.add(message);
    for (const frame of builder.take()) this.handlers.onFrame(frame);
  }
}

const REFUSED: SocketClosure = {
  code: 1006,
  reason: "",
  error: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }),
};
const LOST: SocketClosure = { code: 1006, reason: "" };
const WELCOME: GatewayMessage = {
  type: "welcome",
  protocol: 1,
  sessionId: "s",
  serverTimeMs: 0,
  heartbeatIntervalMs: 5000,
  heartbeatTimeoutMs: 15_000,
  keep: [],
};
const FACTS = {
  workerId: "w",
  instanceId: "i",
  site: "s",
  labels: {},
  hardware: { cpu: { model: "m", cores: 1 }, memoryBytes: 1, platform: "p", gpus: [] },
  providers: ["cpu"],
  slots: 1,
  models: [],
  held: [],
};

/** @param random what every roll of the dice gives. */
function rig(random = 0.999) {
  const clock = new ManualClock();
  const sockets: Dialled[] = [];
  let losses = 0;
  const connection = new Connection({
    dial: (handlers) => {
      const dialled = new Dialled(handlers);
      sockets.push(dialled);
      return {
        send: (frame) => void dialled.frames.push(frame),
        close: (code, reason) => {
          dialled.hungUp = { code, reason };
        },
        destroy: () => {
          dialled.isDestroyed = true;
        },
      };
    },
    context: { gateway: new URL("https://gateway:8000") },
    clock,
    random: () => random,
    log: createLogger("test", "silent"),
    hello: () => buildHello(FACTS),
    telemetry: () => ({ type: "telemetry", running: 0, queued: 0, rssBytes: 1, cpuPercent: 0 }),
    onWelcome: () => {},
    onOrder: () => {},
    onLost: () => {
      losses += 1;
    },
  });
  connection.start();
  const last = (): Dialled => sockets.at(-1) as Dialled;
  const greet = (): void => {
    last().handlers.onOpen();
    last().give(WELCOME);
  };
  return { clock, sockets, connection, last, greet, losses: () => losses };
}

/** Milliseconds until the next dial. */
function msToDial({ clock, sockets }: ReturnType<typeof rig>): number {
  const before = sockets.length;
  const start = clock.monotonic();
  while (sockets.length === before && clock.monotonic() - start < 120_000) clock.advance(1);
  return clock.monotonic() - start;
}

describe("a connection", () => {
  test("backs off to five seconds while nobody answers, and never gives up", () => {
    const link = rig();
    const delays = [];
    for (let i = 0; i < 9; i += 1) {
      link.last().handlers.onClosed(REFUSED);
      delays.push(msToDial(link));
    }
    assert.deepEqual(delays, [500, 999, 1998, 3996, 4995, 4995, 4995, 4995, 4995]);
    assert.equal(link.connection.lastError?.code, "gateway_unreachable");
  });

  test("comes back almost at once after a link that served a while", () => {
    const link = rig();
    link.greet();
    link.clock.advance(6000);
    link.last().give({ type: "heartbeat", serverTimeMs: 0 });
    link.last().handlers.onClosed(LOST);
    assert.equal(link.losses(), 1);
    assert.ok(msToDial(link) <= 250);
  });

  test("is back soon after a gateway that was killed, however long it was away", () => {
    // The worst rolls of the dice. 0.5 s, 5 s and 60 s away.
    for (const [awayMs, withinMs] of [
      [500, 500],
      [5000, 4000],
      [60_000, 5000],
    ] as const) {
      const link = rig();
      link.greet();
      link.clock.advance(6000);
      link.last().give({ type: "heartbeat", serverTimeMs: 0 });
      const killedAt = link.clock.monotonic();
      link.last().handlers.onClosed(LOST);
      for (;;) {
        msToDial(link);
        if (link.clock.monotonic() - killedAt >= awayMs) break;
        link.last().handlers.onClosed(REFUSED);
      }
      link.greet();
      assert.equal(link.connection.state, "online");
      assert.ok(link.clock.monotonic() - killedAt - awayMs <= withinMs, `${awayMs}`);
    }
  });

  test("hangs up on a gateway that takes the connection and says nothing, and dials again", () => {
    const link = rig();
    const [silent] = link.sockets;
    link.clock.advance(20_000);
    assert.equal(silent?.isDestroyed, true);
    assert.equal(link.connection.lastError?.code, "gateway_unreachable");
    msToDial(link);
    silent.handlers.onOpen();
    assert.equal(link.connection.state, "dialing");
    link.greet();
    link.clock.advance(14_000);
    assert.equal(link.connection.state, "online");
  });

  test("does not hammer a gateway that drops it right after the welcome", () => {
    const link = rig();
    const delays = [];
    for (let i = 0; i < 4; i += 1) {
      link.greet();
      link.last().handlers.onClosed(LOST);
      delays.push(msToDial(link));
    }
    assert.deepEqual(delays, [500, 999, 1998, 3996]);
  });

  test("forgets its failures once a link has served a while", () => {
    const link = rig();
    for (let i = 0; i < 6; i += 1) {
      link.last().handlers.onClosed(REFUSED);
      msToDial(link);
    }
    link.greet();
    link.clock.advance(5000);
    link.last().handlers.onClosed(LOST);
    msToDial(link);
    link.last().handlers.onClosed(REFUSED);
    assert.ok(msToDial(link) <= 500);
  });

  test("tries a wrong certificate at the slowest pace", () => {
    const link = rig(0);
    const error = Object.assign(new Error("self-signed"), { code: "SELF_SIGNED_CERT_IN_CHAIN" });
    link.last().handlers.onClosed({ ...LOST, error });
    assert.equal(msToDial(link), 15_000);
    assert.equal(link.connection.lastError?.code, "certificate_invalid");
  });

  test("gives up on a refused key, and on nothing that HTTP 503 can mean", async () => {
    const refused = rig();
    refused.last().handlers.onClosed({ ...LOST, httpStatus: 401 });
    assert.equal((await refused.connection.closed)?.code, "auth_invalid");
    assert.equal(refused.connection.state, "closed");
    const busy = rig();
    busy.last().handlers.onClosed({ ...LOST, httpStatus: 503 });
    assert.equal(busy.connection.state, "waiting");
  });

  test("leaves no timer behind when it is closed, in whatever state", () => {
    const [dialing, waiting, online] = [rig(), rig(), rig()];
    waiting.last().handlers.onClosed(REFUSED);
    online.greet();
    for (const { connection, clock } of [dialing, waiting, online]) {
      connection.close("test");
      assert.equal(clock.pendingCount, 0);
    }
  });
});

describe("a session", () => {
  test("greets first, and hangs up on a gateway that does not answer", async () => {
    const link = rig();
    link.last().handlers.onOpen();
    await turn();
    assert.deepEqual(
      link.last().messages.map(({ type }) => type),
      ["hello"],
    );
    link.clock.advance(10_000);
    assert.match(link.last().hungUp?.reason ?? "", /did not answer the greeting/);
  });

  test("beats every interval and hangs up on silence", async () => {
    const link = rig();
    link.greet();
    await turn();
    const beats = async (): Promise<number> => {
      await turn();
      return link.last().messages.filter(({ type }) => type === "telemetry").length;
    };
    link.clock.advance(14_000);
    assert.equal(await beats(), 2);
    link.clock.advance(1000);
    assert.match(link.last().hungUp?.reason ?? "", /Nothing was heard .* for 15 s/);
    assert.equal(link.connection.state, "waiting");
  });

  test("sends no more than the window, and goes on when it is acknowledged; says when a message arrived", async () => {
    const link = rig();
    link.greet();
    const delivered: number[] = [];
    const tensors = [floats("output", [10_000], 1)];
    const timings = { queuedMs: 0, fetchMs: 0, loadMs: 0, preprocessMs: 0, executeMs: 0, postprocessMs: 0 };
    for (let token = 1; token <= 20; token += 1) {
      const result = {
        type: "result",
        taskId: "t",
        token,
        output: { kind: "output", tensors },
        timings,
        provider: "cpu",
      } as const;
      link.connection.send(result, () => delivered.push(token));
    }
    await turn();
    const before = link.last().sentBytes;
    assert.ok(before >= WINDOW_BYTES && before < WINDOW_BYTES + MAX_FRAME_BYTES, `${before}`);
    assert.deepEqual(delivered, []);
    link.last().give({ type: "ack", receivedBytes: before });
    await turn();
    assert.ok(delivered.length >= 5 && delivered.length < 20, `${delivered.length}`);
    for (let round = 0; round < 5; round += 1) {
      link.last().give({ type: "ack", receivedBytes: link.last().sentBytes });
      await turn();
    }
    assert.deepEqual(
      delivered,
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  test("an impossible ack, garbage, and a task before the welcome end the link with a reason", () => {
    const attacks: ((dialled: Dialled) => void)[] = [
      (dialled) => dialled.give(WELCOME, { type: "ack", receivedBytes: 1e9 }),
      (dialled) => dialled.handlers.onFrame(Uint8Array.of(0xc1)),
      (dialled) => dialled.give({ type: "drain", reason: "too early" }),
      (dialled) => dialled.handlers.onFrame(new Uint8Array(MAX_FRAME_BYTES + 1)),
    ];
    for (const attack of attacks) {
      const link = rig();
      link.last().handlers.onOpen();
      attack(link.last());
      assert.ok([4400, 4413].includes(link.last().hungUp?.code ?? 0));
      assert.equal(link.connection.state, "waiting");
    }
  });

  test("acknowledges what it has received with whatever it sends next", async () => {
    const link = rig();
    link.greet();
    link.clock.advance(5000);
    await turn();
    const acks = link.last().messages.filter(({ type }) => type === "ack");
    assert.equal(acks.length, 1);
  });
});

test("a greeting with more than a frame can hold is cut to fit: models first, then what is held", () => {
  const models = Array.from({ length: 500 }, (_, index) => ({
    name: `a-model-with-a-long-name-${index}`,
    version: "1",
    file: `sha256:${"0".repeat(64)}`,
  }));
  const held = Array.from({ length: 1000 }, (_, token) => ({ taskId: `task_${"x".repeat(26)}`, token }));
  const hello = buildHello({ ...FACTS, models, held });
  const builder = new FrameBuilder<AgentMessage>();
  builder.add(hello);
  assert.equal(hello.held.length, 1000);
  assert.ok(hello.models.length < 500);
});
