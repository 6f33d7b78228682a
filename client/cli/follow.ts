/** Waits for the end of a task, shows how it stands meanwhile, and prints it. */

import type { LegacyGpuClient } from "../index.ts";
import type { Context } from "./context.ts";
import { exitCodeOfTask } from "./exit-codes.ts";
import { withProgress } from "./interrupt.ts";
import { liveStateText, stateText, taskText } from "./task-text.ts";

export async function follow(context: Context, client: LegacyGpuClient, id: string): Promise<number> {
  const task = await withProgress(
    context,
    () => goesOn(id),
    (progress) =>
      client.wait(id, {
        signal: context.signals.first,
        onUpdate: (update) => progress.update(stateText(update), liveStateText(update)),
        onTrouble: (error) => progress.update(`${id}: ${error.message} · trying again`),
      }),
  );
  context.print(task, () => taskText(task));
  return exitCodeOfTask(task);
}

export function goesOn(id: string): string {
  return `Task ${id} goes on. legacygpu task get ${id} --wait · legacygpu task cancel ${id}`;
}
