/** Composition root of the agent: what it is made of, and in which order it starts and stops. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { Lifecycle } from "@legacygpu/shared/lifecycle";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { CpuMeter } from "./hardware/load.ts";
import { probeHardware } from "./hardware/probe.ts";
import { probeProviders } from "./hardware/providers.ts";
import { newInstanceId, workerIdentity } from "./identity.ts";
import { Connection, type LinkState } from "./link/connection.ts";
import { LinkGate } from "./link/gate.ts";
import { buildHello } from "./link/hello.ts";
import { Network } from "./link/network.ts";
import type { Hello, Order, Telemetry } from "./link/session.ts";
import { Transfers } from "./link/transfers.ts";
import { BlobCache } from "./models/blob-cache.ts";
import { ModelIndex } from "./models/model-index.ts";
import { ModelShelf } from "./models/shelf.ts";
import { type AgentOptions, checkOptions, childEnvironment } from "./options.ts";
import { spawnRunner } from "./runner/process.ts";
import { Supervisor, type SupervisorStatus } from "./runner/supervisor.ts";
import { Spool } from "./tasks/spool.ts";
import { TaskFlow } from "./tasks/task-flow.ts";

export type { AgentOptions } from "./options.ts";

export interface AgentStatus {
  readonly workerId: string;
  readonly instanceId: string;
  readonly gateway: string;
  readonly link: LinkState;
  /** Why there is no link. */
  readonly lastError: { readonly code: string; readonly message: string } | undefined;
  readonly site: string;
  readonly providers: readonly string[];
  /** Attempts that it holds, finished and undelivered ones included. */
  readonly held: number;
  /** Of these, how many are finished and wait on the disk for a link. */
  readonly spooled: number;
  readonly runner: SupervisorStatus;
  /** `name:version state`. */
  readonly models: readonly string[];
}

export interface Agent {
  readonly workerId: string;
  status(): AgentStatus;
  /** Takes nothing new, finishes and delivers what it holds, says goodbye, and closes. */
  drain(): Promise<void>;
  /** Stops at once. Idempotent. */
  close(): Promise<void>;
  /** Resolves when the agent has stopped: with the reason when it stopped by itself because trying again cannot help. */
  readonly closed: Promise<Error | undefined>;
}

/**
 * Resolves when the agent has begun to dial; it goes on dialing for as long as that can help.
 * @throws `config_invalid`.
 */
export async function startAgent(given: AgentOptions): Promise<Agent> {
  const options = checkOptions(given);
  const { clock, random, stateDir, gateway, slots, site, labels } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const workerId = await workerIdentity(stateDir, options.workerId);
  const identity = { workerId, instanceId: newInstanceId() };
  const log = options.log.child({ workerId });
  const env = childEnvironment(options.env);
  const hardware = await probeHardware(env);
  const providers = await probeProviders({ stateDir, hardware, wanted: options.providers, env, log });

  const lifecycle = new Lifecycle(log);
  const network = new Network({ gateway, key: options.key, caPem: options.caPem, env: options.env, clock });
  lifecycle.add("network", () => network.close());
  const request = network.request.bind(network);
  const gate = new LinkGate();
  const blobs = new BlobCache({ directory: join(stateDir, "models", "blobs"), request, gate, clock, random });
  const index = new ModelIndex(join(stateDir, "models", "index.json"), log);
  await index.read((ref) => isCached(blobs, ref));
  lifecycle.add("model index", () => index.close());
  lifecycle.add("model downloads", () => blobs.close());
  const spool = await Spool.open({
    directory: join(stateDir, "spool"),
    maxBytes: options.maxSpoolBytes,
    maxAttempts: options.maxSpoolAttempts,
    log,
  });

  const supervisor = new Supervisor({
    spawn: spawnRunner(env, log),
    clock,
    random,
    log,
    slots,
    cores: hardware.cpu.cores,
    providers,
    executionLimitMs: options.executionLimitMs,
    onModel: (event) => shelf.onRunner(event),
  });
  lifecycle.add("runner", () => supervisor.close());
  const shelf = new ModelShelf({
    blobs,
    index,
    clock,
    log,
    runner: supervisor,
    send: (message) => void connection.send(message),
  });
  const flow = new TaskFlow({
    clock,
    log,
    runner: supervisor,
    models: shelf,
    transfers: new Transfers({ request, gate, clock, random }),
    spool,
    send: (message, onDelivered) => connection.send(message, onDelivered),
  });
  lifecycle.add("tasks", () => flow.close());

  const cpu = new CpuMeter();
  let announced: Hello["held"] = [];
  const connection: Connection = new Connection({
    dial: (handlers) => network.openSocket(handlers),
    context: { gateway, caPem: options.caPem },
    clock,
    random,
    log,
    hello: () => {
      const models = index.refs.map(({ name, version, file }) => ({ name, version, file }));
      const facts = { ...identity, site, labels, hardware, providers, slots, models, held: flow.held() };
      const hello = buildHello(facts);
      announced = hello.held;
      return hello;
    },
    telemetry: () => telemetry(supervisor.status(), cpu),
    onWelcome: ({ keep }) => {
      shelf.onNewConnection();
      flow.resume(announced, keep);
      gate.open();
    },
    onOrder: (order) => obey(order),
    onLost: () => {
      gate.shut();
      flow.onLinkLost();
    },
  });
  lifecycle.add("link", () => connection.close("the agent is closing"));

  function obey(order: Order): void {
    switch (order.type) {
      case "task":
        flow.take(order);
        return;
      case "cancel":
        flow.cancel(order.token, order.reason);
        return;
      case "load_model":
        shelf.announce(order.model, order.preload);
        return;
      case "unload_model":
        shelf.unload(order.name, order.version);
        return;
      case "drain":
        void drain(order.reason);
    }
  }

  let draining: Promise<void> | undefined;
  function drain(reason: string): Promise<void> {
    draining ??= (async () => {
      log.info({ held: flow.heldCount, reason }, "draining");
      await flow.drain();
      connection.send({ type: "goodbye", reason });
      await lifecycle.close();
    })();
    return draining;
  }

  const closed = connection.closed.then(async (error: LegacyGpuError | undefined) => {
    await lifecycle.close();
    return error;
  });
  log.info({ gateway: gateway.origin, site, providers, slots, gpus: hardware.gpus }, "the agent starts");
  connection.start();
  return {
    workerId,
    status: () => ({
      ...identity,
      gateway: gateway.origin,
      link: connection.state,
      lastError: describe(connection.lastError),
      site,
      providers,
      held: flow.heldCount,
      spooled: flow.spooledCount,
      runner: supervisor.status(),
      models: shelf.names(),
    }),
    drain: () => drain("the worker is shutting down"),
    close: () => lifecycle.close(),
    closed,
  };
}

async function isCached(blobs: BlobCache, ref: ModelRef): Promise<boolean> {
  return (await blobs.has(ref.file, ".onnx", ref.fileBytes)) && (await blobs.has(ref.manifest, ".json"));
}

function telemetry({ running, queued, rssBytes }: SupervisorStatus, cpu: CpuMeter): Telemetry {
  const ownBytes = process.memoryUsage.rss();
  return { type: "telemetry", running, queued, rssBytes: ownBytes + rssBytes, cpuPercent: cpu.read() };
}

function describe(error: LegacyGpuError | undefined): AgentStatus["lastError"] {
  return error === undefined ? undefined : { code: error.code, message: error.message };
}
