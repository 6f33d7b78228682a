/** `legacygpu task …`: send tasks, look at them and follow them. */

import { TASK_STATES } from "@legacygpu/shared/task";
import type { Command } from "commander";
import type { ListTasksQuery } from "../../index.ts";
import { choiceText } from "../choice-text.ts";
import { type Cli, oneOf, pageLimit, pick } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { follow } from "../follow.ts";
import { taskTable, taskText } from "../task-text.ts";
import { addDeadLetterCommands } from "./task-dead-letters.ts";
import { addManyTaskCommands } from "./task-many.ts";
import { addResultCommand } from "./task-result.ts";
import { addSubmitCommand } from "./task-submit.ts";
import { addWatchCommand } from "./task-watch.ts";

export function addTaskCommands(program: Command, cli: Cli): void {
  const group = program.command("task").description("send tasks and follow them");
  addSubmitCommand(group, cli);
  cli.command(
    group
      .command("list")
      .description("your tasks, newest first")
      .option("--state <state>", TASK_STATES.join(", "), oneOf(TASK_STATES))
      .option("--model <name>", "of this model only")
      .option("--site <name>", "with an attempt at this site only")
      .option("--tag <tag>", "with this tag only")
      .option("--batch <id>", "of this batch only")
      .option("--limit <count>", "at most so many (default 100)", pageLimit)
      .option("--cursor <cursor>", "the page after; see next_cursor in --json"),
    list,
  );
  cli.command(
    group.command("get").description("one task").argument("<id>").option("--wait", "until it has ended"),
    get,
  );
  cli.command(
    group
      .command("explain")
      .description("which workers there were for a task, and why one was chosen")
      .argument("<id>"),
    explain,
  );
  addWatchCommand(group, cli);
  addResultCommand(group, cli);
  addManyTaskCommands(group, cli);
  addDeadLetterCommands(group, cli);
}

async function list(context: Context, flags: ListTasksQuery): Promise<undefined> {
  const query = pick(flags, "state", "model", "site", "tag", "batch", "limit", "cursor");
  const page = await context.withGateway(({ client }) => client.list(query, context.signals.first));
  context.print(page, () => taskTable(page.tasks));
  if (page.next_cursor !== null) context.remark(`There are more: --cursor ${page.next_cursor}`);
  return undefined;
}

async function get(context: Context, { wait }: { readonly wait?: boolean }, id: string): Promise<number> {
  return context.withGateway(async ({ client }) => {
    if (wait === true) return follow(context, client, id);
    const task = await client.get(id, context.signals.first);
    context.print(task, () => taskText(task));
    return EXIT.ok;
  });
}

async function explain(context: Context, _flags: object, id: string): Promise<undefined> {
  const task = await context.withGateway(({ client }) => client.explain(id, context.signals.first));
  context.print(task, () => choiceText(task));
  return undefined;
}
