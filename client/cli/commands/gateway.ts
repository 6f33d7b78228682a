/** `legacygpu api start` and `legacygpu cluster start`: a gateway without a worker on the same machine. */

import { openHome } from "@legacygpu/shared/home";
import type { Command } from "commander";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import type { RunningGateway } from "../parts.ts";
import { serveUntilStopped } from "../serve.ts";
import {
  addGatewayFlags,
  gatewayOptions,
  lanAddresses,
  loadServerConfig,
  type ServerFlags,
  serverLogger,
} from "../server-flags.ts";
import { facts } from "../table.ts";

export function addApiCommands(program: Command, cli: Cli): void {
  addStartCommand(program.command("api").description("the gateway that clients and workers connect to"), cli);
}

/** The same under `api` and `cluster`: there is one port for both. */
export function addStartCommand(group: Command, cli: Cli): void {
  const command = group
    .command("start")
    .description("start a gateway; listens on 0.0.0.0 unless --host says otherwise")
    .option("--bind-address <address>", "HOST:PORT or wss://HOST:PORT in one, instead of --host and --port");
  cli.server(addGatewayFlags(command), start);
}

async function start(context: Context, flags: ServerFlags): Promise<undefined> {
  const { io } = context;
  const home = openHome(io.env);
  const config = await loadServerConfig(flags, home, io.env);
  const log = serverLogger(io, config, "info");
  const certHosts = flags.certHost ?? [];
  const options = gatewayOptions({ io, home, config, log, certHosts, defaultHost: "0.0.0.0" });
  const gateway = await io.parts.startGateway(options);
  printStarted(context, gateway, options.host);
  await serveUntilStopped(context, {
    whatStops: "Stopping: the gateway takes nothing new and closes its connections.",
    reload: () => gateway.reloadCertificate(),
    close: () => gateway.close(),
  });
  return undefined;
}

function printStarted(context: Context, { url, caFile, firstStart }: RunningGateway, host: string): void {
  const adminKey = firstStart === undefined ? {} : { admin_key: firstStart.adminKey };
  context.print({ url, ca_file: caFile, ...adminKey }, () => {
    const ready = facts([
      ["gateway", url],
      ["CA", caFile],
      ["admin key", firstStart?.adminKey],
    ]);
    const once = firstStart === undefined ? "" : "The admin key is shown only now: keep it.\n";
    return `${ready}\n${once}${howToJoin(url, host)}Ctrl-C stops.\n`;
  });
}

function howToJoin(url: string, host: string): string {
  const reachable = host === "0.0.0.0" || host === "::" ? (lanAddresses()[0] ?? "localhost") : host;
  const address = `https://${reachable}:${new URL(url).port || 443}`;
  return [
    "To add a box: make a join token, and start a worker there with it.",
    `  legacygpu join-token create --site SITE --gateway ${address}`,
    "  legacygpu worker start --join lgj_…",
    "",
  ].join("\n");
}
