/** `legacygpu model …`: the catalogue. */

import type { Command } from "commander";
import { type Cli, refuse } from "../command.ts";
import type { Context } from "../context.ts";
import { detailsText, modelTable } from "../model-text.ts";
import { addModelDeployCommands } from "./model-deploy.ts";
import { addModelPushCommand } from "./model-push.ts";
import { addModelQueueCommand } from "./model-queue.ts";

export function addModelCommands(program: Command, cli: Cli): void {
  const group = program.command("model").description("the models that can be run");
  addModelPushCommand(group, cli);
  cli.command(group.command("list").description("all models and versions"), list);
  cli.command(
    group
      .command("show")
      .description("what a model consists of: tensors, weights, operators")
      .argument("<name[@version]>", "or name@alias; default: the newest version"),
    show,
  );
  addRemoveCommand(group, cli);
  addAliasCommand(group, cli);
  addModelDeployCommands(group, cli);
  addModelQueueCommand(group, cli);
}

function addRemoveCommand(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("rm")
      .description("remove a version, or with the name alone the whole model")
      .argument("<name[@version]>")
      .option("--force", "also while it is in use: its tasks fail, aliases of it go"),
    remove,
  );
}

function addAliasCommand(group: Command, cli: Cli): void {
  const command = group
    .command("alias")
    .description("let a name point to a version")
    .argument("<name>")
    .argument("<alias>", "such as stable")
    .argument("[version]", "or another alias")
    .option("--remove", "take the alias away");
  refuse<AliasFlags>(command, ({ remove }, [, , version]) => {
    if (remove === true && version !== undefined) return "--remove takes no version";
    return remove !== true && version === undefined ? "name the version, or give --remove" : undefined;
  });
  cli.command(command, alias);
}

async function list(context: Context): Promise<undefined> {
  const models = await context.withGateway(({ client }) => client.models(context.signals.first));
  context.print({ models }, () => modelTable(models));
  return undefined;
}

async function show(context: Context, _flags: object, given: string): Promise<undefined> {
  const { name, version } = readReference(given);
  const model = await context.withGateway(({ client }) =>
    client.catalogue.describe(name, version, context.signals.first),
  );
  context.print(model, () => detailsText(model));
  return undefined;
}

async function remove(
  context: Context,
  { force }: { readonly force?: boolean },
  given: string,
): Promise<undefined> {
  const { name, version } = readReference(given);
  const result = await context.withGateway(({ client }) =>
    client.catalogue.remove(name, { version, isForced: force, signal: context.signals.first }),
  );
  const { removed, failed_tasks: failed } = result;
  const tasks = failed === 0 ? "" : ` ${failed} ${failed === 1 ? "task has" : "tasks have"} failed by it.`;
  context.print(
    result,
    () => `${removed.map((each) => `${each.name}@${each.version}`).join(", ")} removed.${tasks}\n`,
  );
  return undefined;
}

interface AliasFlags {
  readonly remove?: boolean;
}

async function alias(
  context: Context,
  _flags: AliasFlags,
  name: string,
  given: string,
  version?: string,
): Promise<undefined> {
  const { first: signal } = context.signals;
  if (version === undefined) {
    await context.withGateway(({ client }) => client.catalogue.removeAlias(name, given, signal));
    context.print({ model: name, alias: given, removed: true }, () => `${name}@${given} is gone.\n`);
    return undefined;
  }
  const now = await context.withGateway(({ client }) =>
    client.catalogue.setAlias(name, given, version, signal),
  );
  context.print(now, () => `${now.model}@${now.alias} is version ${now.version}.\n`);
  return undefined;
}

/** `name` or `name@version` */
function readReference(given: string): { readonly name: string; readonly version?: string } {
  const [name = "", ...rest] = given.split("@");
  return rest.length === 0 ? { name } : { name, version: rest.join("@") };
}
