/** The path to a worker: what it has of its site, what samples are worth, and how a new path is noticed. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Pings } from "../../gateway/registry/pings.ts";
import { Site, Sites } from "../../gateway/registry/sites.ts";
import { WorkerPath } from "../../gateway/registry/worker-path.ts";
import { ManualClock } from "../support/manual-clock.ts";

function rig(workers = 1) {
  const clock = new ManualClock();
  const site = new Site("home", clock);
  const paths = Array.from({ length: workers }, () => new WorkerPath(site, clock));
  /** Every worker answers once a second. */
  const seconds = (count: number, rttMs: (path: number) => number, isQueued = false): void => {
    for (let i = 0; i < count; i += 1) {
      clock.advance(1000);
      for (const [index, path] of paths.entries())
        path.ponged({ rttMs: rttMs(index), sentAtMs: clock.monotonic(), isQueued });
    }
  };
  return { clock, site, paths, path: paths[0] as WorkerPath, seconds };
}

function assertAbout(actual: number | undefined, expected: number, toleranceMs: number): void {
  assert.ok(
    actual !== undefined && Math.abs(actual - expected) <= toleranceMs,
    `expected about ${expected} ms, got ${actual}`,
  );
}

/** Around `meanMs`, the same every time. */
function wobble(meanMs: number, spreadMs: number): () => number {
  let turn = 0;
  return () => {
    turn += 1;
    return meanMs + spreadMs * Math.sin(turn * 2.4);
  };
}

test("nothing is known before the first sample, and the first one counts", () => {
  const { path } = rig();
  assert.equal(path.rttMs, undefined);
  path.ponged({ rttMs: 80, sentAtMs: 0, isQueued: true });
  assert.equal(path.rttMs, 80);
  assert.ok(path.deviationMs > 0);
});

test("a worker that has just connected starts from its site", () => {
  const { clock, site, seconds } = rig(3);
  seconds(30, wobble(120, 4));
  const newcomer = new WorkerPath(site, clock);
  assertAbout(newcomer.rttMs, 120, 6);
});

test("a path that grows slowly is followed", () => {
  const { path, seconds } = rig();
  let rttMs = 50;
  seconds(10, () => rttMs);
  seconds(200, () => (rttMs += 0.25));
  assertAbout(path.rttMs, 100, 8);
});

test("one spike moves nothing; a new path is believed after four samples, of whichever workers", () => {
  const { path, paths, seconds } = rig(2);
  const home = wobble(40, 2);
  seconds(30, home);
  path.ponged({ rttMs: 900, sentAtMs: 0, isQueued: false });
  assertAbout(path.rttMs, 40, 4);
  seconds(1, home);
  seconds(2, wobble(150, 2));
  for (const each of paths) assertAbout(each.rttMs, 150, 8);
});

test("what stood behind something large never raises the estimate, and lowers it when it is lower", () => {
  const { path, seconds } = rig();
  seconds(20, wobble(60, 1));
  const before = path.rttMs;
  seconds(8, () => 200, true);
  assert.equal(path.rttMs, before);
  assert.ok((path.pings.smoothedMs ?? 0) < 70);
  path.ponged({ rttMs: 58, sentAtMs: 0, isQueued: true });
  assert.ok((path.rttMs ?? 0) < (before ?? 0));
  seconds(4, () => 30, true);
  assertAbout(path.rttMs, 30, 3);
  assert.equal(path.pings.minimumMs, 30);
});

test("on a link that is never quiet a new path is noticed all the same", () => {
  const { path, seconds } = rig();
  seconds(20, () => 60);
  seconds(20, () => 200, true);
  assertAbout(path.rttMs, 200, 10);
});

test("a worker that is not where its site is goes by its own pings, and does not drag the others along", () => {
  const { paths, seconds } = rig(4);
  seconds(40, (index) => (index === 3 ? 180 : 20));
  for (const path of paths.slice(0, 3)) assertAbout(path.rttMs, 20, 2);
  assertAbout(paths[3]?.rttMs, 180, 4);
});

test("a site is remembered when its last worker leaves, for an hour, and no more than 256 of them", () => {
  const clock = new ManualClock();
  const sites = new Sites(clock);
  const home = sites.enter("home");
  sites.enter("home");
  home.rtt.sample({ offsetMs: 0 }, 33);
  sites.leave(home);
  clock.advance(7_200_000);
  assert.equal(sites.enter("home"), home, "it still had a worker");
  sites.leave(home);
  home.lastSeenAtMs = clock.now();
  sites.leave(home);
  clock.advance(3_500_000);
  assert.equal(sites.enter("home").rtt.rttMs, 33);
  sites.leave(home);
  clock.advance(3_700_000);
  assert.notEqual(sites.enter("home"), home);
  for (let i = 0; i < 300; i += 1) sites.leave(sites.enter(`invented-${i}`));
  assert.equal([...sites.all].length, 257);
  assert.equal(sites.get("invented-43"), undefined);
  assert.notEqual(sites.get("invented-44"), undefined);
});

function pingRig() {
  const clock = new ManualClock();
  const load = { unacknowledgedBytes: 0, receivedBytes: 0 };
  let next = 0;
  const randomBytes = (size: number): Uint8Array => {
    next += 1;
    return new Uint8Array(size).fill(next);
  };
  return { clock, load, pings: new Pings({ clock, load, randomBytes }) };
}

test("an answer to a ping that was never sent, or a second one, is not believed", () => {
  const { clock, pings } = pingRig();
  const sent = pings.next();
  clock.advance(120);
  assert.equal(pings.answered(new Uint8Array(8)), undefined);
  assert.equal(pings.answered(sent.slice(0, 4)), undefined);
  assert.equal(pings.answered(sent)?.rttMs, 120);
  assert.equal(pings.answered(sent), undefined);
});

test("a ping carries nothing from which its time could be told", () => {
  const clock = new ManualClock();
  const load = { unacknowledgedBytes: 0, receivedBytes: 0 };
  const pings = new Pings({ clock, load });
  assert.notDeepEqual(pings.next(), pings.next());
});

test("a ping a second, but none while one is out, unless it is five seconds old", () => {
  const { clock, pings } = pingRig();
  assert.ok(pings.isDue);
  const first = pings.next();
  clock.advance(900);
  pings.answered(first);
  assert.ok(!pings.isDue);
  clock.advance(100);
  assert.ok(pings.isDue);
  const second = pings.next();
  clock.advance(4900);
  assert.ok(!pings.isDue);
  clock.advance(100);
  assert.ok(pings.isDue);
  const third = pings.next();
  clock.advance(1000);
  assert.equal(pings.answered(second)?.rttMs, 6000, "late is late, not a lie");
  assert.ok(!pings.isDue, "the third is out");
  assert.equal(pings.answered(third)?.rttMs, 1000);
  assert.ok(pings.isDue);
});

test("a ping behind much that is not acknowledged is suspect, and so is one whose answer came behind much", () => {
  const { load, pings } = pingRig();
  assert.equal(pings.answered(pings.next())?.isQueued, false);
  load.unacknowledgedBytes = 20_000;
  assert.equal(pings.answered(pings.next())?.isQueued, true);
  load.unacknowledgedBytes = 0;
  const sent = pings.next();
  load.receivedBytes += 20_000;
  assert.equal(pings.answered(sent)?.isQueued, true);
});
