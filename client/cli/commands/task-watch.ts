/** `legacygpu task watch ID`: what happens to a task, as it happens. */

import type { Command } from "commander";
import type { LegacyGpuClient, TaskJson } from "../../index.ts";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { eventText } from "../event-text.ts";
import { exitCodeOfTask } from "../exit-codes.ts";
import { goesOn } from "../follow.ts";
import { withProgress } from "../interrupt.ts";
import { taskText } from "../task-text.ts";

export function addWatchCommand(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("watch")
      .description("what happens to a task, from its beginning until its end; with --json as JSON lines")
      .argument("<id>"),
    watch,
  );
}

async function watch(context: Context, _flags: object, id: string): Promise<number> {
  return context.withGateway(async ({ client }) => {
    const task = await showEvents(context, client, id);
    if (!context.isJson) context.io.stdout.write(`\n${taskText(task)}`);
    return exitCodeOfTask(task);
  });
}

/** @returns the task as it ended. */
async function showEvents(context: Context, client: LegacyGpuClient, id: string): Promise<TaskJson> {
  const { signals, io } = context;
  let latest: TaskJson | undefined;
  await withProgress(
    context,
    () => goesOn(id),
    async (progress) => {
      const onTrouble = (error: Error): void => progress.update(`${id}: ${error.message} · trying again`);
      for await (const event of client.events(id, { signal: signals.first, onTrouble })) {
        progress.clear();
        io.stdout.write(context.isJson ? `${JSON.stringify(event)}\n` : eventText(event));
        latest = event.snapshot;
      }
    },
  );
  return latest ?? client.get(id, signals.first);
}
