import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { Child, type ChildOptions } from "../../bench/child.ts";
import { History } from "../../bench/durability/history.ts";
import { runLossTest } from "../../bench/durability/loss-test.ts";
import { judge, type Verdict } from "../../bench/durability/verdict.ts";
import { cutPower } from "../../bench/power/cuts.ts";
import { runPowerTest, whyNoPowerTest } from "../../bench/power/power-test.ts";
import type { LogEvent } from "../../bench/power/write-log.ts";
import { seededRandom } from "../../models/onnx/random.ts";

const KILLS = 10;
const CUTS = 25;

let folder: string;
let children: Child[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-loss-"));
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill();
  await Promise.all(children.map(({ exited }) => exited));
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** From source: a test needs no build. */
function start(options: ChildOptions): Child {
  const child = new Child({ ...options, form: "source" });
  children.push(child);
  return child;
}

test(`the gateway is killed ${KILLS} times, agents die and freeze, links break: nothing acknowledged is lost or done twice`, {
  timeout: 300_000,
}, async (t) => {
  const seed = randomInt(2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const report = await runLossTest({ folder, start, kills: KILLS, seed, say: (text) => t.diagnostic(text) });
  const { lost, duplicated, wrong, late, violations } = report;
  assert.deepEqual(
    { lost, duplicated, wrong, late, violations },
    { lost: [], duplicated: [], wrong: [], late: [], violations: [] },
  );
  assert.equal(report.faults.kills, KILLS);
  assert.ok(report.completed > KILLS, "there was something to lose");
});

test("the power is cut at random moments: what was acknowledged is on the disk, whole", {
  skip: await whyNoPowerTest(),
  timeout: 120_000,
}, async (t) => {
  const seed = randomInt(2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const options = { folder, start, runs: 1, cuts: CUTS, seed };
  const report = await runPowerTest({ ...options, say: (text) => t.diagnostic(text) });
  assert.deepEqual(report.lost, []);
  assert.ok(report.lostWithoutSyncs > 0, "without syncs tasks are lost, and that is seen");
});

describe("the judge of the loss test", () => {
  const ID = "task_one";
  const running: TaskJson = {
    id: ID,
    object: "task",
    model: "identity",
    version: "1",
    status: "RUNNING",
    priority: "NORMAL",
    durability: "flushed",
    attempt: 1,
    max_attempts: 3,
    created_at: new Date(0).toISOString(),
    queued_at: new Date(0).toISOString(),
    started_at: new Date(1).toISOString(),
    completed_at: null,
    deadline_at: null,
    expires_at: null,
    attempts: [],
    timings_ms: null,
    error: null,
    result: null,
    result_bytes: null,
    dead_letter: false,
    data_removed: false,
    urls: { self: "", result: "", events: "", cancel: "", retry: "" },
    metadata: {},
    tags: [],
  };
  const attempt = {
    n: 1,
    worker: "box",
    site: "lab",
    started_at: new Date(0).toISOString(),
    ended_at: new Date(1000).toISOString(),
    token: 1,
    outcome: "completed",
  } as const;
  /** The right answer to request 1. */
  const data = Array.from({ length: 16 }, (_, i) => 1 + (i % 8) / 8);
  const result = (numbers: number[]): TaskJson["result"] => ({
    model_name: "identity",
    model_version: "1",
    outputs: [{ name: "output", datatype: "FP32", shape: [1, 16], data: numbers }],
  });
  const completed: TaskJson = {
    ...running,
    status: "COMPLETED",
    completed_at: new Date(1000).toISOString(),
    attempts: [attempt],
    result: result(data),
  };

  /** Request 1 was acknowledged, and this was seen of it afterwards. */
  function verdict(seen: readonly TaskJson[], more: Partial<Parameters<typeof judge>[0]> = {}): Verdict {
    const history = new History();
    history.acknowledged(1, { ...running, deadline_at: seen[0]?.deadline_at ?? null }, 0);
    for (const task of seen) history.seen(task, performance.now());
    const listed = new Map([[1, new Set([ID])]]);
    const upTimes = [{ fromMs: 0, toMs: 100_000 }];
    return judge({ history, listed, executions: new Map([[1, 1]]), upTimes, ...more });
  }

  test("finds nothing wrong with one right answer, however often it is seen", () => {
    const {
      accepted,
      completed: count,
      lost,
      duplicated,
      wrong,
      late,
    } = verdict([running, completed, completed]);
    assert.deepEqual([accepted, count, lost, duplicated, wrong, late], [1, 1, [], [], [], []]);
  });

  test("calls a task lost that never ends, is not found, or is not in the list", () => {
    assert.match(verdict([running]).lost[0] ?? "", /has not ended/);
    assert.match(verdict([completed], { listed: new Map() }).lost[0] ?? "", /not in the list/);
    const history = new History();
    history.acknowledged(1, running, 0);
    history.missing(ID);
    assert.match(verdict([], { history }).lost[0] ?? "", /not found/);
  });

  test("notices two ends of one task, and an end that is taken back", () => {
    const again = { ...completed, attempts: [{ ...attempt, token: 2 }] };
    assert.equal(verdict([completed, again]).duplicated.length, 1);
    assert.equal(verdict([completed, running]).duplicated.length, 1);
  });

  test("is not confused by an answer that was overtaken by a later one", () => {
    const history = new History();
    history.acknowledged(1, completed, 0);
    history.seen(running, 0);
    assert.deepEqual(verdict([], { history }).duplicated, []);
  });

  test("notices two tasks of one request, acknowledged or not", () => {
    const twin = new Map([[1, new Set([ID, "task_two"])]]);
    assert.match(
      verdict([completed], { listed: twin }).duplicated[0] ?? "",
      /request 1 made task_one and task_two/,
    );
    const history = new History();
    history.acknowledged(1, completed, 0);
    history.acknowledged(1, { ...completed, id: "task_two" }, 0);
    assert.equal(verdict([], { history, listed: twin }).duplicated.length, 1);
  });

  test("notices an answer that is wrong, comes from two attempts, or was never computed", () => {
    assert.match(
      verdict([{ ...completed, result: result([2, ...data.slice(1)]) }]).wrong[0] ?? "",
      /wrong answer/,
    );
    const two = { ...completed, attempts: [attempt, { ...attempt, n: 2, token: 2 }] };
    assert.match(verdict([two]).wrong[0] ?? "", /2 attempts/);
    assert.match(verdict([completed], { executions: new Map() }).wrong[0] ?? "", /never run/);
  });

  test("counts time after a deadline only while the gateway was up", () => {
    const late = {
      ...completed,
      deadline_at: new Date(500).toISOString(),
      completed_at: new Date(60_000).toISOString(),
    };
    assert.match(verdict([late]).late[0] ?? "", /59500 ms after its deadline/);
    const upTimes = [
      { fromMs: 0, toMs: 2000 },
      { fromMs: 59_000, toMs: 61_000 },
    ];
    assert.deepEqual(verdict([late], { upTimes }).late, []);
  });

  test("counts other ends by the code of their error", () => {
    const error = { code: "worker_lost", message: "", retryable: false };
    const failed = verdict([{ ...completed, status: "FAILED", result: null, error }]);
    assert.deepEqual([failed.completed, failed.wrong, [...failed.failed]], [0, [], [["worker_lost", 1]]]);
  });
});

describe("a power cut", () => {
  const write = (operation: number, offset: number, fill: string, isDurable = false): LogEvent[] => [
    { kind: "write", operation, offset, bytes: Buffer.alloc(1024, fill), isDurable },
    { kind: "ended", operation, lengthBytes: 1024 },
  ];
  const NAMED: LogEvent = { kind: "folderSynced" };
  const SYNC: LogEvent[] = [
    { kind: "sync", operation: 100 },
    { kind: "synced", operation: 100 },
  ];
  /** What the file holds after many cuts at the end of these events, each different file once. */
  const outcomes = (events: readonly LogEvent[], at = events.length): Set<string> =>
    new Set(
      Array.from({ length: 300 }, (_, seed) => {
        const { image } = cutPower(events, { at, random: seededRandom(seed) });
        // One letter for each sector.
        return image === undefined
          ? "no file"
          : Array.from({ length: image.length / 512 }, (_s, i) =>
              image.toString("latin1", 512 * i, 512 * i + 1),
            ).join("");
      }),
    );

  test("leaves what was synced as it was", () => {
    assert.deepEqual([...outcomes([NAMED, ...write(1, 0, "a"), ...SYNC])], ["aa"]);
    assert.deepEqual([...outcomes([NAMED, ...write(1, 0, "a", true)])], ["aa"]);
  });

  test("may leave all, nothing or single sectors of what was not", () => {
    const events = [NAMED, ...write(1, 0, "a"), ...SYNC, ...write(2, 0, "b")];
    assert.deepEqual([...outcomes(events)].sort(), ["aa", "ab", "ba", "bb"]);
  });

  test("does not count a sync that has not returned, nor a write that came after its beginning", () => {
    const [begin, end] = SYNC as [LogEvent, LogEvent];
    const events = [NAMED, ...write(1, 0, "a"), begin, ...write(2, 0, "b"), end];
    assert.ok(outcomes(events, 4).has(""), "the first write is lost");
    assert.deepEqual([...outcomes(events)].sort(), ["aa", "ab", "ba", "bb"]);
  });

  test("never brings back what a later synced write has replaced", () => {
    const events = [NAMED, ...write(1, 0, "a"), ...write(2, 0, "b", true)];
    assert.deepEqual([...outcomes(events)], ["bb"]);
  });

  test("may leave no file at all when its folder was not synced", () => {
    assert.deepEqual([...outcomes([...write(1, 0, "a"), ...SYNC])].sort(), ["aa", "no file"]);
  });
});
