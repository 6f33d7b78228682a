/** Runs the command line inside the test, with a process of the test's making. */

import type { CliIo, StopSignal } from "../../client/cli/io.ts";
import type { Parts } from "../../client/cli/parts.ts";
import { runCli } from "../../client/cli/program.ts";
import { waitingClock } from "../../client/waiting-clock.ts";
import type { Clock } from "../../shared/clock.ts";

export interface CliOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdin?: Uint8Array;
  readonly isTty?: boolean;
  readonly parts?: Partial<Parts>;
  readonly clock?: Clock;
}

export interface CliRun {
  readonly exitCode: Promise<number>;
  /** What has been written so far. */
  out(): string;
  err(): string;
  signal(name: StopSignal): void;
  /** Resolves when standard output or error holds `text`. */
  seen(text: string): Promise<void>;
}

const notInstalled = (): Promise<never> => Promise.reject(new Error("the test gave no such part"));

export function startCli(argv: readonly string[], options: CliOptions = {}): CliRun {
  let out = "";
  let err = "";
  const listeners = new Set<(signal: StopSignal) => void>();
  const watchers = new Set<() => void>();
  const written = (): void => {
    for (const watcher of watchers) watcher();
  };
  const io: CliIo = {
    stdout: {
      write(text) {
        out += text;
        written();
      },
    },
    stderr: {
      write(text) {
        err += text;
        written();
      },
    },
    stdin: (async function* () {
      if (options.stdin !== undefined) yield options.stdin;
    })(),
    env: options.env ?? {},
    isTty: options.isTty ?? false,
    clock: options.clock ?? waitingClock,
    random: Math.random,
    onReload: () => () => {},
    onSignal(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    parts: {
      startGateway: notInstalled,
      startAgent: notInstalled,
      storeTools: notInstalled,
      certificateTools: notInstalled,
      ...options.parts,
    },
  };
  const exitCode = runCli(argv, io);
  return {
    exitCode,
    out: () => out,
    err: () => err,
    signal(name) {
      for (const listener of listeners) listener(name);
    },
    async seen(text) {
      const isThere = new Promise<void>((resolve) => {
        const look = (): void => {
          if ((out + err).includes(text)) resolve();
        };
        watchers.add(look);
        look();
      });
      const ended = exitCode.then((code) => {
        if (!(out + err).includes(text))
          throw new Error(`ended with ${code} without "${text}":\n${out}${err}`);
      });
      await Promise.race([isThere, ended]);
    },
  };
}

export async function runTestCli(
  argv: readonly string[],
  options?: CliOptions,
): Promise<{ code: number; out: string; err: string }> {
  const run = startCli(argv, options);
  const code = await run.exitCode;
  return { code, out: run.out(), err: run.err() };
}
