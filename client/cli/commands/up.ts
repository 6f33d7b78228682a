/** `legacygpu up`: gateway and agent on this machine. */

import { openHome } from "@legacygpu/shared/home";
import type { LogLevel } from "@legacygpu/shared/log";
import type { Command } from "commander";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { serveUntilStopped } from "../serve.ts";
import {
  addGatewayFlags,
  addWorkerFlags,
  loadServerConfig,
  type ServerFlags,
  serverLogger,
} from "../server-flags.ts";
import { type Standalone, startStandalone } from "../standalone.ts";
import { facts } from "../table.ts";

export function addUpCommand(program: Command, cli: Cli): void {
  const command = program
    .command("up")
    .description(
      "start gateway and agent on this machine; listens on 127.0.0.1 unless --host says otherwise",
    );
  cli.server(addWorkerFlags(addGatewayFlags(command)), up);
}

async function up(context: Context, flags: ServerFlags): Promise<undefined> {
  const standalone = await startUp(context, flags);
  printUp(context, standalone);
  await serveStandalone(context, standalone);
  return undefined;
}

/**
 * @param flags may leave out everything.
 * @param level how much is logged when the configuration does not say.
 */
export async function startUp(
  { io }: Context,
  flags: ServerFlags,
  level: LogLevel = io.isTty ? "warn" : "info",
): Promise<Standalone> {
  const home = openHome(io.env);
  const config = await loadServerConfig(flags, home, io.env);
  const log = serverLogger(io, config, level);
  const certHosts = flags.certHost ?? [];
  return startStandalone({ io, home, config, log, certHosts, defaultHost: "127.0.0.1" });
}

export function serveStandalone(context: Context, { gateway, agent, close }: Standalone): Promise<void> {
  const whatStops = "Stopping: the worker finishes what it runs, then the gateway closes.";
  const reload = (): Promise<unknown> => gateway.reloadCertificate();
  return serveUntilStopped(context, { failed: agent.closed, whatStops, reload, close });
}

function printUp(context: Context, { gateway, agent, profile, replacedUrl }: Standalone): void {
  const { url, caFile, firstStart } = gateway;
  const document = {
    url,
    ca_file: caFile,
    worker_id: agent.workerId,
    ...(firstStart === undefined ? {} : { admin_key: firstStart.adminKey }),
  };
  context.print(document, () => {
    const ready = facts([
      ["gateway", url],
      ["worker", agent.workerId],
      ["CA", caFile],
      ["admin key", firstStart?.adminKey],
    ]);
    return `${ready}\n${remarks(firstStart !== undefined, replacedUrl, profile.url)}`;
  });
}

function remarks(isFirst: boolean, replacedUrl: string | undefined, url: string): string {
  const lines = ["Commands on this machine find the gateway by themselves: legacygpu cluster status"];
  if (isFirst) {
    lines.unshift(
      "The admin key is shown only now: keep it. This machine's command line has a key of its own.",
    );
  }
  if (replacedUrl !== undefined) lines.push(`The profile named ${replacedUrl} before; now it names ${url}.`);
  lines.push("Ctrl-C stops.");
  return lines.map((line) => `${line}\n`).join("");
}
