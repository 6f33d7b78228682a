/**
 * A gateway of the real parts, as `gateway/main.ts` puts them together, to which tasks can also be given in its own process: so
 * that what is measured is the agent and the link, and not how quickly 600 KB of numbers are read from JSON.
 */

import { createReadStream } from "node:fs";
import { ensureCertificates } from "@legacygpu/certs";
import { KeyRing } from "@legacygpu/gateway/auth/key-ring";
import { LeastLoaded } from "@legacygpu/gateway/balancers/least-loaded";
import { errorResponse, toRoute } from "@legacygpu/gateway/http/endpoint";
import { agentEndpoints } from "@legacygpu/gateway/http/resources/agent";
import { inferenceEndpoints } from "@legacygpu/gateway/http/resources/inference";
import { listen } from "@legacygpu/gateway/http/server";
import { ModelRepository } from "@legacygpu/gateway/inference/model-repository";
import { InferenceStatistics } from "@legacygpu/gateway/inference/statistics";
import { AttemptInputs } from "@legacygpu/gateway/link/attempt-inputs";
import { AttemptOutputs } from "@legacygpu/gateway/link/attempt-outputs";
import { Hub } from "@legacygpu/gateway/link/hub";
import { Counters } from "@legacygpu/gateway/metrics";
import { Catalogue, type Model } from "@legacygpu/gateway/models/catalogue";
import { Admission } from "@legacygpu/gateway/queue/admission";
import { Registry } from "@legacygpu/gateway/registry/registry";
import { Scheduler } from "@legacygpu/gateway/scheduler/scheduler";
import { MemoryTaskStore } from "@legacygpu/gateway/store/memory-task-store";
import { modelKey } from "@legacygpu/gateway/tasks/record";
import { TaskService } from "@legacygpu/gateway/tasks/task-service";
import { systemClock } from "@legacygpu/shared/clock";
import { openHome } from "@legacygpu/shared/home";
import { createLogger } from "@legacygpu/shared/log";
import type { Digest } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import { PRINCIPAL } from "../queue/core.ts";
import { serveCommands } from "./commands.ts";
import { type Completions, completionRate } from "./completion-rate.ts";
import { openGate } from "./open-gate.ts";

export interface FeederOrder {
  readonly folder: string;
  readonly modelFile: string;
  readonly digest: Digest;
}
export interface FeederAddress {
  readonly url: string;
  readonly port: number;
  readonly caPem: string;
  readonly workerKey: string;
  readonly clientKey: string;
}
export interface FeedOrder {
  readonly input: Tensor;
  /** Tasks under way at a time. */
  readonly outstanding: number;
  readonly measureMs: number;
}
/** How the agent runs the model. */
export interface Placement {
  readonly provider: string;
  readonly threads: number;
}

interface Started {
  readonly registry: Registry;
  readonly tasks: TaskService;
  readonly model: Model;
  close(): Promise<void>;
}

const MODEL = "resnet50";
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const LEASE_MS = 15_000;
const LIMITS = {
  maxTasks: 100_000,
  maxBytes: 2 ** 34,
  maxTasksPerKey: 100_000,
  maxBytesPerKey: 2 ** 34,
};

let started: Started | undefined;

async function start({ folder, modelFile, digest }: FeederOrder): Promise<FeederAddress> {
  const home = openHome({ LEGACYGPU_HOME: folder });
  const clock = systemClock;
  const log = createLogger("feeder", "warn");
  const certificates = await ensureCertificates({ dir: home.certs, hosts: [], clock });
  const keys = await KeyRing.open(home.keysFile, clock);
  const catalogue = await Catalogue.open(home.models, clock);
  await catalogue.blobs.receive(digest, createReadStream(modelFile));
  const { model } = await catalogue.add(MODEL, "1", digest, {});
  const counters = new Counters();
  const outputs = new AttemptOutputs();
  const store = new MemoryTaskStore({ maxFinished: 1000 });
  const registry: Registry = new Registry({
    clock,
    log,
    reconnectGraceMs: 1000,
    leaseMs: LEASE_MS,
    onGone: (worker, tokens) => scheduler.lost(worker, tokens, worker.cause),
  });
  const strategy = new LeastLoaded();
  const scheduler: Scheduler = new Scheduler({
    clock,
    random: Math.random,
    log,
    registry,
    strategyFor: () => strategy,
    counters,
    leaseMs: LEASE_MS,
    firstToken: 0,
    stored: store,
    onChanged: (task) => tasks.changed(task),
    onSettled: (task) => tasks.settled(task),
  });
  const tasks: TaskService = new TaskService({
    clock,
    log,
    store,
    scheduler,
    admission: new Admission(LIMITS),
    notifier: { deliveriesFor: () => [], wake: () => {} },
  });
  const gatekeeper = openGate(keys);
  const hub = new Hub({
    gatekeeper,
    clock,
    log,
    revocable: [keys],
    registry,
    scheduler,
    counters,
    outputs,
    heartbeatIntervalMs: 5000,
    heartbeatTimeoutMs: LEASE_MS,
  });
  const endpoints = [
    ...agentEndpoints({ blobs: catalogue.blobs, scheduler, inputs: new AttemptInputs(clock), outputs }),
    ...inferenceEndpoints({
      tasks,
      catalogue,
      repository: new ModelRepository({ registry, clock }),
      statistics: new InferenceStatistics(() => false),
      maxBodyBytes: MAX_BODY_BYTES,
    }),
  ];
  const server = await listen({
    host: "127.0.0.1",
    port: 0,
    tls: certificates,
    routes: endpoints.map((endpoint) => toRoute(endpoint, gatekeeper)),
    sockets: [hub.route],
    errorResponse: errorResponse(log),
    requestTimeoutMs: 90_000,
  });
  started = {
    registry,
    tasks,
    model,
    close: async () => {
      hub.close();
      await server.close(1000);
      registry.close();
      tasks.close();
      scheduler.close();
      await keys.close();
    },
  };
  const issue = async (kind: "worker" | "client", scope: "worker" | "submit"): Promise<string> =>
    (await keys.issue(kind, { name: "bench", scopes: [scope] })).key;
  return {
    url: `https://localhost:${server.port}`,
    port: server.port,
    caPem: certificates.caPem,
    workerKey: await issue("worker", "worker"),
    clientKey: await issue("client", "submit"),
  };
}

/** Keeps tasks under way until the time is over. */
function feed({ input, outstanding, measureMs }: FeedOrder): Promise<Completions> {
  const { tasks, model } = running();
  return completionRate(outstanding, measureMs, async () => {
    const { done } = tasks.infer(PRINCIPAL, {
      model,
      input: { kind: "tensors", tensors: [input] },
      priority: "NORMAL",
    });
    await done;
  });
}

/** After a first task: until then the agent has not loaded the model. */
function placement(): Placement {
  const [worker] = running().registry.all;
  const provider = worker?.models.get(modelKey({ name: MODEL, version: "1" }))?.provider;
  if (worker === undefined || provider === undefined) throw new Error("The agent has not loaded the model.");
  const { cpu } = worker.hello.hardware;
  return { provider, threads: Math.max(1, Math.floor(cpu.cores / worker.slots)) };
}

function running(): Started {
  if (started === undefined) throw new Error("The feeder has not been started.");
  return started;
}

serveCommands({ start, feed, placement, close: () => started?.close() });
