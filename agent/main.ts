/** Composition root of the agent: what it is made of, and in which order it starts and stops. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { Lifecycle } from "@legacygpu/shared/lifecycle";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { openAccess } from "./enrolment/access.ts";
import { clockAheadMs } from "./enrolment/trust.ts";
import { CpuMeter } from "./hardware/load.ts";
import { probeHardware } from "./hardware/probe.ts";
import { machineFingerprint, probeProviders, providersWorkBehind } from "./hardware/providers.ts";
import { newInstanceId } from "./identity.ts";
import { Connection, type LinkState } from "./link/connection.ts";
import { LinkGate } from "./link/gate.ts";
import { buildHello } from "./link/hello.ts";
import { Network } from "./link/network.ts";
import type { Hello, Order, Telemetry } from "./link/session.ts";
import { Transfers } from "./link/transfers.ts";
import { BlobCache, digestOfCached } from "./models/blob-cache.ts";
import { CacheRoom } from "./models/cache-room.ts";
import { ModelIndex } from "./models/model-index.ts";
import { Pace } from "./models/pace.ts";
import { ModelShelf } from "./models/shelf.ts";
import { type AgentOptions, checkOptions, childEnvironment } from "./options.ts";
import { BlobSharing, serveNeighbours } from "./peers/blob-sharing.ts";
import { gpuBudgetBytes } from "./runner/gpu-memory.ts";
import { type JailMeasure, openJail } from "./runner/jail.ts";
import { spawnRunner } from "./runner/process.ts";
import { SelfTestRecord } from "./runner/self-test-record.ts";
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
  /** What the runners are kept from on this machine. */
  readonly jail: readonly JailMeasure[];
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
 * @throws `config_invalid`, `auth_missing`; with a join token also `gateway_untrusted`, `clock_wrong`, `auth_invalid`, `worker_id_in_use`.
 */
export async function startAgent(given: AgentOptions): Promise<Agent> {
  const options = checkOptions(given);
  const { clock, random, stateDir, slots, labels } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const access = await openAccess(options);
  const { workerId, gateway } = access;
  const identity = { workerId, instanceId: newInstanceId() };
  const log = options.log.child({ workerId });
  const env = childEnvironment(options.env);
  const hardware = await probeHardware(env);
  const blobsDir = join(stateDir, "models", "blobs");
  const providers = await probeProviders({ stateDir, hardware, wanted: options.providers, env, log });
  const jail = await openJail({
    stateDir,
    modelsDir: blobsDir,
    env,
    maxMemoryBytes: options.maxRunnerMemoryBytes,
    user: options.runnerUser,
    suits: (prefix) => providersWorkBehind(prefix, providers, env),
    log,
  });

  const lifecycle = new Lifecycle(log);
  const network = new Network({
    gateway,
    credentials: access.credentials,
    caPem: access.caPem,
    env: options.env,
    clock,
    clockAheadMs: () => clockAheadMs({ gateway, env: options.env }, clock),
  });
  lifecycle.add("network", () => network.close());
  lifecycle.add("access", () => access.close());
  const request = network.request.bind(network);
  const gate = new LinkGate();
  await mkdir(blobsDir, { recursive: true });
  const room = await CacheRoom.open({
    directory: blobsDir,
    usageFile: join(stateDir, "models", "usage.json"),
    maxBytes: options.maxModelCacheBytes,
    clock,
    log,
    isInUse: (fileName) => shelf.isInUse(digestOfCached(fileName)),
    onEvicted: (fileName) => {
      shelf.onEvicted(digestOfCached(fileName));
      sharing.dropped(digestOfCached(fileName));
    },
  });
  const served = await serveNeighbours(options, (digest) => blobs.find(digest, ".onnx"));
  lifecycle.add("blob server", () => served?.server.close());
  const sharing = new BlobSharing({ clock, served, send: (message) => void connection.send(message) });
  const { maxDownloadBytesPerSecond: rate } = options;
  const pace = rate === undefined ? undefined : new Pace(clock, rate);
  const blobs = new BlobCache({
    directory: blobsDir,
    request,
    gate,
    clock,
    random,
    room,
    pace,
    neighbourhood: sharing,
  });
  const index = new ModelIndex(join(stateDir, "models", "index.json"), log);
  await index.read((ref) => isCached(blobs, ref));
  lifecycle.add("model index", () => index.close());
  lifecycle.add("model cache", () => room.close());
  lifecycle.add("model downloads", () => blobs.close());
  const spool = await Spool.open({
    directory: join(stateDir, "spool"),
    maxBytes: options.maxSpoolBytes,
    maxAttempts: options.maxSpoolAttempts,
    log,
  });

  const selfTests = await SelfTestRecord.open({
    path: join(stateDir, "self-tests.json"),
    fingerprint: machineFingerprint(hardware, env),
    clock,
    log,
  });
  lifecycle.add("self-tests", () => selfTests.close());
  const supervisor = new Supervisor({
    spawn: spawnRunner(env, log, jail),
    clock,
    random,
    log,
    slots,
    cores: hardware.cpu.cores,
    providers,
    gpuBudgetBytes: gpuBudgetBytes(hardware),
    selfTests,
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
    context: {
      gateway,
      isEnrolled: access.isEnrolled,
      get caPem() {
        return access.caPem;
      },
    },
    clock,
    random,
    log,
    hello: () => {
      const models = index.refs.map(({ name, version, file }) => ({ name, version, file }));
      const { site } = access;
      const facts = { ...identity, site, labels, hardware, providers, slots, models, held: flow.held() };
      const hello = buildHello(facts);
      announced = hello.held;
      return hello;
    },
    telemetry: () => telemetry(supervisor.status(), cpu),
    onWelcome: (welcome) => {
      const { keep } = welcome;
      sharing.onWelcome(welcome);
      shelf.onNewConnection();
      flow.resume(announced, keep);
      gate.open();
    },
    onOrder: (order) => obey(order),
    onLost: () => {
      gate.shut();
      sharing.onLinkLost();
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
        if (order.isSuperseded === true) flow.supersede(order, order.reason);
        else flow.cancel(order.token, order.reason);
        return;
      case "load_model":
        shelf.announce(order.model, order.preload);
        return;
      case "unload_model":
        shelf.unload(order.name, order.version);
        return;
      case "blob_sources":
        sharing.onSources(order);
        return;
      case "drain":
        void drain(order.reason);
        return;
      case "upgrade":
      case "probe":
      case "log_request":
      case "log_stop":
      case "log_level":
        return;
      default:
        order satisfies never;
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
  log.info(
    { gateway: gateway.origin, site: access.site, providers, slots, gpus: hardware.gpus },
    "the agent starts",
  );
  access.start({
    onTrust: (caPem) => network.trust(caPem),
    onRefused: (error) => connection.giveUp(error),
  });
  connection.start();
  return {
    workerId,
    status: () => ({
      ...identity,
      gateway: gateway.origin,
      link: connection.state,
      lastError: describe(connection.lastError),
      site: access.site,
      providers,
      held: flow.heldCount,
      spooled: flow.spooledCount,
      runner: supervisor.status(),
      jail: jail.measures,
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
