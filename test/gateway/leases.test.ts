import assert from "node:assert/strict";
import { test } from "node:test";
import { fail, toWireError } from "@legacygpu/shared/errors";
import { isFinal } from "@legacygpu/shared/task";
import fc from "fast-check";
import type { Worker } from "../../gateway/registry/worker.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";
import { NO_OUTPUT, type RecordingLink, SchedulerRig, timings } from "../support/scheduler-rig.ts";

/** A step of anything that can happen; numbers choose among what there is at that moment. */
type Step =
  | { readonly do: "submit"; readonly deadlineMs: number | undefined }
  | { readonly do: "connect" | "cut" | "giveUp" | "restart" | "drain"; readonly box: number }
  | { readonly do: "accept" | "complete" | "crash" | "wrong"; readonly box: number; readonly token: number }
  | { readonly do: "cancel"; readonly task: number }
  | { readonly do: "wait"; readonly ms: number };

const BOXES = ["a", "b"];
const box = fc.nat(BOXES.length - 1);
const pick = fc.nat(30);
const token = pick;
const deadlineMs = fc.option(fc.integer({ min: 1, max: 30_000 }), { nil: undefined, freq: 4 });
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("submit"), deadlineMs }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("connect", "cut"), box }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("giveUp", "restart", "drain"), box }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("accept", "complete"), box, token }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("crash", "wrong"), box, token }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel"), task: pick }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("wait"), ms: fc.integer({ min: 0, max: 3000 }) }) },
) as fc.Arbitrary<Step>;

/** One box as it sees itself: it holds what it was sent and has not been told to drop. */
interface Box {
  readonly id: string;
  instance: number;
  worker: Worker | undefined;
  link: RecordingLink | undefined;
  /** By token. */
  readonly held: Map<number, string>;
  /** Every token that it was ever sent. */
  readonly seen: number[];
  read: number;
}

class World {
  readonly rig = new SchedulerRig();
  readonly tasks: TaskRecord[] = [];
  readonly boxes: readonly Box[] = BOXES.map((id) => ({
    id,
    instance: 1,
    worker: undefined,
    link: undefined,
    held: new Map(),
    seen: [],
    read: 0,
  }));
  /** The highest token that was sent for a task: the model of fencing. */
  readonly newest = new Map<string, number>();

  run(steps: readonly Step[]): void {
    for (const each of steps) {
      this.#take(each);
      this.#deliver();
      this.#check();
    }
  }

  /** Everything that is still open ends when healthy boxes answer all they are sent. */
  finish(): void {
    for (const each of this.boxes) this.#connect(each, true);
    for (let round = 0; round < 300 && this.tasks.some(({ state }) => !isFinal(state)); round += 1) {
      this.#deliver();
      for (const each of this.boxes)
        for (const token of [...each.held.keys()]) this.#answer(each, token, "complete");
      this.rig.clock.advance(1000);
      this.rig.scheduler.dispatch();
    }
    this.#check();
    assert.ok(
      this.tasks.every(({ state }) => isFinal(state)),
      "every task has ended",
    );
    assert.equal(this.rig.settled.length, this.tasks.length, "every task was settled once");
    assert.equal(this.rig.scheduler.pendingCount + this.rig.scheduler.runningCount, 0);
    assert.ok(
      this.boxes.every(({ worker }) => worker?.tokens.size === 0),
      "no token is left with a worker",
    );
  }

  #take(step: Step): void {
    switch (step.do) {
      case "submit":
        this.tasks.push(
          this.rig.submit({
            maxAttempts: 20,
            backoffMs: 2000,
            // Copies have more than one holder: they have a model of their own.
            mayBeCopied: false,
            ...(step.deadlineMs === undefined ? {} : { deadlineMs: step.deadlineMs }),
          }),
        );
        return;
      case "wait":
        this.rig.clock.advance(step.ms);
        this.rig.scheduler.dispatch();
        return;
      case "cancel": {
        const task = this.tasks[step.task % Math.max(1, this.tasks.length)];
        if (task !== undefined) this.rig.scheduler.cancel(task.id, "test");
        return;
      }
      default: {
        const chosen = this.boxes[step.box] as Box;
        if (step.do === "connect") this.#connect(chosen, false);
        else if (step.do === "restart") this.#connect(chosen, true);
        else if (step.do === "cut") this.#cut(chosen);
        else if (step.do === "giveUp" && chosen.worker !== undefined) this.#lose(chosen, chosen.worker);
        else if (step.do === "drain" && chosen.worker !== undefined)
          this.rig.registry.drain(chosen.worker, "test");
        else if ("token" in step)
          this.#answer(chosen, chosen.seen[step.token % Math.max(1, chosen.seen.length)] ?? 0, step.do);
      }
    }
  }

  #connect(chosen: Box, isNew: boolean): void {
    if (chosen.link !== undefined) {
      if (!isNew) return;
      this.#cut(chosen);
    }
    if (isNew) chosen.instance += 1;
    const held = [...chosen.held].map(([token, taskId]) => ({ token, taskId }));
    const { worker, link, keep } = this.rig.greet(chosen.id, {
      instanceId: `${chosen.id}-${chosen.instance}`,
      held,
    });
    for (const token of keep) {
      const taskId = chosen.held.get(token) ?? "";
      assert.equal(token, this.newest.get(taskId), "only the newest attempt of a task is given back");
    }
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

  #lose(chosen: Box, worker: Worker): void {
    chosen.link = undefined;
    this.rig.registry.giveUp(worker, "silent");
  }

  /** Any token that the box ever had, also one that is long dead. */
  #answer(chosen: Box, token: number, what: "accept" | "complete" | "crash" | "wrong"): void {
    const { worker, link } = chosen;
    if (worker === undefined || link === undefined || token === 0) return;
    const { scheduler } = this.rig;
    const settledBefore = this.rig.settled.length;
    const isLive = worker.tokens.has(token);
    if (what === "accept") scheduler.accepted(worker, token);
    else if (what === "complete") scheduler.completed(worker, token, NO_OUTPUT, timings(1));
    else
      scheduler.failed(
        worker,
        token,
        toWireError(fail(what === "crash" ? "transfer_failed" : "model_run_failed")),
      );
    if (what !== "accept") chosen.held.delete(token);
    if (!isLive) assert.equal(this.rig.settled.length, settledBefore, "a dead token changes nothing");
    scheduler.dispatch();
  }

  /** The boxes read what was sent to them. */
  #deliver(): void {
    for (const chosen of this.boxes) {
      const messages = chosen.link?.sent.slice(chosen.read) ?? [];
      chosen.read += messages.length;
      for (const message of messages) {
        if (message.type === "cancel") chosen.held.delete(message.token);
        if (message.type !== "task") continue;
        assert.ok(message.token > (this.newest.get(message.taskId) ?? 0), "tokens of a task rise");
        this.newest.set(message.taskId, message.token);
        chosen.held.set(message.token, message.taskId);
        chosen.seen.push(message.token);
      }
    }
  }

  #check(): void {
    const holders = new Map<string, number>();
    for (const { worker } of this.boxes) {
      for (const token of worker?.tokens ?? []) {
        const taskId = [...this.newest].find(([, newest]) => newest === token)?.[0];
        assert.ok(taskId !== undefined, "a live token is the newest of its task");
        holders.set(taskId, (holders.get(taskId) ?? 0) + 1);
      }
    }
    for (const count of holders.values()) assert.equal(count, 1, "a task is with one worker at a time");
    const ids = this.rig.settled.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, "no task is settled twice");
    const open = this.tasks.filter(({ state }) => !isFinal(state)).length;
    assert.equal(this.rig.scheduler.pendingCount + this.rig.scheduler.runningCount, open);
    assert.equal(
      this.rig.scheduler.runningCount,
      this.tasks.filter(({ state }) => state === "RUNNING").length,
    );
  }
}

test("whatever happens to boxes and links: one holder at a time, one end each, nothing lost (1,000 runs)", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const world = new World();
      world.run(steps);
      world.finish();
    }),
    { numRuns: 1000 },
  );
});
