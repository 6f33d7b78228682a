import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { PieceWindow, TARGET_MS } from "../../agent/link/piece-window.ts";
import { ManualClock } from "../support/manual-clock.ts";

const NEVER = new AbortController().signal;

/** A line with a queue in front of it, on a virtual clock. */
class Line {
  readonly clock = new ManualClock();
  rttMs: number;
  bytesPerSecond: number;
  jitterMs = 0;
  arrivedBytes = 0;
  #freeAtMs = 0;
  #draws = 0;

  constructor(rttMs: number, bytesPerSecond: number) {
    this.rttMs = rttMs;
    this.bytesPerSecond = bytesPerSecond;
  }

  /** What a heartbeat would wait for now. */
  get queueMs(): number {
    return Math.max(0, this.#freeAtMs - this.clock.monotonic());
  }

  /** Resolves when the last byte is there. */
  async send(bytes: number, began: () => void): Promise<void> {
    const { rttMs, bytesPerSecond, clock } = this;
    await this.#until(clock.monotonic() + rttMs / 2);
    const startsAtMs = Math.max(clock.monotonic(), this.#freeAtMs);
    const endsAtMs = startsAtMs + (1000 * bytes) / bytesPerSecond;
    this.#freeAtMs = endsAtMs;
    const onTheWayMs = rttMs / 2 + this.#jitter();
    await this.#until(startsAtMs + onTheWayMs);
    began();
    await this.#until(endsAtMs + onTheWayMs);
    this.arrivedBytes += bytes;
  }

  #jitter(): number {
    this.#draws += 1;
    return ((this.#draws * 7) % 10) * (this.jitterMs / 10);
  }

  #until(atMs: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(atMs - this.clock.monotonic(), resolve));
  }
}

interface Carried {
  readonly shareOfLine: number;
  /** What heartbeats found in the queue, one every 5 ms, ascending. */
  readonly queuesMs: readonly number[];
}

async function carry(line: Line, window: PieceWindow, forMs: number): Promise<Carried> {
  const stopping = new AbortController();
  const before = line.arrivedBytes;
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const piece = await window.enter("one", stopping.signal);
      void line.send(piece.maxBytes, () => piece.began(piece.maxBytes)).then(() => piece.ended());
    }
  })();
  const queuesMs: number[] = [];
  for (let elapsedMs = 0; elapsedMs < forMs; elapsedMs += 1) {
    line.clock.advance(1);
    await turn();
    if (elapsedMs % 5 === 0) queuesMs.push(line.queueMs);
  }
  stopping.abort();
  await loop.catch(() => {});
  const shareOfLine = (line.arrivedBytes - before) / ((line.bytesPerSecond * forMs) / 1000);
  return { shareOfLine, queuesMs: queuesMs.sort((a, b) => a - b) };
}

const p99 = ({ queuesMs }: Carried): number => queuesMs[Math.floor(queuesMs.length * 0.99)] ?? Number.NaN;

describe("the window of downloads", () => {
  for (const [rttMs, mbitPerSecond] of [
    [2, 10],
    [40, 10],
    [180, 10],
    [40, 100],
  ] as const) {
    test(`fills a line of ${mbitPerSecond} Mbit/s over ${rttMs} ms and leaves heartbeats their way`, async () => {
      const line = new Line(rttMs, (mbitPerSecond * 1e6) / 8);
      const window = new PieceWindow(line.clock);
      await carry(line, window, 4000);
      const settled = await carry(line, window, 6000);
      assert.ok(settled.shareOfLine > 0.9, `only ${settled.shareOfLine} of the line`);
      assert.ok(p99(settled) < rttMs + 50, `heartbeats wait for ${p99(settled)} ms`);
    });
  }

  test("does not take jitter for a queue", async () => {
    const line = new Line(40, 10e6 / 8);
    line.jitterMs = 15;
    const window = new PieceWindow(line.clock);
    await carry(line, window, 3000);
    assert.ok((await carry(line, window, 6000)).shareOfLine > 0.9);
  });

  test("follows a line that becomes slower, and one that becomes longer", async () => {
    const line = new Line(40, 10e6 / 8);
    const window = new PieceWindow(line.clock);
    await carry(line, window, 3000);
    line.bytesPerSecond /= 4;
    await carry(line, window, 6000);
    const slower = await carry(line, window, 3000);
    assert.ok(p99(slower) < 90, `heartbeats wait for ${p99(slower)} ms`);
    line.bytesPerSecond *= 4;
    line.rttMs = 200;
    await carry(line, window, 20_000);
    const longer = await carry(line, window, 5000);
    assert.ok(longer.shareOfLine > 0.8, `only ${longer.shareOfLine} of the line`);
  });

  test("does not grow by what does not make use of it", async () => {
    const line = new Line(40, 10e6);
    const window = new PieceWindow(line.clock);
    const before = window.bytes;
    for (let count = 0; count < 50; count += 1) {
      const piece = await window.enter("all", NEVER);
      piece.began(1000);
      piece.ended();
      line.clock.advance(50);
    }
    assert.equal(window.bytes, before);
  });

  test("lets nobody in while a piece travels alone to measure the path", async () => {
    const clock = new ManualClock();
    const window = new PieceWindow(clock);
    const alone = await window.enter("one", NEVER);
    let isIn = false;
    const next = window.enter("one", NEVER).then((piece) => {
      isIn = true;
      return piece;
    });
    await turn();
    assert.equal(isIn, false);
    clock.advance(TARGET_MS);
    alone.began(alone.maxBytes);
    (await next).ended();
  });

  test("a measurement that fails lets the next one in", async () => {
    const window = new PieceWindow(new ManualClock());
    (await window.enter("all", NEVER)).ended();
    (await window.enter("all", NEVER)).ended();
  });

  test("whoever gives up waiting is told why", async () => {
    const window = new PieceWindow(new ManualClock());
    await window.enter("all", NEVER);
    const stopping = new AbortController();
    const waiting = window.enter("one", stopping.signal);
    stopping.abort(new Error("no more"));
    await assert.rejects(waiting, /no more/);
  });
});
