/** Flags and configuration of the commands that start a gateway or an agent. */

import { hostname, networkInterfaces } from "node:os";
import { type Config, loadConfig } from "@legacygpu/shared/config";
import { fail } from "@legacygpu/shared/errors";
import type { Home } from "@legacygpu/shared/home";
import { createLogger, type Logger, type LogLevel } from "@legacygpu/shared/log";
import type { Command } from "commander";
import { collect } from "./command.ts";
import { transportOf, trustOf } from "./gateway-settings.ts";
import type { CliIo } from "./io.ts";
import type { GatewayOptions } from "./parts.ts";

export interface ServerFlags {
  readonly config?: string;
  readonly host?: string;
  readonly port?: string;
  readonly strategy?: string;
  readonly bindAddress?: string;
  readonly certHost?: string[];
  readonly coordinator?: string;
  readonly workerId?: string;
  readonly site?: string;
  readonly label?: string[];
  readonly maxTasks?: string;
}

export function addGatewayFlags(command: Command): Command {
  return command
    .option("--host <host>", "where to listen")
    .option("--port <port>", "port, 0 for a free one (default 8000)")
    .option("--strategy <name>", "balancing strategy (default ADAPTIVE)")
    .option("--cert-host <name>", "further name or address for the certificate; may be repeated", collect)
    .option("--config <file>", "configuration (default: config.yaml in LEGACYGPU_HOME)");
}

export function addWorkerFlags(command: Command): Command {
  return command
    .option("--worker-id <id>", "name of this worker (default: one that it makes and keeps)")
    .option("--site <name>", 'place of this worker (default "default")')
    .option("--label <name=value>", "label of this worker; may be repeated", collect)
    .option("--max-tasks <count>", "tasks that run at a time");
}

/** Defaults ← file ← environment ← flags. @throws `config_invalid` */
export function loadServerConfig(flags: ServerFlags, home: Home, env: CliIo["env"]): Promise<Config> {
  const { bindAddress, host, port } = flags;
  if (bindAddress !== undefined && host !== undefined) {
    throw fail("config_invalid", "--bind-address and --host say the same thing: give one of them.");
  }
  return loadConfig({
    file: { path: flags.config ?? home.configFile, isRequired: flags.config !== undefined },
    env,
    flags: {
      coordinator: { bind_address: bindAddress, balancing_strategy: flags.strategy },
      api: { host, port },
      worker: {
        coordinator_address: flags.coordinator,
        worker_id: flags.workerId,
        site: flags.site,
        labels: flags.label?.join(","),
        max_concurrent_tasks: flags.maxTasks,
      },
    },
  });
}

export interface ServerSettings {
  readonly io: CliIo;
  readonly home: Home;
  readonly config: Config;
  readonly log: Logger;
  readonly certHosts: readonly string[];
  /** When neither flags nor configuration name one. */
  readonly defaultHost: string;
}

export function serverLogger(io: CliIo, config: Config, fallback: LogLevel): Logger {
  return createLogger("legacygpu", config.log.level ?? fallback, io.stderr);
}

export function gatewayOptions({
  io,
  home,
  config,
  log,
  certHosts,
  defaultHost,
}: ServerSettings): GatewayOptions {
  const host = config.api.host ?? defaultHost;
  const { coordinator, storage } = config;
  return {
    home,
    host,
    port: config.api.port,
    hosts: [...certHosts, ...namesFor(host)],
    publicUrl: config.api.publicUrl,
    transport: transportOf(config.api),
    trust: trustOf(config),
    strategy: coordinator.balancingStrategy,
    queueLimits: {
      maxTasks: coordinator.maxQueueSize,
      maxTasksPerKey: coordinator.maxQueueSizePerKey,
      maxBytes: coordinator.maxQueueBytes,
      maxBytesPerKey: coordinator.maxQueueBytesPerKey,
    },
    heartbeatIntervalMs: coordinator.heartbeatIntervalMs,
    heartbeatTimeoutMs: coordinator.heartbeatTimeoutMs,
    leaseMs: coordinator.leaseMs,
    retention: {
      maxFinished: storage.maxFinishedTasks,
      maxFinishedAgeMs: storage.maxFinishedAgeMs,
      maxStoredBytes: storage.maxFinishedBytes,
    },
    webhookNetworks: config.webhooks.allowedNetworks,
    maxBodyBytes: config.api.maxBodyBytes,
    log,
    clock: io.clock,
    random: io.random,
  };
}

/** The names under which others reach a gateway that listens on `host`. */
function namesFor(host: string): string[] {
  if (host !== "0.0.0.0" && host !== "::") return [host];
  return [hostname(), ...lanAddresses()].filter((name) =>
    /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(name),
  );
}

/** IPv4 only: temporary IPv6 addresses change every day, and with each the certificate would be made again. */
export function lanAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal)
    .map(({ address }) => address);
}
