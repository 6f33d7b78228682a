/** Workers that go wrong without going away: one that answers every task at once with an error, and one whose card becomes five times slower. */

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { FakeAgent } from "../../test/support/fake-agent.ts";
import type { Numbers } from "../report.ts";
import type { Bench } from "../run.ts";
import { OpenLoop, type Outcome } from "./load.ts";
import { shareOf, shiftNumbers } from "./shift.ts";
import type { Sites } from "./sites.ts";
import { failures, MODERATE_PER_SECOND } from "./strategies.ts";

const GRAY = "gray";
/** By then it should have been found out. */
const FOUND_OUT_MS = 5000;
/** Of the five parts of a period the runner computes in one. */
const PERIOD_MS = 50;
const SLOWDOWN = 5;
const HARMED_MS = 250;

/** At the near site, so that everything but its errors speaks for it. */
export async function grayFailure(bench: Bench, sites: Sites): Promise<Numbers> {
  const load = new OpenLoop(sites.cluster, MODERATE_PER_SECOND, bench.seed);
  const agent = await connectGray(sites);
  const joinedMs = load.elapsedMs;
  let answered = 0;
  const answering = setInterval(() => {
    const tasks = agent.all("task");
    for (const { taskId, token } of tasks.slice(answered)) {
      const error = {
        code: "model_run_failed",
        message: "The card has fallen off the bus.",
        retryable: true,
      };
      agent.send({ type: "failed", taskId, token, error });
    }
    answered = tasks.length;
  }, 2);
  await sleep(bench.isShort ? FOUND_OUT_MS + 1500 : 6 * FOUND_OUT_MS);
  const outcomes = await load.end();
  clearInterval(answering);
  await agent.close();
  const late = outcomes.filter(({ submittedAtMs }) => submittedAtMs - joinedMs > FOUND_OUT_MS);
  return {
    attempts_there: attemptsOf(outcomes, GRAY),
    share_of_attempts_after_5_s: attemptsOf(late, GRAY) / Math.max(1, attemptsOf(late)),
    share_of_tasks_touched_after_5_s: shareOf(late, ({ workers }) => workers.includes(GRAY)),
    requests: outcomes.length,
    failed: failures(outcomes),
  };
}

/** The runner of the near site is stopped four fifths of the time. */
export async function slowCard(bench: Bench, sites: Sites): Promise<Numbers> {
  const load = new OpenLoop(sites.cluster, MODERATE_PER_SECOND, bench.seed);
  await sleep(bench.isShort ? 1000 : 8000);
  const eventMs = load.elapsedMs;
  const brake = new Brake(await childrenOf(sites.agentPid("near")));
  try {
    await sleep(bench.isShort ? 3000 : 20_000);
  } finally {
    brake.release();
  }
  const outcomes = await load.end();
  return shiftNumbers({
    outcomes,
    eventMs,
    isTheirs: ({ site }) => site === "near",
    harmedMs: HARMED_MS,
  });
}

async function connectGray({ cluster, links, workerKey }: Sites): Promise<FakeAgent> {
  const rig = {
    url: cluster.url,
    wssUrl: `wss://localhost:${links.near.port}`,
    key: workerKey,
    gateway: { caPem: cluster.caPem },
  };
  return FakeAgent.connect(rig, GRAY, { site: "near" });
}

function attemptsOf(outcomes: readonly Outcome[], worker?: string): number {
  return outcomes.reduce(
    (sum, { workers }) => sum + workers.filter((each) => worker === undefined || each === worker).length,
    0,
  );
}

/** Makes processes slower by stopping them again and again. */
class Brake {
  readonly #pids: readonly number[];
  #timer: NodeJS.Timeout | undefined;

  constructor(pids: readonly number[]) {
    this.#pids = pids;
    this.#stop();
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#signal("SIGCONT");
  }

  #stop(): void {
    this.#signal("SIGSTOP");
    this.#timer = setTimeout(() => this.#continue(), PERIOD_MS - PERIOD_MS / SLOWDOWN);
  }

  #continue(): void {
    this.#signal("SIGCONT");
    this.#timer = setTimeout(() => this.#stop(), PERIOD_MS / SLOWDOWN);
  }

  #signal(signal: "SIGSTOP" | "SIGCONT"): void {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended.
      }
    }
  }
}

/** Linux only. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text
    .split(" ")
    .filter((part) => part.trim() !== "")
    .map(Number);
}
