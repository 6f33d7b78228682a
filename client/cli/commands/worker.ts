/** `legacygpu worker start`: an agent that dials out to a gateway elsewhere. */

import { fail } from "@legacygpu/shared/errors";
import { openHome } from "@legacygpu/shared/home";
import type { Command } from "commander";
import type { Cli } from "../command.ts";
import { readCa } from "../connection.ts";
import type { Context, GlobalFlags } from "../context.ts";
import type { RunningAgent } from "../parts.ts";
import { serveUntilStopped } from "../serve.ts";
import { addWorkerFlags, loadServerConfig, type ServerFlags, serverLogger } from "../server-flags.ts";
import { readCredential, writeCredential } from "../standalone.ts";
import { facts } from "../table.ts";

export function addWorkerCommands(program: Command, cli: Cli): void {
  const command = program
    .command("worker")
    .description("a machine that runs models for a gateway")
    .command("start")
    .description("connect this machine to a gateway and run its tasks; --key takes a worker key (lgw_…)")
    .option("--coordinator <address>", "wss://HOST:PORT of the gateway")
    .option("--config <file>", "configuration (default: config.yaml in LEGACYGPU_HOME)");
  cli.server(addWorkerFlags(command), start);
}

async function start(context: Context, flags: ServerFlags & GlobalFlags): Promise<undefined> {
  const agent = await startAgent(context, flags);
  context.print(
    { worker_id: agent.workerId },
    () => `${facts([["worker", agent.workerId]])}\nCtrl-C stops.\n`,
  );
  await serveUntilStopped(context, {
    failed: agent.closed,
    whatStops: "Stopping: the worker finishes what it runs and takes nothing new.",
    close: async () => {
      await agent.drain();
      await agent.close();
    },
  });
  return undefined;
}

async function startAgent({ io }: Context, flags: ServerFlags & GlobalFlags): Promise<RunningAgent> {
  const home = openHome(io.env);
  const config = await loadServerConfig(flags, home, io.env);
  const { coordinatorAddress, workerId, site, labels, maxConcurrentTasks } = config.worker;
  if (coordinatorAddress === undefined) {
    throw fail("config_invalid", "No gateway is named: give --coordinator wss://HOST:PORT.");
  }
  const given = flags.key ?? (io.env.LEGACYGPU_KEY || undefined);
  const key = given ?? (await readCredential(home));
  if (key === undefined) {
    const message =
      "No worker key: make one with `legacygpu key create --name box --scopes worker` and give it with --key.";
    throw fail("auth_missing", message);
  }
  const caFile = flags.ca ?? (io.env.LEGACYGPU_CA || undefined);
  const caPem = caFile === undefined ? undefined : await readCa(caFile);
  // Kept, so that the next start, or a service, needs no secret among its arguments.
  if (given !== undefined) await writeCredential(home, given);
  return io.parts.startAgent({
    url: coordinatorAddress.replace(/^wss:/, "https:"),
    key,
    ...(caPem === undefined ? {} : { caPem }),
    stateDir: home.worker,
    ...(workerId === undefined ? {} : { workerId }),
    site,
    labels,
    ...(maxConcurrentTasks === undefined ? {} : { slots: maxConcurrentTasks }),
    env: io.env,
    log: serverLogger(io, config, "info"),
    clock: io.clock,
    random: io.random,
  });
}
