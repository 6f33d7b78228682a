/** `legacygpu worker …`; here `start`: an agent that dials out to a gateway elsewhere. */

import { fail } from "@legacygpu/shared/errors";
import { type Home, openHome } from "@legacygpu/shared/home";
import { decodeJoinToken, type JoinToken } from "@legacygpu/shared/join-token";
import type { Command } from "commander";
import type { Cli } from "../command.ts";
import { readCa } from "../connection.ts";
import type { Context, GlobalFlags } from "../context.ts";
import type { CliIo } from "../io.ts";
import type { AgentOptions, RunningAgent } from "../parts.ts";
import { serveUntilStopped } from "../serve.ts";
import { addWorkerFlags, loadServerConfig, type ServerFlags, serverLogger } from "../server-flags.ts";
import { hasJoined, readCredential, writeCredential } from "../standalone.ts";
import { unlessAborted } from "../stop-signals.ts";
import { facts } from "../table.ts";
import { workerSettingsOf } from "../worker-settings.ts";
import { addWorkerAdminCommands } from "./worker-admin.ts";

type WorkerFlags = ServerFlags & GlobalFlags & { readonly join?: string };

export function addWorkerCommands(program: Command, cli: Cli): void {
  const group = program.command("worker").description("a machine that runs models for a gateway");
  const command = group
    .command("start")
    .description(
      "connect this machine to a gateway and run its tasks: once with --join, from then on without flags; or with a worker key (lgw_…) as --key",
    )
    .option(
      "--join <token>",
      "join token (lgj_…), `-` to read it from standard input (LEGACYGPU_JOIN_TOKEN, which other users of this machine cannot see)",
    )
    .option("--coordinator <address>", "with --key: wss://HOST:PORT of the gateway")
    .option("--config <file>", "configuration (default: config.yaml in LEGACYGPU_HOME)");
  cli.server(addWorkerFlags(command), start);
  addWorkerAdminCommands(group, cli);
}

async function start(context: Context, flags: WorkerFlags): Promise<undefined> {
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

async function startAgent({ io, signals }: Context, flags: WorkerFlags): Promise<RunningAgent> {
  const home = openHome(io.env);
  const join = await readJoinToken(flags, io);
  const config = await loadServerConfig(flags, home, io.env);
  const { coordinatorAddress } = config.worker;
  const isMember = join !== undefined || (flags.key === undefined && (await hasJoined(home)));
  const way = isMember ? {} : await keyAndGateway(flags, coordinatorAddress, home, io.env);
  const starting = io.parts.startAgent({
    ...way,
    ...(join === undefined ? {} : { join, signal: signals.first }),
    stateDir: home.worker,
    ...workerSettingsOf(config),
    env: io.env,
    log: serverLogger(io, config, "info"),
    clock: io.clock,
    random: io.random,
  });
  // A gateway that cannot be reached is waited for, and nothing runs yet that should be finished.
  return join === undefined ? starting : unlessAborted(starting, signals.first);
}

/** @returns undefined when none is given. @throws `join_token_malformed` */
async function readJoinToken(
  { join, key }: WorkerFlags,
  { env, stdin }: CliIo,
): Promise<JoinToken | undefined> {
  if (join !== undefined && key !== undefined)
    throw fail("config_invalid", "--join and --key are two ways in: give one of them.");
  if (key !== undefined) return undefined;
  const text = join === "-" ? await readText(stdin) : (join ?? env.LEGACYGPU_JOIN_TOKEN);
  if (text === undefined || (text === "" && join === undefined)) return undefined;
  return decodeJoinToken(text);
}

async function readText(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

type KeyAndGateway = Pick<AgentOptions, "key" | "url" | "caPem">;

async function keyAndGateway(
  flags: WorkerFlags,
  coordinatorAddress: string | undefined,
  home: Home,
  env: CliIo["env"],
): Promise<KeyAndGateway> {
  if (coordinatorAddress === undefined) {
    const message =
      "No gateway is named: join one with --join lgj_…, or give --coordinator wss://HOST:PORT and a worker key.";
    throw fail("config_invalid", message);
  }
  const given = flags.key ?? (env.LEGACYGPU_KEY || undefined);
  const key = given ?? (await readCredential(home));
  if (key === undefined) {
    const message =
      "No worker key: make one with `legacygpu key create --name box --scopes worker` and give it with --key. Or join with a join token: --join lgj_….";
    throw fail("auth_missing", message);
  }
  const caFile = flags.ca ?? (env.LEGACYGPU_CA || undefined);
  const caPem = caFile === undefined ? undefined : await readCa(caFile);
  // Kept, so that the next start, or a service, needs no secret among its arguments.
  if (given !== undefined) await writeCredential(home, given);
  const url = coordinatorAddress.replace(/^wss:/, "https:");
  return { key, url, ...(caPem === undefined ? {} : { caPem }) };
}
