/** `legacygpu batch …`: what `legacygpu task submit --batch` has sent. */

import type { Command } from "commander";
import { collected, followBatch } from "../batch-follow.ts";
import { batchText, resultsTable } from "../batch-text.ts";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { writeJsonLines } from "../output-file.ts";

export function addBatchCommands(program: Command, cli: Cli): void {
  const group = program.command("batch").description("batches, made by task submit --batch");
  cli.command(
    group
      .command("get")
      .description("how far a batch is")
      .argument("<id>")
      .option("--wait", "until it has ended, and print the results"),
    get,
  );
  cli.command(
    group
      .command("results")
      .description("what has come out of a batch so far; with --json as JSON lines")
      .argument("<id>")
      .option("--output <file>", "as JSON lines into this file"),
    results,
  );
  cli.command(group.command("cancel").description("stop what has not ended").argument("<id>"), cancel);
}

async function get(context: Context, { wait }: { readonly wait?: boolean }, id: string): Promise<number> {
  return context.withGateway(async ({ client }) => {
    if (wait === true) return followBatch(context, client, id, {});
    const batch = await client.batch(id, context.signals.first);
    context.print(batch, () => batchText(batch));
    return EXIT.ok;
  });
}

async function results(
  context: Context,
  { output }: { readonly output?: string },
  id: string,
): Promise<undefined> {
  return context.withGateway(async ({ client }) => {
    const found = client.batchResults(id, { signal: context.signals.first });
    if (output !== undefined) {
      await writeJsonLines(output, found);
      context.remark(`The results are in ${output}.`);
    } else if (context.isJson) {
      for await (const result of found) context.io.stdout.write(`${JSON.stringify(result)}\n`);
    } else {
      context.io.stdout.write(resultsTable(await collected(found)));
    }
    return undefined;
  });
}

async function cancel(context: Context, _flags: object, id: string): Promise<undefined> {
  const batch = await context.withGateway(({ client }) => client.cancelBatch(id, context.signals.first));
  context.print(batch, () => batchText(batch));
  return undefined;
}
