/** `legacygpu task dead-letters …`: tasks that automatic retries have given up. */

import type { Command } from "commander";
import type { DeadLetterSelection, LegacyGpuClient, ListDeadLettersQuery } from "../../index.ts";
import { type Cli, pageLimit, pick, refuse } from "../command.ts";
import type { Context } from "../context.ts";
import { deadLetterTable } from "../task-text.ts";

interface SelectionFlags {
  readonly all?: boolean;
  readonly model?: string;
}

type Deed = (client: LegacyGpuClient, selection: DeadLetterSelection, signal: AbortSignal) => Promise<number>;

export function addDeadLetterCommands(group: Command, cli: Cli): void {
  const letters = group
    .command("dead-letters")
    .description("tasks that automatic retries have given up, newest first")
    .option("--model <name>", "of this model only")
    .option("--limit <count>", "at most so many (default 100)", pageLimit)
    .option("--cursor <cursor>", "the page after; see next_cursor in --json");
  cli.command(letters, list);
  const add = (name: string, description: string, past: string, deed: Deed): void => {
    const command = letters
      .command(name)
      .description(description)
      .argument("[ids...]")
      .option("--all", "all that there are")
      .option("--model <name>", "of this model only");
    const action = (context: Context, flags: SelectionFlags, ids: string[]): Promise<undefined> =>
      act(context, flags, ids, { past, deed });
    cli.command(refuse(command, mistake), action);
  };
  add("retry", "try them again", "tried again", (client, selection, signal) =>
    client.retryDeadLetters(selection, signal),
  );
  add("purge", "forget their inputs and outputs", "forgotten", (client, selection, signal) =>
    client.purgeDeadLetters(selection, signal),
  );
}

function mistake({ all }: SelectionFlags, ids: readonly string[]): string | undefined {
  if (all !== true && ids.length === 0)
    return "which ones? name tasks, or give --all, with or without --model";
  return all === true && ids.length > 0 ? "option '--all' cannot be used with ids" : undefined;
}

async function list(context: Context, flags: ListDeadLettersQuery): Promise<undefined> {
  const query = pick(flags, "model", "limit", "cursor");
  const page = await context.withGateway(({ client }) => client.deadLetters(query, context.signals.first));
  context.print(page, () => deadLetterTable(page.tasks));
  if (page.next_cursor !== null) context.remark(`There are more: --cursor ${page.next_cursor}`);
  return undefined;
}

async function act(
  context: Context,
  flags: SelectionFlags,
  ids: readonly string[],
  { past, deed }: { readonly past: string; readonly deed: Deed },
): Promise<undefined> {
  const selection = { ...pick(flags, "model"), ...(ids.length === 0 ? {} : { ids }) };
  const count = await context.withGateway(({ client }) => deed(client, selection, context.signals.first));
  context.print({ count }, () => `${count} ${count === 1 ? "task" : "tasks"} ${past}.\n`);
  return undefined;
}
