/** `legacygpu model deploy`, `deployments`, `undeploy`: on how many workers a model is kept loaded. */

import { MAX_REPLICAS, type PutDeployment } from "@legacygpu/shared/api/deployments";
import { PROVIDERS, type ProviderName } from "@legacygpu/shared/manifest";
import type { Command } from "commander";
import { type Cli, collect, duration, oneOf, refuse, wholeNumber } from "../command.ts";
import type { Context } from "../context.ts";
import { deploymentFacts, deploymentTable } from "../deployment-text.ts";

interface DeployFlags {
  readonly minReplicas?: number;
  readonly maxReplicas?: number;
  /** Milliseconds. */
  readonly idleTtl?: number;
  readonly provider?: ProviderName[];
  readonly site?: string[];
}

const providerName = oneOf(PROVIDERS);
const collectProvider = (given: string, previous: ProviderName[] = []): ProviderName[] => [
  ...previous,
  providerName(given),
];

export function addModelDeployCommands(group: Command, cli: Cli): void {
  const deploy = group
    .command("deploy")
    .description("have workers keep a model loaded; only these run it then")
    .argument("<name[@version]>", "or name@alias, which may move later; default: the newest version")
    .option(
      "--min-replicas <n>",
      "workers that always have it; 0: none while idle",
      wholeNumber({ min: 0, max: MAX_REPLICAS }),
    )
    .option("--max-replicas <n>", "as many when tasks wait", wholeNumber({ min: 1, max: MAX_REPLICAS }))
    .option("--idle-ttl <duration>", "unload what is not needed after so long without a task", duration)
    .option(
      "--provider <name>",
      "only on workers with this execution provider; again for others",
      collectProvider,
    )
    .option("--site <site>", "only at this site; again for others", collect);
  refuse<DeployFlags>(deploy, ({ minReplicas = 1, maxReplicas }) =>
    maxReplicas !== undefined && maxReplicas < minReplicas
      ? "--max-replicas must not be below --min-replicas (default 1)"
      : undefined,
  );
  cli.command(deploy, put);
  cli.command(group.command("deployments").description("what is deployed, where, and how it stands"), list);
  cli.command(
    group.command("undeploy").description("load the model only where it is run, and when").argument("<name>"),
    undeploy,
  );
}

async function put(context: Context, flags: DeployFlags, given: string): Promise<undefined> {
  const [name = "", ...rest] = given.split("@");
  const version = rest.length === 0 ? {} : { version: rest.join("@") };
  const deployment = await context.withGateway(({ client }) =>
    client.deployments.put(name, { ...version, ...wishesOf(flags) }, context.signals.first),
  );
  context.print(deployment, () => deploymentFacts(deployment));
  return undefined;
}

function wishesOf(flags: DeployFlags): PutDeployment {
  const { minReplicas, maxReplicas, idleTtl, provider, site } = flags;
  return {
    ...(minReplicas === undefined ? {} : { min_replicas: minReplicas }),
    ...(maxReplicas === undefined ? {} : { max_replicas: maxReplicas }),
    ...(idleTtl === undefined ? {} : { idle_ttl_seconds: idleTtl / 1000 }),
    ...(provider === undefined ? {} : { providers: provider }),
    ...(site === undefined ? {} : { sites: site }),
  };
}

async function list(context: Context): Promise<undefined> {
  const deployments = await context.withGateway(({ client }) =>
    client.deployments.list(context.signals.first),
  );
  context.print({ deployments }, () => deploymentTable(deployments));
  return undefined;
}

async function undeploy(context: Context, _flags: object, model: string): Promise<undefined> {
  await context.withGateway(({ client }) => client.deployments.remove(model, context.signals.first));
  context.print({ model, deployed: false }, () => `${model} is not deployed any more.\n`);
  return undefined;
}
