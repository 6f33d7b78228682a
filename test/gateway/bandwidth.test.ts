/** The bandwidth of a site's line, from transfers that share it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Bandwidth, type Transferred } from "../../gateway/registry/bandwidth.ts";
import { BlobProgress } from "../../gateway/registry/blob-progress.ts";
import { Site } from "../../gateway/registry/sites.ts";
import { WorkerPath } from "../../gateway/registry/worker-path.ts";
import { ManualClock } from "../support/manual-clock.ts";

const MB = 1_000_000;

function assertAbout(actual: number | undefined, expected: number, tolerance = 0.01): void {
  assert.ok(
    actual !== undefined && Math.abs(actual / expected - 1) <= tolerance,
    `expected about ${expected}, got ${actual}`,
  );
}

/** One after the other on an otherwise quiet line. */
function transfers(bandwidth: Bandwidth, { from, count, bytes, rate }: Record<string, number>): number {
  let nowMs = from as number;
  for (let i = 0; i < (count as number); i += 1) {
    const endMs = nowMs + (1000 * (bytes as number)) / (rate as number);
    bandwidth.transferred({ startMs: nowMs, endMs, bytes: bytes as number });
    nowMs = endMs + 100;
  }
  return nowMs;
}

test("nothing is known before the first transfer that is large enough", () => {
  const bandwidth = new Bandwidth();
  bandwidth.transferred({ startMs: 0, endMs: 1, bytes: 64 * 1024 - 1 });
  assert.equal(bandwidth.bytesPerSecond, undefined);
  bandwidth.transferred({ startMs: 0, endMs: 65.536, bytes: 64 * 1024 });
  assertAbout(bandwidth.bytesPerSecond, MB);
  assert.equal(bandwidth.transfers, 1);
});

test("transfers of one moment are counted together, in whatever order they are heard of", () => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
  ]) {
    const bandwidth = new Bandwidth();
    // Three that share 3 MB/s; the last one has it alone in the end.
    const shared: Transferred[] = [
      { startMs: 0, endMs: 300, bytes: 0.3 * MB },
      { startMs: 0, endMs: 300, bytes: 0.3 * MB },
      { startMs: 0, endMs: 400, bytes: 0.6 * MB },
    ];
    for (const index of order) bandwidth.transferred(shared[index] as Transferred);
    assertAbout(bandwidth.bytesPerSecond, 3 * MB);
  }
});

test("one stalled transfer moves nothing", () => {
  const bandwidth = new Bandwidth();
  const nowMs = transfers(bandwidth, { from: 0, count: 8, bytes: MB, rate: 10 * MB });
  bandwidth.transferred({ startMs: nowMs, endMs: nowMs + 900, bytes: MB });
  assertAbout(bandwidth.bytesPerSecond, 10 * MB);
});

test("a line that has become slower is noticed after two transfers, a faster one after three at most", () => {
  const bandwidth = new Bandwidth();
  let nowMs = transfers(bandwidth, { from: 0, count: 20, bytes: MB, rate: 10 * MB });
  nowMs = transfers(bandwidth, { from: nowMs, count: 1, bytes: 0.5 * MB, rate: 2 * MB });
  assertAbout(bandwidth.bytesPerSecond, 10 * MB);
  nowMs = transfers(bandwidth, { from: nowMs, count: 1, bytes: 0.5 * MB, rate: 2 * MB });
  assertAbout(bandwidth.bytesPerSecond, 2 * MB);
  nowMs = transfers(bandwidth, { from: nowMs, count: 20, bytes: MB, rate: 2 * MB });
  nowMs = transfers(bandwidth, { from: nowMs, count: 2, bytes: MB, rate: 20 * MB });
  assertAbout(bandwidth.bytesPerSecond, 2 * MB);
  transfers(bandwidth, { from: nowMs, count: 1, bytes: MB, rate: 20 * MB });
  assertAbout(bandwidth.bytesPerSecond, 20 * MB);
});

test("a line that becomes slower during one long transfer is noticed while it lasts", () => {
  const bandwidth = new Bandwidth();
  for (let second = 0; second < 10; second += 1)
    bandwidth.transferred({ startMs: second * 1000, endMs: (second + 1) * 1000, bytes: 10 * MB });
  assertAbout(bandwidth.bytesPerSecond, 10 * MB);
  for (let second = 10; second < 12; second += 1)
    bandwidth.transferred({ startMs: second * 1000, endMs: (second + 1) * 1000, bytes: MB });
  assertAbout(bandwidth.bytesPerSecond, MB);
});

test("whatever transfers share a line fairly, the estimate is the line's rate", () => {
  const arrivals = fc.array(
    fc.record({ afterMs: fc.integer({ min: 0, max: 400 }), bytes: fc.integer({ min: 65_536, max: 2 * MB }) }),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 100_000, max: 50 * MB }), (wanted, rate) => {
      const bandwidth = new Bandwidth();
      for (const transferred of fairlyShared(wanted, rate)) bandwidth.transferred(transferred);
      const estimate = bandwidth.bytesPerSecond ?? 0;
      // Bytes are spread evenly over a transfer, and shares are not even: what falls into a burst may be a little off.
      assert.ok(estimate > rate / 3 && estimate < rate * 3, `${estimate} for ${rate}`);
    }),
    { numRuns: 200 },
  );
});

/** Processor sharing, in the order in which the transfers end. */
function fairlyShared(
  wanted: readonly { readonly afterMs: number; readonly bytes: number }[],
  rate: number,
): Transferred[] {
  let startMs = 0;
  const waiting = wanted.map(({ afterMs, bytes }) => {
    startMs += afterMs;
    return { startMs, bytes, leftBytes: bytes };
  });
  const running: typeof waiting = [];
  const ended: Transferred[] = [];
  let nowMs = 0;
  while (waiting.length > 0 || running.length > 0) {
    const share = rate / 1000 / Math.max(1, running.length);
    const endsInMs = Math.min(...running.map(({ leftBytes }) => leftBytes / share));
    const stepMs = Math.min(endsInMs, (waiting[0]?.startMs ?? Number.POSITIVE_INFINITY) - nowMs);
    nowMs += stepMs;
    for (const transfer of running) transfer.leftBytes -= share * stepMs;
    for (const transfer of running.filter(({ leftBytes }) => leftBytes < 1e-6)) {
      running.splice(running.indexOf(transfer), 1);
      ended.push({ startMs: transfer.startMs, endMs: nowMs, bytes: transfer.bytes });
    }
    while (waiting[0] !== undefined && waiting[0].startMs <= nowMs)
      running.push(waiting.shift() as (typeof waiting)[number]);
  }
  return ended;
}

test("a file on its way tells of the line once a second, and nothing of the time in which it stood still", () => {
  const clock = new ManualClock();
  const site = new Site("home", clock);
  const progress = new BlobProgress(new WorkerPath(site, clock));
  const digest = `sha256:${"a".repeat(64)}` as const;
  const tell = (receivedBytes: number): void =>
    progress.heard({ type: "blob_state", digest, state: "fetching", receivedBytes }, clock.monotonic());
  // It goes on with what it had from an earlier try.
  tell(500 * MB);
  assert.equal(site.toSite.bytesPerSecond, undefined);
  assert.ok(site.wasBusySince(clock.monotonic()));
  for (let second = 1; second <= 3; second += 1) {
    clock.advance(1000);
    tell(500 * MB + second * 4 * MB);
  }
  assertAbout(site.toSite.bytesPerSecond, 4 * MB);
  clock.advance(60_000);
  tell(513 * MB);
  assertAbout(site.toSite.bytesPerSecond, 4 * MB);
});

test("a line so slow that a second tells little is measured over several", () => {
  const clock = new ManualClock();
  const site = new Site("home", clock);
  const progress = new BlobProgress(new WorkerPath(site, clock));
  const digest = `sha256:${"a".repeat(64)}` as const;
  for (let second = 0; second <= 5; second += 1) {
    const receivedBytes = second * 30_000;
    progress.heard({ type: "blob_state", digest, state: "fetching", receivedBytes }, clock.monotonic());
    clock.advance(1000);
  }
  assertAbout(site.toSite.bytesPerSecond, 30_000);
});

test("a line is busy for as long as what was announced takes, and never for long", () => {
  const clock = new ManualClock();
  const { toSite } = new Site("home", clock);
  toSite.expect(500_000);
  clock.advance(400);
  assert.ok(toSite.wasBusySince(clock.monotonic()));
  clock.advance(200);
  assert.ok(!toSite.wasBusySince(clock.monotonic()));
  assert.ok(toSite.wasBusySince(clock.monotonic() - 200));
  toSite.expect(1e15);
  toSite.expect(Number.NaN);
  clock.advance(10_001);
  assert.ok(!toSite.wasBusySince(clock.monotonic()));
});

test("a transfer faster than any line is a lie", () => {
  const clock = new ManualClock();
  const { toSite } = new Site("home", clock);
  toSite.transferred(0, 1, 1e12);
  assert.equal(toSite.bytesPerSecond, undefined);
});
