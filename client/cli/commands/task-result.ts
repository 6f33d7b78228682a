/** `legacygpu task result ID`: the result alone, however large it is. */

import type { Command } from "commander";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { writeJson } from "../output-file.ts";
import { resultText } from "../task-text.ts";

export function addResultCommand(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("result")
      .description("what came out of a task; fails as the task failed")
      .argument("<id>")
      .option("--output <file>", "as JSON into this file"),
    result,
  );
}

async function result(
  context: Context,
  { output }: { readonly output?: string },
  id: string,
): Promise<undefined> {
  const found = await context.withGateway(({ client }) => client.result(id, context.signals.first));
  if (output === undefined) {
    context.print(found, () => resultText(found));
  } else {
    await writeJson(output, found);
    context.remark(`The result is in ${output}.`);
  }
  return undefined;
}
