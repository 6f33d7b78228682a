/** Copies, answers, losses and reconnections in any order, beside a model that knows no more than what was sent and said. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, toWireError } from "@legacygpu/shared/errors";
import { COPY_PURPOSES, type CopyPurpose, isFinal } from "@legacygpu/shared/task";
import fc from "fast-check";
import type { Worker } from "../../gateway/registry/worker.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { NO_OUTPUT, type RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

/** A step of anything that can happen; numbers choose among what there is at that moment. */
type Step =
  | { readonly do: "submit"; readonly deadlineMs: number | undefined }
  | { readonly do: "copy"; readonly task: number; readonly box: number; readonly purpose: CopyPurpose }
  | { readonly do: "connect" | "restart" | "cut" | "giveUp"; readonly box: number }
  | {
      readonly do: "answer";
      readonly what: Answer;
      readonly box: number;
      readonly token: number;
      readonly isHeld: boolean;
    }
  | { readonly do: "cancel"; readonly task: number }
  | { readonly do: "wait"; readonly ms: number };
type Answer = "accept" | "complete" | "crash" | "wrong" | "release";

/** The last one is an agent that does not say when it is done. */
const BOXES = ["a", "b", "c", "old"];
const box = fc.nat(BOXES.length - 1);
const pick = fc.nat(30);
const deadlineMs = fc.option(fc.integer({ min: 1, max: 20_000 }), { nil: undefined, freq: 3 });
const purpose = fc.constantFrom(...COPY_PURPOSES);
const answer = fc.constantFrom("accept", "complete", "crash", "wrong", "release");
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("submit"), deadlineMs }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("copy"), task: pick, box, purpose }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("connect", "cut"), box }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("giveUp", "restart"), box }) },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("answer"), what: answer, box, token: pick, isHeld: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("cancel"), task: pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait"), ms: fc.integer({ min: 0, max: 1500 }) }) },
) as fc.Arbitrary<Step>;

class Box {
  readonly id: string;
  readonly releases: boolean;
  instance = 1;
  worker: Worker | undefined = undefined;
  link: RecordingLink | undefined = undefined;
  read = 0;
  /** As the box sees it: what it was sent and has not answered or been told to drop. */
  readonly held = new Map<number, string>();
  /** Every token that it was ever sent. */
  readonly seen: number[] = [];
  /** As the gateway has to see it. */
  readonly live = new Set<number>();
  readonly superseded = new Set<number>();

  constructor(id: string) {
    this.id = id;
    this.releases = id !== "old";
  }

  forget(): void {
    this.live.clear();
    this.superseded.clear();
  }
}

class World {
  readonly rig = new SchedulerRig();
  readonly boxes = BOXES.map((id) => new Box(id));
  readonly tasks: TaskRecord[] = [];
  readonly taskOf = new Map<number, TaskRecord>();
  readonly begun = new Set<number>();

  run(steps: readonly Step[]): void {
    for (const each of this.boxes) this.#connect(each, false);
    for (const each of steps) {
      this.#take(each);
      this.#settleDown();
      this.#check();
    }
  }

  /** Healthy boxes answer all that they are sent, and say of everything else that they are done with it. */
  finish(): void {
    for (const each of this.boxes) this.#connect(each, true);
    this.#settleDown();
    for (let round = 0; round < 200 && this.tasks.some(({ state }) => !isFinal(state)); round += 1) {
      for (const each of this.boxes)
        for (const token of [...each.live]) this.#answer(each, token, "complete");
      this.rig.clock.advance(1000);
      this.rig.scheduler.dispatch();
      this.#settleDown();
    }
    for (const each of this.boxes)
      for (const token of [...each.superseded]) this.#answer(each, token, "release");
    this.#check();
    const { scheduler, settled } = this.rig;
    assert.ok(
      this.tasks.every(({ state }) => isFinal(state)),
      "every task has ended",
    );
    assert.equal(settled.length, this.tasks.length, "every task was settled once");
    assert.equal(scheduler.pendingCount + scheduler.runningCount + scheduler.supersededCount, 0);
    for (const { worker } of this.boxes) assert.equal(worker?.inFlight, 0);
    const released = this.rig.released.map(({ token }) => token);
    assert.deepEqual(
      released.toSorted((a, b) => a - b),
      this.rig.superseded.map(({ token }) => token).toSorted((a, b) => a - b),
      "each superseded attempt was let go once",
    );
  }

  #take(step: Step): void {
    const { rig } = this;
    switch (step.do) {
      case "submit":
        this.tasks.push(
          rig.submit({
            maxAttempts: 20,
            backoffMs: 1000,
            ...(step.deadlineMs === undefined ? {} : { deadlineMs: step.deadlineMs }),
          }),
        );
        return;
      case "copy":
        this.#copy(step);
        return;
      case "wait":
        rig.clock.advance(step.ms);
        rig.scheduler.dispatch();
        return;
      case "cancel": {
        const task = this.tasks[step.task % Math.max(1, this.tasks.length)];
        if (task !== undefined) rig.scheduler.cancel(task.id, "test");
        return;
      }
      default: {
        const chosen = this.boxes[step.box] as Box;
        if (step.do === "connect") this.#connect(chosen, false);
        else if (step.do === "restart") this.#connect(chosen, true);
        else if (step.do === "cut") this.#cut(chosen);
        else if (step.do === "giveUp") {
          if (chosen.worker !== undefined) rig.registry.giveUp(chosen.worker, "silent");
          chosen.link = undefined;
        } else if (step.do === "answer") {
          // Of those that it has been given lately, or of all that it ever had.
          const among = step.isHeld ? [...chosen.live, ...chosen.superseded] : chosen.seen;
          this.#answer(chosen, among[step.token % Math.max(1, among.length)] ?? 0, step.what);
        }
      }
    }
  }

  #copy({ task: index, box: boxIndex, purpose }: Extract<Step, { do: "copy" }>): void {
    const task = this.tasks[index % Math.max(1, this.tasks.length)];
    const { worker, live } = this.boxes[boxIndex] as Box;
    if (task === undefined || worker === undefined) return;
    const holders = this.#holdersOf(task);
    const hasIt = [...live].some((token) => this.taskOf.get(token) === task);
    const isPossible = holders.length > 0 && worker.link !== undefined && !hasIt;
    assert.equal(this.rig.scheduler.copy(task.id, worker, purpose), isPossible);
    if (isPossible) assert.equal(task.attempts.at(-1)?.purpose, purpose);
  }

  #connect(chosen: Box, isNew: boolean): void {
    if (chosen.link !== undefined) {
      if (!isNew) return;
      this.#cut(chosen);
    }
    if (isNew) {
      chosen.instance += 1;
      chosen.held.clear();
    }
    const held = [...chosen.held].map(([token, taskId]) => ({ token, taskId }));
    const instanceId = `${chosen.id}-${chosen.instance}`;
    const before = chosen.worker;
    const more = { instanceId, held, slots: 2, ...(chosen.releases ? { releases: true } : {}) };
    const { worker, link, keep } = this.rig.greet(chosen.id, more);
    if (worker === before)
      for (const token of chosen.live)
        assert.equal(keep.includes(token), chosen.held.has(token), "what is live goes on, and only that");
    chosen.forget();
    for (const token of keep) chosen.live.add(token);
    for (const { token } of held) if (!keep.includes(token)) chosen.held.delete(token);
    chosen.worker = worker;
    chosen.link = link;
    chosen.read = 0;
  }

  #cut(chosen: Box): void {
    if (chosen.worker === undefined || chosen.link === undefined) return;
    chosen.link = undefined;
    this.rig.registry.linkLost(chosen.worker, "cut");
  }

  /** Any token that the box ever had, also one that is long dead. */
  #answer(chosen: Box, token: number, what: Answer): void {
    const { worker, link } = chosen;
    const task = this.taskOf.get(token);
    if (worker === undefined || link === undefined || task === undefined) return;
    const { scheduler } = this.rig;
    const isLive = chosen.live.has(token);
    const before = { state: task.state, settled: this.rig.settled.length, completed: worker.completed };
    const others = this.#holdersOf(task).filter((holder) => holder !== chosen);
    switch (what) {
      case "accept":
        scheduler.accepted(worker, token);
        if (isLive) this.begun.add(token);
        break;
      case "release":
        scheduler.released(worker, token, undefined);
        chosen.superseded.delete(token);
        break;
      case "complete":
        scheduler.completed(worker, token, NO_OUTPUT, timings(1));
        if (isLive) this.#won(chosen, token, task, others);
        break;
      default:
        scheduler.failed(
          worker,
          token,
          toWireError(fail(what === "crash" ? "transfer_failed" : "input_invalid")),
        );
        if (isLive) chosen.live.delete(token);
        if (isLive && others.length > 0) assert.ok(!isFinal(task.state), "somebody else still has it");
        if (isLive && others.length === 0 && what === "wrong") assert.equal(task.state, "FAILED");
    }
    if (what === "complete" || what === "crash" || what === "wrong") {
      chosen.held.delete(token);
      chosen.superseded.delete(token);
    }
    if (!isLive) {
      const after = { state: task.state, settled: this.rig.settled.length, completed: worker.completed };
      assert.deepEqual(after, before, "a token that is not live changes nothing");
    }
    scheduler.dispatch();
  }

  #won(winner: Box, token: number, task: TaskRecord, others: readonly Box[]): void {
    winner.live.delete(token);
    assert.equal(task.state, "COMPLETED", "the first answer wins");
    assert.equal(task.attempts.find((attempt) => attempt.token === token)?.outcome, "completed");
    for (const other of others) {
      for (const beaten of [...other.live]) {
        if (this.taskOf.get(beaten) !== task) continue;
        other.live.delete(beaten);
        if (other.link !== undefined && other.releases) other.superseded.add(beaten);
      }
    }
  }

  /** The boxes read what was sent to them; ended tasks and lost workers have nothing live. */
  #settleDown(): void {
    for (const chosen of this.boxes) {
      const messages = chosen.link?.sent.slice(chosen.read) ?? [];
      chosen.read += messages.length;
      for (const message of messages) {
        if (message.type === "cancel") chosen.held.delete(message.token);
        if (message.type !== "task") continue;
        this.taskOf.set(message.token, this.tasks.find(({ id }) => id === message.taskId) as TaskRecord);
        chosen.held.set(message.token, message.taskId);
        chosen.seen.push(message.token);
        chosen.live.add(message.token);
      }
    }
    for (const chosen of this.boxes) {
      if (chosen.worker?.state === "GONE") chosen.forget();
      for (const token of [...chosen.live])
        if (isFinal(this.taskOf.get(token)?.state ?? "PENDING")) chosen.live.delete(token);
    }
  }

  #holdersOf(task: TaskRecord): Box[] {
    return this.boxes.filter(({ live }) => [...live].some((token) => this.taskOf.get(token) === task));
  }

  #check(): void {
    const { scheduler, settled } = this.rig;
    for (const { worker, live, superseded } of this.boxes)
      assert.deepEqual(
        new Set(worker?.state === "GONE" ? [] : worker?.tokens),
        new Set([...live, ...superseded]),
        "a worker holds what is live there, and what it has not let go",
      );
    const superseded = this.boxes.reduce((sum, each) => sum + each.superseded.size, 0);
    assert.equal(scheduler.supersededCount, superseded);
    assert.equal(new Set(settled.map(({ id }) => id)).size, settled.length, "no task is settled twice");
    const open = this.tasks.filter(({ state }) => !isFinal(state));
    assert.equal(scheduler.pendingCount + scheduler.runningCount, open.length);
    assert.equal(scheduler.runningCount, open.filter(({ state }) => state === "RUNNING").length);
    for (const task of this.tasks) this.#checkTask(task);
  }

  #checkTask(task: TaskRecord): void {
    const holders = this.#holdersOf(task);
    const live = holders.flatMap((holder) =>
      [...holder.live].filter((token) => this.taskOf.get(token) === task),
    );
    const open = task.attempts.filter(({ endedAtMs }) => endedAtMs === undefined);
    const answered = task.attempts.filter(({ outcome }) => outcome === "completed");
    assert.equal(answered.length, task.state === "COMPLETED" ? 1 : 0, "one result, or none");
    if (isFinal(task.state)) {
      assert.deepEqual([live, open], [[], []], "nothing is live after the end");
      return;
    }
    assert.equal(live.length, holders.length, "nobody has it twice");
    assert.equal(
      task.state,
      live.some((token) => this.begun.has(token)) ? "RUNNING" : "PENDING",
      "it runs while somebody has begun it",
    );
    const tokens = new Set(open.map(({ token }) => token));
    if (live.length > 0) assert.deepEqual(tokens, new Set(live), "what is not live is closed");
    else assert.ok(open.length <= 1, "at most the last that was lost may be had back");
  }
}

test("whoever has a task, whatever comes first: one end, at most one result, and every worker is free again (1,000 runs)", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 70, size: "max" }), (steps) => {
      const world = new World();
      world.run(steps);
      world.finish();
    }),
    { numRuns: 1000 },
  );
});
