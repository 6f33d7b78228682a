/** The outer half of a process of a bench: started, asked, and ended whatever happens. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { AnswerMessage, CommandMessage } from "./processes/commands.ts";

/** The processes are run as production runs: plain JavaScript built ahead. `scripts/bench.mjs` builds them. */
const BUILT = new URL("./dist/", import.meta.url);
const CLOSE_GRACE_MS = 5000;

interface Question {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export interface ChildOptions {
  /** Below `bench/`, without ending: `relay/gateway`. */
  readonly entry: string;
  /** For messages. */
  readonly name: string;
  /** Have the CPU profiled whenever {@link profileFlags} say so. */
  readonly profileDir?: string | undefined;
}

export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #questions = new Map<number, Question>();
  readonly #exited: Promise<unknown>;
  #lastId = 0;

  constructor({ entry, name, profileDir }: ChildOptions) {
    this.name = name;
    const file = fileURLToPath(new URL(`${entry}.js`, BUILT));
    const flags = profileDir === undefined ? [] : profileFlags(profileDir, name);
    this.#process = spawn(process.execPath, [...flags, file], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      serialization: "advanced",
      env: environment(),
    });
    // Not `once` from node:events: it rejects for every error, also for a message that met a dying process.
    this.#exited = new Promise((resolve) => {
      this.#process.once("exit", resolve);
    });
    this.#process.on("message", (message: AnswerMessage) => this.#answered(message));
    this.#process.on("error", (error) => this.#ended(`cannot be started: ${error.message}`));
    this.#process.on("exit", (code, signal) => this.#ended(`ended (${signal ?? code})`));
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  /** @throws Error when the command fails or the process ends. */
  async ask<Answer>(name: string, argument?: unknown): Promise<Answer> {
    this.#lastId += 1;
    const message: CommandMessage = { id: this.#lastId, name, argument };
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#questions.set(message.id, { resolve, reject });
    });
    if (this.#process.connected) this.#process.send(message);
    else this.#ended("is gone");
    return (await answer) as Answer;
  }

  /** Lets it close by itself, and kills it when that takes too long. */
  async close(): Promise<void> {
    const killer = setTimeout(() => this.kill(), CLOSE_GRACE_MS);
    if (this.#isAlive()) await this.ask("close").catch(() => {});
    if (this.#isAlive()) await this.#exited;
    clearTimeout(killer);
  }

  kill(): void {
    if (this.#isAlive()) this.#process.kill("SIGKILL");
  }

  #isAlive(): boolean {
    return (
      this.#process.pid !== undefined && this.#process.exitCode === null && this.#process.signalCode === null
    );
  }

  #answered({ id, value, error }: AnswerMessage): void {
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    if (error === undefined) question?.resolve(value);
    else question?.reject(new Error(`${this.name}: ${error}`));
  }

  #ended(how: string): void {
    for (const { reject } of this.#questions.values()) reject(new Error(`${this.name} ${how}`));
    this.#questions.clear();
  }
}

/** No proxy, and no flags of the harness: both would change what is measured. */
function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR, LD_LIBRARY_PATH } = process.env;
  return Object.fromEntries(
    Object.entries({ PATH, HOME, TMPDIR, LD_LIBRARY_PATH }).filter(([, value]) => value !== undefined),
  );
}

/** The agent hands these on to its runner, so that it is profiled too. */
function profileFlags(dir: string, name: string): string[] {
  const hook = new URL("profile/hook.js", BUILT);
  hook.searchParams.set("dir", pathToFileURL(dir).href);
  hook.searchParams.set("name", name);
  return ["--import", hook.href];
}
