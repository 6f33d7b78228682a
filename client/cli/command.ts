/** How commands are added to the program. */

import { parseDuration } from "@legacygpu/shared/config/duration";
import { type Command, InvalidArgumentError } from "commander";
import type { Context } from "./context.ts";

/** What a command does; returns its exit status, or nothing for 0. */
export type Action<Flags, Args extends readonly unknown[]> = (
  context: Context,
  flags: Flags,
  ...args: Args
) => Promise<number | undefined>;

export interface Cli {
  /** A command that ends at the first signal. */
  command<Flags, Args extends readonly unknown[]>(command: Command, action: Action<Flags, Args>): Command;
  /** A command that stops in order after the first signal, and ends at the second. */
  server<Flags, Args extends readonly unknown[]>(command: Command, action: Action<Flags, Args>): Command;
}

/** For options that may be given several times. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** For options that take one of a few words, in any case. */
export function oneOf<Word extends string>(words: readonly Word[]): (given: string) => Word {
  return (given) => {
    const word = words.find((candidate) => candidate.toLowerCase() === given.toLowerCase());
    if (word === undefined) throw new InvalidArgumentError(`Choose one of ${words.join(", ")}.`);
    return word;
  };
}

/** For options like `--label name=value` that may be given several times. */
export function collectPairs(
  given: string,
  previous: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(given) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError("Write name=value.");
  return { ...previous, [name]: value };
}

/** For options that take a duration; in milliseconds, at least one. */
export function duration(given: string): number {
  const ms = parseDuration(given);
  if (ms === undefined || ms < 1) throw new InvalidArgumentError('Write a duration like "30s" or "500ms".');
  return ms;
}

export function wholeNumber({ min, max }: { readonly min: number; readonly max: number }) {
  return (given: string): number => {
    const count = Number(given);
    if (!/^\d+$/.test(given) || count < min || count > max)
      throw new InvalidArgumentError(`Write ${min} to ${max}.`);
    return count;
  };
}

/** For `--limit`: one page. */
export const pageLimit = wholeNumber({ min: 1, max: 1000 });

/** Of the flags those that are named here and were given. */
export function pick<Flags extends object, Name extends keyof Flags>(
  flags: Flags,
  ...names: Name[]
): Pick<Flags, Name> {
  const given = names.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]);
  return Object.fromEntries(given) as Pick<Flags, Name>;
}

/** Refuses flags and arguments that do not fit together, as it refuses unknown ones. @param mistake undefined: there is none. */
export function refuse<Flags>(
  command: Command,
  mistake: (flags: Flags, args: readonly string[]) => string | undefined,
): Command {
  return command.hook("preAction", (running) => {
    const text = mistake(running.opts() as Flags, running.args);
    if (text !== undefined) running.error(`error: ${text}`, { code: "legacygpu.mistake" });
  });
}
