/** What a runner process does, whatever its engine: joins the pipe on descriptor 3 to the task loop, and ends when the agent does. */

import { rmdirSync } from "node:fs";
import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import type { Executor } from "../executors/port.ts";
import { TaskLoop } from "./task-loop.ts";
import { MessagePipe, type RunnerCommand, type RunnerReport } from "./wire.ts";

/**
 * A closed pipe goes unnoticed while a model computes, and one that computes for ever would outlive the agent; a thread of its own
 * sees that the parent has changed.
 */
const ORPHAN_WATCH = `
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid === parent) return;
    try { require("node:fs").rmdirSync(process.cwd()); } catch {}
    process.kill(process.pid, "SIGKILL");
  }, 1000);
`;

/**
 * Called once, by the entry of the process.
 * @param onEnd ends the process: the agent has closed the pipe, or is gone
 */
export function serveRunner(executor: Executor, onEnd: () => void): void {
  // Ctrl-C reaches the whole process group; the agent decides when this process ends.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
  const pipe: MessagePipe<RunnerReport, RunnerCommand> = new MessagePipe(new Socket({ fd: 3 }), {
    onMessage: (command) => loop.accept(command),
    onClosed: () => {
      removeOwnFolder();
      onEnd();
    },
  });
  const loop = new TaskLoop(executor, pipe);
  new Worker(ORPHAN_WATCH, { eval: true, execArgv: [], stdin: false }).unref();
  pipe.post({ type: "ready" });
}

/** The agent does that, unless it is gone. */
function removeOwnFolder(): void {
  try {
    rmdirSync(process.cwd());
  } catch {
    // The next start of the agent removes what is left.
  }
}
