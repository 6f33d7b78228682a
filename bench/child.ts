/** The outer half of a process of a bench: started, asked, and ended whatever happens. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { AnswerMessage, CommandMessage } from "./processes/commands.ts";

/** What is measured runs as production runs: plain JavaScript built ahead. `scripts/bench.mjs` builds it. */
const BUILT = new URL("./dist/", import.meta.url);
const SOURCE = new URL("./", import.meta.url);
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
  /** `source` needs no build: for what is not measured. Default: `built`. */
  readonly form?: "built" | "source" | undefined;
  /** Have the CPU profiled whenever {@link profileFlags} say so. */
  readonly profileDir?: string | undefined;
  /** A module that this process and its runners load first, below `bench/` and without ending, with a query for it. */
  readonly preload?:
    | { readonly module: string; readonly query: Readonly<Record<string, string>> }
    | undefined;
  /** Beside what every one of them gets. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #questions = new Map<number, Question>();
  /** Resolves with how the process ended. */
  readonly exited: Promise<ChildEnd>;
  #lastId = 0;

  constructor(options: ChildOptions) {
    this.name = options.name;
    const { form = "built" } = options;
    this.#process = spawn(
      process.execPath,
      [...flags(options), fileURLToPath(moduleUrl(options.entry, form))],
      {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        serialization: "advanced",
        env: { ...environment(), ...options.env },
      },
    );
    // Not `once` from node:events: it rejects for every error, also for a message that met a dying process.
    this.exited = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => resolve({ code, signal }));
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
    if (this.#isAlive()) await this.exited;
    clearTimeout(killer);
  }

  kill(): void {
    this.signal("SIGKILL");
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#isAlive()) this.#process.kill(signal);
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

/** An agent hands these on to its runners. */
function flags({ form = "built", profileDir, name, preload }: ChildOptions): string[] {
  const runsSource = form === "source" ? ["--conditions=source", "--import", "tsx"] : [];
  const hooks = [
    ...(profileDir === undefined ? [] : [profileHook(profileDir, name, form)]),
    ...(preload === undefined ? [] : [withQuery(moduleUrl(preload.module, form), preload.query)]),
  ];
  return [...runsSource, ...hooks.flatMap((hook) => ["--import", hook])];
}

function profileHook(dir: string, name: string, form: "built" | "source"): string {
  return withQuery(moduleUrl("profile/hook", form), { dir: pathToFileURL(dir).href, name });
}

function moduleUrl(path: string, form: "built" | "source"): URL {
  return form === "built" ? new URL(`${path}.js`, BUILT) : new URL(`${path}.ts`, SOURCE);
}

function withQuery(url: URL, query: Readonly<Record<string, string>>): string {
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.href;
}
