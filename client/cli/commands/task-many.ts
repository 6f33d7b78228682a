/** `legacygpu task cancel|retry|rm ID…`: one thing done to several tasks. */

import { asLegacyGpuError } from "@legacygpu/shared/errors";
import type { Command } from "commander";
import type { LegacyGpuClient, TaskJson } from "../../index.ts";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { describeError } from "../error-report.ts";
import { taskTable, taskText } from "../task-text.ts";

type Deed = (client: LegacyGpuClient, id: string, signal: AbortSignal) => Promise<TaskJson>;

export function addManyTaskCommands(group: Command, cli: Cli): void {
  const add = (name: string, description: string, deed: Deed): void => {
    const command = group.command(name).description(description).argument("<ids...>");
    cli.command(command, (context: Context, _flags: object, ids: string[]) => toEach(context, ids, deed));
  };
  add("cancel", "stop tasks", (client, id, signal) => client.cancel(id, signal));
  add("retry", "try tasks again that failed or timed out", (client, id, signal) => client.retry(id, signal));
  add("rm", "forget input and output of tasks now; cancels what has not ended", (client, id, signal) =>
    client.remove(id, signal),
  );
}

/** What fails for one task is told, and the others are gone on with. @throws the first failure, at the end. */
async function toEach(context: Context, ids: readonly string[], deed: Deed): Promise<undefined> {
  const { first: signal } = context.signals;
  const done: TaskJson[] = [];
  const failures: unknown[] = [];
  await context.withGateway(async ({ client }) => {
    for (const id of ids) {
      await deed(client, id, signal).then(
        (task) => done.push(task),
        (error: unknown) => failures.push(error),
      );
      signal.throwIfAborted();
    }
  });
  print(context, ids, done);
  for (const error of failures.slice(1)) {
    context.remark(describeError(asLegacyGpuError(error), { isJson: false, isVerbose: false }).trimEnd());
  }
  if (failures.length > 0) throw failures[0];
  return undefined;
}

function print(context: Context, ids: readonly string[], done: readonly TaskJson[]): void {
  const [only] = done;
  if (only === undefined) return;
  if (ids.length === 1) context.print(only, () => taskText(only));
  else context.print({ tasks: done }, () => taskTable(done));
}
