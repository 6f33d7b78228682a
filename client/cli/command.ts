/** How commands are added to the program. */

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
