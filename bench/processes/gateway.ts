/** The gateway as a process of a bench. */

import { type Gateway, startGateway } from "@legacygpu/gateway";
import type { CreateKey } from "@legacygpu/shared/api/keys";
import { systemClock } from "@legacygpu/shared/clock";
import { openHome } from "@legacygpu/shared/home";
import { createLogger } from "@legacygpu/shared/log";
import { measureMemory } from "../queue/memory.ts";
import { serveCommands } from "./commands.ts";

export interface GatewayOrder {
  readonly folder: string;
  /** Default: one that is free. */
  readonly port?: number;
  readonly heartbeatIntervalMs?: number;
  readonly heartbeatTimeoutMs?: number;
  /** Default: as the timeout. */
  readonly leaseMs?: number;
  /** As in production. Default: none, because every caller of a bench has the same address. */
  readonly hasAddressLimits?: boolean;
  readonly logLevel?: "warn" | "error";
}

export interface GatewayAddress {
  readonly url: string;
  readonly caPem: string;
  /** Empty unless this was the first start in the folder. */
  readonly adminKey: string;
}

/** So much that no bench comes near it. */
const PLENTY = 2_000_000;
const PLENTY_BYTES = 2 ** 40;
const NO_ADDRESS_LIMITS = {
  failedAuthenticationsPerMinute: null,
  newSocketsPerSecond: null,
  unauthenticatedRequestsPerSecond: null,
};
const A_DAY_MS = 24 * 3_600_000;

let gateway: Gateway | undefined;

async function start(order: GatewayOrder): Promise<GatewayAddress> {
  const { folder, port = 0, heartbeatIntervalMs = 5000, heartbeatTimeoutMs = 15_000 } = order;
  gateway = await startGateway({
    home: openHome({ LEGACYGPU_HOME: folder }),
    host: "127.0.0.1",
    port,
    hosts: [],
    strategy: "LEAST_LOADED",
    queueLimits: {
      maxTasks: PLENTY,
      maxBytes: PLENTY_BYTES,
      maxTasksPerKey: PLENTY,
      maxBytesPerKey: PLENTY_BYTES,
    },
    heartbeatIntervalMs,
    heartbeatTimeoutMs,
    leaseMs: order.leaseMs ?? heartbeatTimeoutMs,
    retention: { maxFinished: PLENTY, maxFinishedAgeMs: A_DAY_MS, maxStoredBytes: PLENTY_BYTES },
    webhookNetworks: [],
    maxBodyBytes: 64 * 1024 * 1024,
    trust: { limits: { perAddress: order.hasAddressLimits === true ? {} : NO_ADDRESS_LIMITS } },
    log: createLogger("gateway", order.logLevel ?? "warn"),
    clock: systemClock,
  });
  const { url, caPem = "", firstStart } = gateway;
  return { url, caPem, adminKey: firstStart?.adminKey ?? "" };
}

async function issueKey(wanted: CreateKey & { kind: "client" | "worker" }): Promise<string> {
  if (gateway === undefined) throw new Error("The gateway has not been started.");
  return (await gateway.issueKey(wanted)).key;
}

serveCommands({ start, issueKey, memory: measureMemory, close: () => gateway?.close() });
