/** The gateway's composition root: makes every part, hands each what it needs, closes them in reverse order. */

import type { CreateKey } from "@legacygpu/shared/api/keys";
import { Lifecycle } from "@legacygpu/shared/lifecycle";
import type { KeyKind } from "./auth/key-record.ts";
import type { KeyRing } from "./auth/key-ring.ts";
import { BalancingConfig } from "./balancers/balancing-config.ts";
import { createStrategies } from "./balancers/strategies.ts";
import type { Strategy } from "./balancers/strategy.ts";
import { type Endpoint, errorResponse, toRoute } from "./http/endpoint.ts";
import { agentEndpoints } from "./http/resources/agent.ts";
import { balancingEndpoints } from "./http/resources/balancing.ts";
import { batchEndpoints } from "./http/resources/batches.ts";
import { blobEndpoints } from "./http/resources/blobs.ts";
import { clusterEndpoints } from "./http/resources/cluster.ts";
import { deadLetterEndpoints } from "./http/resources/dead-letters.ts";
import { deploymentEndpoints } from "./http/resources/deployments.ts";
import { healthEndpoints } from "./http/resources/health.ts";
import { inferenceEndpoints } from "./http/resources/inference.ts";
import { modelQueueEndpoints } from "./http/resources/model-queue.ts";
import { modelRepositoryEndpoints } from "./http/resources/model-repository.ts";
import { modelEndpoints } from "./http/resources/models.ts";
import { protocolExtraEndpoints } from "./http/resources/protocol-extras.ts";
import { schemaEndpoints } from "./http/resources/schemas.ts";
import { taskEventEndpoints } from "./http/resources/task-events.ts";
import { SubmissionReader } from "./http/resources/task-submission.ts";
import { taskEndpoints } from "./http/resources/tasks.ts";
import { uploadEndpoints } from "./http/resources/uploads.ts";
import { webhookEndpoints } from "./http/resources/webhooks.ts";
import { listen } from "./http/server.ts";
import { largestBatch, takesBatches } from "./inference/batch-limit.ts";
import { ModelRepository } from "./inference/model-repository.ts";
import { InferenceStatistics } from "./inference/statistics.ts";
import { AttemptInputs } from "./link/attempt-inputs.ts";
import { AttemptOutputs } from "./link/attempt-outputs.ts";
import { Hub } from "./link/hub.ts";
import { Counters } from "./metrics.ts";
import { Catalogue } from "./models/catalogue.ts";
import { ModelRemoval } from "./models/model-removal.ts";
import type { GatewayOptions } from "./options.ts";
import { Placement } from "./placement/controller.ts";
import { Deployments } from "./placement/deployments.ts";
import { Admission } from "./queue/admission.ts";
import { Registry } from "./registry/registry.ts";
import { Scheduler } from "./scheduler/scheduler.ts";
import { LmdbTaskStore } from "./store/lmdb-task-store.ts";
import { Batches } from "./tasks/batches.ts";
import { Idempotency } from "./tasks/idempotency.ts";
import { KnownPlaces } from "./tasks/known-places.ts";
import { QueueControl } from "./tasks/queue-control.ts";
import { taskJson } from "./tasks/task-json.ts";
import { TaskService } from "./tasks/task-service.ts";
import type { CertificateOrigin } from "./tls/certificate-origin.ts";
import { CertificateSource, type ReloadOutcome } from "./tls/certificate-source.ts";
import { openTrust } from "./trust.ts";
import { UploadStore } from "./uploads/upload-store.ts";
import { Webhooks } from "./webhooks/webhooks.ts";

export { describeCertificates, finishCaChange, startCaChange } from "@legacygpu/certs";
export type { GatewayOptions } from "./options.ts";
export { backupStore, compactStore, verifyStore } from "./store/maintenance.ts";
export { repairStore } from "./store/repair.ts";

/** Longer than the longest wait that a client may ask for. */
const REQUEST_TIMEOUT_MS = 90_000;
/** How long a worker whose link broke may take to come back before its work is offered to others. */
const RECONNECT_GRACE_MS = 1_000;
const CLOSE_GRACE_MS = 5_000;

export interface Gateway {
  /** For instance `https://localhost:8000`. */
  readonly url: string;
  /** What clients and agents pin, two certificates while the CA is being changed; undefined: nothing, their system knows the CA. */
  readonly caFile: string | undefined;
  readonly caPem: string | undefined;
  /** Only when there was no key at all: the first administrator's, shown this once. */
  readonly firstStart?: { readonly adminKey: string };
  issueKey(wanted: CreateKey & { readonly kind: KeyKind }): Promise<{ id: string; key: string }>;
  /** Whether this text is a key that is in force. */
  verifyKey(key: string): boolean;
  /** What it answers, and to whom. */
  readonly routes: readonly Pick<Endpoint, "method" | "pattern" | "scope">[];
  /** Looks at once whether there is a new certificate, which it otherwise does every minute. */
  reloadCertificate(): Promise<ReloadOutcome>;
  close(): Promise<void>;
}

/**
 * @throws `port_in_use`, `certificate_invalid`, `config_invalid`, `strategy_unknown`, `store_in_use`, `store_too_new`, `store_corrupt`, `store_full`,
 * `store_failed`
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const lifecycle = new Lifecycle(options.log);
  try {
    return await startParts(options, lifecycle);
  } catch (error) {
    // The store is locked by now and its sweep is running.
    await lifecycle.close();
    throw error;
  }
}

async function startParts(options: GatewayOptions, lifecycle: Lifecycle): Promise<Gateway> {
  const { home, host, port, clock, log, maxBodyBytes, random = Math.random } = options;
  const { heartbeatIntervalMs, heartbeatTimeoutMs, leaseMs } = options;
  const { isPlainHttp = false, corsOrigins } = options.transport ?? {};
  const certificates = await CertificateSource.open({ clock, log, origin: originOf(options) });
  lifecycle.add("certificates", () => certificates.close());
  const catalogue = await Catalogue.open(home.models, clock);
  const counters = new Counters();
  const inputs = new AttemptInputs(clock);
  lifecycle.add("inputs", () => inputs.close());
  const outputs = new AttemptOutputs();
  const uploads = await UploadStore.open({ folder: home.uploads, clock, log });
  lifecycle.add("uploads", () => uploads.close());
  const store = await LmdbTaskStore.open({ path: home.tasksFile, clock, log, ...options.retention });
  lifecycle.add("store", () => store.close());

  // Some of the parts need each other: the registry reports lost work, the scheduler what becomes of tasks.
  const registry = new Registry({
    clock,
    log,
    reconnectGraceMs: RECONNECT_GRACE_MS,
    leaseMs,
    needsOf: (model) => catalogue.needsOf(model),
    onGone: (worker, tokens) => {
      places.gone(worker);
      placement.gone(worker);
      scheduler.lost(worker, tokens, worker.cause);
    },
  });
  const statistics = new InferenceStatistics((model) => takesBatches(catalogue, model));
  const { documents } = store;
  const deployments = new Deployments(documents, clock);
  const balancing = new BalancingConfig({ documents, configured: options.strategy });
  const strategies = createStrategies();
  const placement: Placement = new Placement({
    clock,
    log,
    deployments,
    findModel: (name, version) => catalogue.find(name, version),
    workers: registry,
    holdsFile: (workerId, digest) => hub.holdsFile(workerId, digest),
    tasks: {
      queueOf: (model, version) => scheduler.view.queueOf(model, version),
      held: () => scheduler.view.held(),
      isPaused: (model) => scheduler.groups.isModelPaused(model),
    },
    dispatch: () => scheduler.dispatch(),
  });
  lifecycle.add("placement", () => placement.close());
  const scheduler: Scheduler = new Scheduler({
    clock,
    random,
    log,
    registry,
    strategyFor: (model) => strategies.get(balancing.nameFor(model)) as Strategy,
    maxBatchOf: (model) => largestBatch(catalogue, model),
    counters,
    leaseMs,
    firstToken: store.firstToken,
    stored: store,
    gate: placement,
    onChanged: (task) => tasks.changed(task),
    onSettled: (task) => {
      statistics.settled(task);
      placement.settled(task);
      tasks.settled(task);
    },
  });
  const webhooks = new Webhooks({
    documents,
    clock,
    random,
    log,
    allowedNetworks: options.webhookNetworks,
    taskView: async (id) => {
      const task = await tasks.find(id);
      return task === undefined ? undefined : taskJson(task, tasks.explain(task.id));
    },
  });
  const trust = await openTrust(
    {
      options,
      documents,
      caPem: () => certificates.caPem,
      isConnected: (workerId) => registry.get(workerId)?.link !== undefined,
    },
    lifecycle,
  );
  const { keys, gatekeeper, quotas, enrolledSites } = trust;
  const places: KnownPlaces = new KnownPlaces({ registry, documents, clock, log, enrolledSites });
  const admission = new Admission(options.queueLimits);
  const tasks: TaskService = new TaskService({
    clock,
    log,
    store,
    scheduler,
    admission,
    notifier: webhooks,
    quota: quotas,
    hasModel: (model) => catalogue.has(model),
  });
  const hub = new Hub({
    clock,
    log,
    revocable: trust.revocable,
    isEnrolled: trust.isEnrolled,
    gatekeeper,
    registry,
    scheduler,
    counters,
    outputs,
    health: scheduler.dispatching,
    onModelState: (worker, message) => placement.heard(worker, message),
    heartbeatIntervalMs,
    heartbeatTimeoutMs,
  });
  lifecycle.add("scheduler", () => scheduler.close());
  lifecycle.add("tasks", () => tasks.close());
  lifecycle.add("webhooks", () => webhooks.close());
  lifecycle.add("registry", () => registry.close());

  const control = new QueueControl({ documents, scheduler, log });
  tasks.restore();
  webhooks.start();
  webhooks.follow(keys);
  placement.start();

  const reader = new SubmissionReader({ catalogue, places, uploads, webhooks });
  const idempotency = new Idempotency(documents, clock);
  const batches = new Batches(tasks, documents, clock);
  const repository = new ModelRepository({ registry, clock, placement });
  const endpoints = [
    ...healthEndpoints(registry),
    ...balancingEndpoints({ balancing, catalogue }),
    ...clusterEndpoints({ registry, scheduler, balancing, counters, clock }),
    ...taskEndpoints({ tasks, reader, idempotency, maxBodyBytes }),
    ...taskEventEndpoints({ tasks, clock }),
    ...deadLetterEndpoints(tasks),
    ...batchEndpoints({ batches, tasks, reader, idempotency, maxBodyBytes }),
    ...uploadEndpoints({ uploads }),
    ...webhookEndpoints(webhooks),
    ...modelQueueEndpoints({ catalogue, scheduler, registry, counters, control, clock }),
    ...inferenceEndpoints({ tasks, catalogue, repository, statistics, placement, maxBodyBytes }),
    ...modelRepositoryEndpoints({ catalogue, repository }),
    ...protocolExtraEndpoints(log),
    ...modelEndpoints({ catalogue, removal: new ModelRemoval(catalogue, scheduler, deployments) }),
    ...deploymentEndpoints({ catalogue, deployments, placement, clock, workers: registry }),
    ...blobEndpoints(catalogue.files),
    ...schemaEndpoints(),
    ...trust.endpoints,
    ...agentEndpoints({ blobs: catalogue.blobs, scheduler, inputs, outputs }),
  ];
  const server = await listen({
    host,
    port,
    tls: isPlainHttp ? undefined : certificates.files,
    corsOrigins,
    routes: endpoints.map((endpoint) => toRoute(endpoint, gatekeeper)),
    sockets: [hub.route],
    errorResponse: errorResponse(log),
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    onFault: (error) => log.error({ err: error }, "a fault inside the server"),
  });
  lifecycle.add("server", () => server.close(CLOSE_GRACE_MS));
  lifecycle.add("hub", () => hub.close());
  if (!isPlainHttp) certificates.watch((files) => server.replaceCertificate(files));
  // Only now that the port is ours: a start that fails must not print a key for nothing.
  const firstStart = keys.needsFirstKey ? await issueFirstKey(keys) : undefined;
  log.info({ host, port: server.port }, "gateway listens");

  return {
    url: addressOf(options, server.port),
    caFile: isPlainHttp ? undefined : certificates.caFile,
    caPem: isPlainHttp ? undefined : certificates.caPem,
    ...(firstStart === undefined ? {} : { firstStart }),
    issueKey: ({ kind, ...wanted }) => keys.issue(kind, wanted),
    verifyKey: (key) => keys.isValid(key),
    routes: endpoints.map(({ method, pattern, scope }) => ({ method, pattern, ...(scope && { scope }) })),
    reloadCertificate: () => certificates.reload(),
    close: () => lifecycle.close(),
  };
}

function originOf({ home, host, hosts, publicUrl, transport }: GatewayOptions): CertificateOrigin {
  const files = transport?.certificateFiles;
  if (files !== undefined) return { kind: "files", ...files };
  const publicHost = publicUrl === undefined ? [] : [new URL(publicUrl).hostname];
  return { kind: "private_ca", dir: home.certs, hosts: [...hosts, ...publicHost, host] };
}

async function issueFirstKey(keys: KeyRing): Promise<{ adminKey: string }> {
  const { key } = await keys.issue("client", { name: "first administrator", scopes: ["admin"] });
  return { adminKey: key };
}

/** For clients on this machine. A certificate of the operator's own is for the public name only. */
function addressOf({ host, publicUrl, transport }: GatewayOptions, port: number): string {
  if (transport?.certificateFiles !== undefined && publicUrl !== undefined) return publicUrl;
  return `${transport?.isPlainHttp === true ? "http" : "https"}://${urlHost(host)}:${port}`;
}

/** One cannot connect to "any address". */
function urlHost(host: string): string {
  if (["0.0.0.0", "::", "127.0.0.1", "::1", ""].includes(host)) return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}
