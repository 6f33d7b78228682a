/** `legacygpu cluster strategy`: how workers are chosen, for all models or for one. */

import type { Command } from "commander";
import type { BalancingJson } from "../../index.ts";
import { type Cli, refuse } from "../command.ts";
import type { Context } from "../context.ts";
import { facts } from "../table.ts";

interface StrategyFlags {
  readonly model?: string;
  readonly reset?: boolean;
}

export function addStrategyCommand(group: Command, cli: Cli): void {
  const command = group
    .command("strategy")
    .description("show how workers are chosen, or change it")
    .argument("[name]", "ROUND_ROBIN, LEAST_LOADED, GPU_MATCH, LATENCY or ADAPTIVE")
    .option("--model <name>", "of this model only")
    .option("--reset", "back to the configured one; with --model: to that of all the others");
  cli.command(refuse(command, mistake), strategy);
}

function mistake({ reset }: StrategyFlags, args: readonly string[]): string | undefined {
  return reset === true && args.length > 0 ? "option '--reset' cannot be used with a name" : undefined;
}

async function strategy(context: Context, flags: StrategyFlags, name?: string): Promise<undefined> {
  if (name === undefined && flags.reset !== true) return show(context, flags);
  const { first } = context.signals;
  const wanted = name === undefined ? null : name.toUpperCase();
  const { model } = flags;
  const used = await context.withGateway(({ client }) =>
    model === undefined ? client.setStrategy(wanted, first) : client.overrideStrategy(model, wanted, first),
  );
  const answer = { status: "success", ...(model === undefined ? {} : { model }), new_strategy: used };
  context.print(answer, () =>
    facts([
      ["strategy", used],
      ["model", model],
    ]),
  );
  return undefined;
}

async function show(context: Context, { model }: StrategyFlags): Promise<undefined> {
  const balancing = await context.withGateway(({ client }) => client.balancing(context.signals.first));
  context.print(balancing, () => balancingText(balancing, model));
  return undefined;
}

function balancingText(
  { strategy, overrides, strategies }: BalancingJson,
  model: string | undefined,
): string {
  if (model !== undefined)
    return facts([
      ["strategy", overrides[model] ?? strategy],
      ["model", model],
    ]);
  const own = Object.entries(overrides).map(([name, used]) => [name, used] as const);
  return facts([
    ["strategy", strategy],
    ...own.map(([name, used]) => [`  ${name}`, used] as const),
    ["choose from", strategies.join(", ")],
  ]);
}
