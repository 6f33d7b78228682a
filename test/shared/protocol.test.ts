import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { agentFrames, encodeValue, FrameBuilder, gatewayFrames } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage } from "@legacygpu/shared/protocol/messages";
import { MAX_FRAME_BYTES } from "@legacygpu/shared/protocol/version";
import { ReceiveWindow, SendWindow } from "@legacygpu/shared/protocol/window";
import fc from "fast-check";
import { AGENT_VECTORS, GATEWAY_VECTORS } from "./protocol-vectors.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

function frameOf<M>(...messages: M[]): Uint8Array {
  const builder = new FrameBuilder<M>();
  for (const message of messages) builder.add(message);
  const [frame] = builder.take();
  assert.ok(frame);
  return frame;
}

describe("golden vectors: bytes that other versions write and read", () => {
  for (const [name, message, golden] of AGENT_VECTORS) {
    test(`agent → gateway: ${name}`, () => {
      assert.equal(hex(frameOf<AgentMessage>(message)), golden);
      assert.deepEqual(agentFrames.decode(bytes(golden)).messages, [message]);
    });
  }
  for (const [name, message, golden] of GATEWAY_VECTORS) {
    test(`gateway → agent: ${name}`, () => {
      assert.equal(hex(frameOf<GatewayMessage>(message)), golden);
      assert.deepEqual(gatewayFrames.decode(bytes(golden)).messages, [message]);
    });
  }
});

describe("frames", () => {
  test("messages of a newer version are counted and skipped, unknown fields are dropped", () => {
    const frame = encodeValue([
      { type: "from_the_future", x: 1 },
      { type: "goodbye", reason: "r", mood: "good" },
    ]);
    assert.deepEqual(agentFrames.decode(frame), {
      messages: [{ type: "goodbye", reason: "r" }],
      unknownCount: 1,
    });
  });

  test("a malformed message says which field", () => {
    const frame = encodeValue([{ type: "accepted", taskId: "t", token: "seven" }]);
    assert.throws(() => agentFrames.decode(frame), {
      code: "link_frame_malformed",
      message: /accepted.*token/s,
    });
  });

  test("what is no array of messages is refused", () => {
    for (const frame of [
      new Uint8Array([0xc1]),
      encodeValue({}),
      encodeValue([1]),
      encodeValue([{}]),
      encodeValue([null]),
      new Uint8Array(),
    ]) {
      assert.throws(() => agentFrames.decode(frame), { code: "link_frame_malformed" });
    }
  });

  test("random bytes never do anything but decode or be refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (junk) => {
        try {
          agentFrames.decode(junk);
        } catch (error) {
          assert.equal((error as { code: string }).code, "link_frame_malformed");
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("any list of messages comes back in order, in frames within the limit", () => {
    const message = fc
      .string({ maxLength: 1900 })
      .map((reason): AgentMessage => ({ type: "goodbye", reason }));
    fc.assert(
      fc.property(fc.array(message, { maxLength: 120 }), (messages) => {
        const builder = new FrameBuilder<AgentMessage>();
        for (const each of messages) builder.add(each);
        const frames = builder.take();
        assert.ok(frames.every((frame) => frame.length <= MAX_FRAME_BYTES));
        assert.deepEqual(
          frames.flatMap((frame) => agentFrames.decode(frame).messages),
          messages,
        );
        assert.deepEqual(builder.take(), []);
      }),
      { numRuns: 100 },
    );
  });

  test("a message that fits no frame is refused when it is added", () => {
    const builder = new FrameBuilder<unknown>();
    assert.throws(() => builder.add(new Uint8Array(MAX_FRAME_BYTES)), { code: "link_frame_too_large" });
    assert.deepEqual(builder.take(), []);
  });
});

describe("windows", () => {
  test("the sender stops at the limit and goes on after an ack", () => {
    const window = new SendWindow(100);
    window.sent(99);
    assert.equal(window.isOpen, true);
    window.sent(1);
    assert.equal(window.isOpen, false);
    assert.equal(window.acknowledge(50), true);
    assert.equal(window.isOpen, true);
  });

  test("an ack that cannot be right is recognised", () => {
    const window = new SendWindow(100);
    window.sent(10);
    assert.equal(window.acknowledge(11), false);
    assert.equal(window.acknowledge(10), true);
    assert.equal(window.acknowledge(9), false);
  });

  test("the receiver reports all bytes, and is due after enough of them", () => {
    const window = new ReceiveWindow();
    window.received(100);
    assert.deepEqual([window.isAckDue, window.hasUnreported], [false, true]);
    window.received(64 * 1024);
    assert.equal(window.isAckDue, true);
    assert.equal(window.report(), 100 + 64 * 1024);
    assert.deepEqual([window.isAckDue, window.hasUnreported], [false, false]);
  });
});
