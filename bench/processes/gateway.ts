/** The gateway as a process of a bench. */

import { type Gateway, startGateway } from "@legacygpu/gateway";
import type { CreateKey } from "@legacygpu/shared/api/keys";
import { systemClock } from "@legacygpu/shared/clock";
import { openHome } from "@legacygpu/shared/home";
import { createLogger } from "@legacygpu/shared/log";
import { serveCommands } from "./commands.ts";

let gateway: Gateway | undefined;

async function start(folder: string): Promise<{ url: string; caPem: string; adminKey: string }> {
  gateway = await startGateway({
    home: openHome({ LEGACYGPU_HOME: folder }),
    host: "127.0.0.1",
    port: 0,
    hosts: [],
    strategy: "LEAST_LOADED",
    maxQueueSize: 100_000,
    heartbeatIntervalMs: 5000,
    heartbeatTimeoutMs: 15_000,
    maxBodyBytes: 64 * 1024 * 1024,
    log: createLogger("gateway", "warn"),
    clock: systemClock,
  });
  const { url, caPem, firstStart } = gateway;
  return { url, caPem, adminKey: firstStart?.adminKey ?? "" };
}

async function issueKey(wanted: CreateKey & { kind: "client" | "worker" }): Promise<string> {
  if (gateway === undefined) throw new Error("The gateway has not been started.");
  return (await gateway.issueKey(wanted)).key;
}

serveCommands({ start, issueKey, close: () => gateway?.close() });
