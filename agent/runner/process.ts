/** One life of a runner process: spawned, spoken to over a pipe, killed. Knows nothing of tasks. */

import { type ChildProcess, spawn } from "node:child_process";
import { chownSync, mkdirSync, mkdtempSync, rmdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import type { Duplex } from "node:stream";
import { fileURLToPath, pathToFileURL } from "node:url";
import { systemClock } from "@legacygpu/shared/clock";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { Jail } from "./jail.ts";
import { diedOfMemory, SystemKills } from "./memory-death.ts";
import { watchMemory } from "./memory-watch.ts";
import { MessagePipe, type RunnerCommand, type RunnerReport } from "./wire.ts";

export interface RunnerExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Certain: it said so as it aborted, or the system killed for memory. */
  readonly isOutOfMemory: boolean;
  /** The end of what it wrote to standard error. */
  readonly lastWords: string;
  /** It was killed for taking more than this. */
  readonly exceeded?: { readonly usedBytes: number; readonly limitBytes: number } | undefined;
}

export interface RunnerHandlers {
  onReport(report: RunnerReport): void;
  /** Once, after the last report. */
  onExit(exit: RunnerExit): void;
}

export interface RunnerProcess {
  readonly pid: number | undefined;
  post(command: RunnerCommand): void;
  kill(): void;
}

export type SpawnRunner = (handlers: RunnerHandlers) => RunnerProcess;

const LAST_WORDS_CHARS = 2000;
/** A line of the native stack that V8 prints when it aborts: dozens of them would push out the line that says why. */
const STACK_FRAME = /^\s*\d+: 0x[0-9a-f]+ /;

/** This file's own extension: `.ts` in a checkout, `.js` when built. */
export function siblingModule(name: string, from: string): string {
  return fileURLToPath(new URL(`./${name}${from.endsWith(".ts") ? ".ts" : ".js"}`, from));
}

/** What a child of this process needs to run the same kind of source; not the options that are about this process alone. */
export function inheritedArguments(): string[] {
  const inherited = process.execArgv.filter(
    (argument) => !/^--(test|inspect|watch|eval|print)|^-[ep]$/.test(argument),
  );
  return inherited.map((argument, index) => {
    if (inherited[index - 1] === "--import") return fromAnywhere(argument);
    return argument.startsWith("--import=") ? `--import=${fromAnywhere(argument.slice(9))}` : argument;
  });
}

/** A module that Node.js would look for from the working directory, which is another one there. */
function fromAnywhere(specifier: string): string {
  if (specifier.startsWith(".") || isAbsolute(specifier)) return pathToFileURL(resolve(specifier)).href;
  return import.meta.resolve(specifier);
}

/** As much of a jail as there is everywhere. */
const BARE_JAIL: Jail = { measures: ["cwd"], prefix: [], folder: tmpdir() };

const ENTRY = siblingModule("child", import.meta.url);

/**
 * @param env its whole environment; must hold no credential
 * @param entry the module that the process begins with, which chooses its engine
 */
export function spawnRunner(
  env: NodeJS.ProcessEnv,
  log: Logger,
  jail: Jail = BARE_JAIL,
  entry: string = ENTRY,
): SpawnRunner {
  return (handlers) => {
    const systemKills = new SystemKills();
    const ownFolder = makeOwnFolder(jail, log);
    const [command = process.execPath, ...rest] = [
      ...jail.prefix,
      process.execPath,
      ...inheritedArguments(),
      entry,
    ];
    const child = spawn(command, rest, {
      env,
      cwd: ownFolder ?? "/",
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    let exceeded: RunnerExit["exceeded"];
    const watch = watchOver(child, jail, (usage) => {
      exceeded = usage;
      log.warn({ pid: child.pid, ...usage }, "a runner took too much memory and is stopped");
      child.kill("SIGKILL");
    });
    const words = new LastWords();
    readLines(child, (line) => {
      words.add(line);
      log.debug({ pid: child.pid, line }, "the runner wrote a line");
    });
    // The end of the process and of the pipe come in either order; reports may still be on their way.
    let exit: Pick<RunnerExit, "code" | "signal"> | undefined;
    let isPipeOpen = true;
    const settle = (): void => {
      if (exit === undefined || isPipeOpen) return;
      if (ownFolder !== undefined) removeOwnFolder(ownFolder, log);
      const lastWords = words.text();
      const isOutOfMemory =
        exceeded !== undefined || diedOfMemory({ ...exit, lastWords, systemKills: systemKills.sinceMark });
      handlers.onExit({ ...exit, isOutOfMemory, lastWords, exceeded });
    };
    const pipe = new MessagePipe<RunnerCommand, RunnerReport>(child.stdio[3] as Duplex, {
      onMessage: (report) => handlers.onReport(report),
      onClosed: (error) => {
        if (!isPipeOpen) return;
        isPipeOpen = false;
        if (error !== undefined) words.add(error.message);
        child.kill("SIGKILL");
        settle();
      },
    });
    const ended = (code: number | null, signal: string | null): void => {
      if (exit !== undefined) return;
      watch?.cancel();
      exit = { code, signal };
      settle();
    };
    // Not `exit`: what it wrote last may still be unread then, and that says why it died.
    child.on("close", ended);
    child.on("error", (error) => {
      words.add(error.message);
      ended(null, null);
      pipe.destroy();
    });
    return {
      pid: child.pid,
      post: (command) => {
        systemKills.mark();
        pipe.post(command);
      },
      kill: () => child.kill("SIGKILL"),
    };
  };
}

export function crashError({ code, signal, isOutOfMemory, lastWords, exceeded }: RunnerExit): LegacyGpuError {
  const how = signal === null ? `with exit code ${code}` : `of ${signal}`;
  const details = { exitCode: code, signal, lastWords: lastWords.slice(-500) };
  if (exceeded !== undefined) {
    const { usedBytes, limitBytes } = exceeded;
    return fail(
      "out_of_memory",
      `The process that runs the model took ${inMiB(usedBytes)}, over its limit of ${inMiB(limitBytes)}, and was stopped.`,
      { ...details, usedBytes, limitBytes },
    );
  }
  return isOutOfMemory
    ? fail("out_of_memory", `The process that runs the model ran out of memory and died ${how}.`, details)
    : fail("runner_crashed", `The process that runs the model died ${how}.`, details);
}

/** Whether it died of a fault of its own: nobody ended it, and it had memory enough. */
export function isCrash({ code, signal, isOutOfMemory }: RunnerExit): boolean {
  if (isOutOfMemory || signal === "SIGKILL" || signal === "SIGTERM") return false;
  return signal !== null || code !== 0;
}

const inMiB = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MiB`;

function watchOver(
  { pid }: ChildProcess,
  { maxMemoryBytes: limitBytes }: Jail,
  onExceeded: (usage: NonNullable<RunnerExit["exceeded"]>) => void,
) {
  if (pid === undefined || limitBytes === undefined) return undefined;
  return watchMemory({
    pid,
    limitBytes,
    clock: systemClock,
    onExceeded: (usedBytes) => onExceeded({ usedBytes, limitBytes }),
  });
}

/** Empty, and nobody else's: a model that names files finds none where its process stands. Undefined when the disk is full. */
function makeOwnFolder({ folder, owner }: Jail, log: Logger): string | undefined {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = mkdtempSync(join(folder, "legacygpu-runner-"));
    if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
    return path;
  } catch (err) {
    log.warn({ err }, "a runner gets no folder of its own");
    return undefined;
  }
}

function removeOwnFolder(path: string, log: Logger): void {
  try {
    rmdirSync(path);
  } catch {
    // It left something there; how much, nobody knows.
    rm(path, { recursive: true, force: true }).catch((err) => log.warn({ err }, "a folder stays behind"));
  }
}

class LastWords {
  #text = "";

  add(line: string): void {
    if (STACK_FRAME.test(line)) return;
    this.#text = `${this.#text}${line}\n`.slice(-LAST_WORDS_CHARS);
  }

  text(): string {
    return this.#text.trim();
  }
}

function readLines(child: ChildProcess, onLine: (line: string) => void): void {
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      // A process that writes without line ends must not fill our memory.
      rest = (lines.pop() ?? "").slice(-LAST_WORDS_CHARS);
      for (const line of lines) if (line !== "") onLine(line.slice(0, LAST_WORDS_CHARS));
    });
    stream?.on("end", () => rest !== "" && onLine(rest));
  }
}
