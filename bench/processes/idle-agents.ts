/** Many agents in one process: the agent's own link with its reconnecting, and nothing behind it. */

import { Connection } from "@legacygpu/agent/link/connection";
import { workerKey } from "@legacygpu/agent/link/credentials";
import { buildHello } from "@legacygpu/agent/link/hello";
import { Network } from "@legacygpu/agent/link/network";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { serveCommands } from "./commands.ts";

export interface IdleAgentsOrder {
  readonly url: string;
  readonly key: string;
  readonly caPem: string;
  readonly count: number;
  /** Of the worker ids. */
  readonly prefix: string;
}

export interface Arrivals {
  readonly online: number;
  /** Of each arrival since the last `forget`, by the clock of the system. */
  readonly atMs: readonly number[];
}

const HARDWARE = { cpu: { model: "none", cores: 1 }, memoryBytes: 2 ** 30, platform: "bench", gpus: [] };

const connections: Connection[] = [];
let arrivals: number[] = [];

function start({ url, key, caPem, count, prefix }: IdleAgentsOrder): void {
  for (let number = 0; number < count; number += 1) {
    connections.push(dialIn(new URL(url), key, caPem, `${prefix}-${number}`));
  }
}

function dialIn(gateway: URL, key: string, caPem: string, workerId: string): Connection {
  const clock = systemClock;
  const network = new Network({ gateway, credentials: workerKey(key), caPem, env: {}, clock });
  const hello = buildHello({
    workerId,
    instanceId: workerId,
    site: "bench",
    labels: {},
    hardware: HARDWARE,
    providers: ["cpu"],
    slots: 1,
    models: [],
    held: [],
  });
  const connection = new Connection({
    dial: (handlers) => network.openSocket(handlers),
    context: { gateway, caPem },
    clock,
    random: Math.random,
    log: createLogger("agent", "silent"),
    hello: () => hello,
    telemetry: () => ({ type: "telemetry", running: 0, queued: 0, rssBytes: 0, cpuPercent: 0 }),
    onWelcome: () => void arrivals.push(Date.now()),
    onOrder: () => {},
    onLost: () => {},
  });
  connection.start();
  return connection;
}

function count(): Arrivals {
  return { online: connections.filter(({ state }) => state === "online").length, atMs: arrivals };
}

function forget(): void {
  arrivals = [];
}

function close(): void {
  for (const connection of connections) connection.close("the end");
}

serveCommands({ start, count, forget, close });
