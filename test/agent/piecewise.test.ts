import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { fail } from "@legacygpu/shared/errors";
import { rangeAnswer } from "@legacygpu/shared/protocol/byte-range";
import fc from "fast-check";
import type { HttpReply } from "../../agent/link/network.ts";
import { PieceWindow } from "../../agent/link/piece-window.ts";
import { downloadInPieces } from "../../agent/link/piecewise.ts";
import { ManualClock } from "../support/manual-clock.ts";

const NEVER = new AbortController().signal;

function reply(status: number, headers: Record<string, string>, bytes: Uint8Array): HttpReply {
  const arrayBuffer = async (): Promise<ArrayBuffer> => {
    await turn();
    return bytes.slice().buffer;
  };
  return {
    status,
    headers,
    body: Object.assign(Readable.from([bytes]), { text: async () => "", arrayBuffer }),
  };
}

/** As a gateway answers. */
function part(whole: Uint8Array, range: string): HttpReply {
  const representation = { tag: '"1"', type: "application/msgpack", sizeBytes: whole.length };
  const answer = rangeAnswer({ range, ifRange: undefined }, representation);
  const { first, last } = answer.range ?? { first: 0, last: whole.length - 1 };
  return reply(answer.status, answer.headers, whole.subarray(first, last + 1));
}

function bytesOf(sizeBytes: number): Uint8Array {
  const block = createHash("sha256").update("block").digest();
  return Uint8Array.from({ length: sizeBytes }, (_, index) => (block[index % 31] ?? 0) ^ (index >> 8));
}

const newWindow = (): PieceWindow => new PieceWindow(new ManualClock());

/** Whoever comes next is let in. */
async function assertFree(window: PieceWindow): Promise<void> {
  (await window.enter("all", AbortSignal.timeout(2000))).ended();
}

describe("a download in pieces", () => {
  test("gives what was sent, whatever its size, and several at once do not mix", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 3 }),
        async (sizes) => {
          const window = newWindow();
          const download = async (sizeBytes: number): Promise<void> => {
            const whole = bytesOf(sizeBytes);
            const open = async (range: string): Promise<HttpReply> => {
              await turn();
              return part(whole, range);
            };
            const got = await downloadInPieces({ window, open, signal: NEVER });
            assert.ok(Buffer.from(got).equals(whole));
          };
          await Promise.all(sizes.map(download));
          await assertFree(window);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("takes the whole from a gateway that knows no ranges, with one request", async () => {
    const whole = bytesOf(500_000);
    let requests = 0;
    const open = async (): Promise<HttpReply> => {
      requests += 1;
      return reply(200, {}, whole);
    };
    const window = newWindow();
    assert.deepEqual(await downloadInPieces({ window, open, signal: NEVER }), whole);
    assert.equal(requests, 1);
    await assertFree(window);
  });

  test("never has more on its way than the window allows", async () => {
    const whole = bytesOf(2_000_000);
    const window = newWindow();
    let onTheWay = 0;
    let most = 0;
    const open = async (range: string): Promise<HttpReply> => {
      const answer = part(whole, range);
      const bytes = Buffer.from(await answer.body.arrayBuffer()).length;
      onTheWay += bytes;
      most = Math.max(most, onTheWay / window.bytes);
      return {
        ...answer,
        body: Object.assign(Readable.from([]), {
          text: async () => "",
          arrayBuffer: async () => {
            onTheWay -= bytes;
            return answer.body.arrayBuffer();
          },
        }),
      };
    };
    await downloadInPieces({ window, open, signal: NEVER });
    assert.ok(most > 0 && most <= 1, `${most} of the window`);
  });

  test("ends with what failed first, and gives its place back", async () => {
    const whole = bytesOf(400_000);
    let requests = 0;
    const open = async (range: string): Promise<HttpReply> => {
      requests += 1;
      await turn();
      if (requests > 4) throw fail("attempt_not_found");
      return part(whole, range);
    };
    const window = newWindow();
    await assert.rejects(downloadInPieces({ window, open, signal: NEVER }), { code: "attempt_not_found" });
    await assertFree(window);
  });

  for (const [what, wrong] of [
    ["from another place", (whole: Uint8Array) => part(whole, "bytes=5-50000")],
    ["without its place", (whole: Uint8Array) => reply(206, {}, whole.subarray(0, 65_536))],
    [
      "with fewer bytes than it says",
      (whole: Uint8Array) => ({
        ...part(whole, "bytes=0-65535"),
        body: reply(206, {}, whole.subarray(0, 9)).body,
      }),
    ],
  ] as const) {
    test(`refuses a piece that comes ${what}`, async () => {
      const whole = bytesOf(400_000);
      const window = newWindow();
      const open = async (): Promise<HttpReply> => wrong(whole);
      await assert.rejects(downloadInPieces({ window, open, signal: NEVER }), { code: "transfer_failed" });
      await assertFree(window);
    });
  }
});
