/**
 * The messages of the agent link, version 1: one union per direction.
 *
 * A frame is a msgpack array of messages, so that whatever is ready at one moment shares a frame. Fields unknown to the receiver
 * are ignored and messages of an unknown type are counted and skipped: that is how the next version stays compatible.
 *
 * `token` is the fencing token of an attempt: it rises with every attempt that a gateway starts, and a message with a token that is no longer
 * live changes nothing.
 */

import { z } from "zod";
import { digestSchema, modelNameSchema, modelVersionSchema } from "../manifest.ts";
import { bytesSchema, tensorSchema } from "../tensor.ts";

const shortText = z.string().max(256);
const reasonText = z.string().max(2000);
const milliseconds = z.number().nonnegative();
const bytes = z.number().nonnegative();
const count = z.int().nonnegative();

const wireErrorSchema = z.object({
  code: shortText,
  message: z.string().max(8000),
  retryable: z.boolean(),
  details: z.record(z.string(), z.unknown()).optional(),
});

const modelNameAndVersion = z.object({ name: modelNameSchema, version: modelVersionSchema });

/** Everything that an agent needs to fetch and check a model. */
export const modelRefSchema = modelNameAndVersion.extend({
  /** The ONNX file. */
  file: digestSchema,
  fileBytes: bytes,
  /** The manifest as JSON, also a blob: labels can be larger than a frame. */
  manifest: digestSchema,
});
export type ModelRef = z.infer<typeof modelRefSchema>;

const attempt = { taskId: shortText, token: count };

/** `beside`: not in the frame; msgpack of one of the other forms, at the attempt's own address. */
const besideSchema = z.object({ kind: z.literal("beside"), sizeBytes: bytes });

const tensorsSchema = z.object({ kind: z.literal("tensors"), tensors: z.array(tensorSchema) });
/** A picture as a file; the model's manifest says how it becomes a tensor. */
const imageSchema = z.object({ kind: z.literal("image"), image: bytesSchema });

export const payloadSchema = z.discriminatedUnion("kind", [tensorsSchema, imageSchema]);
/** The input of a task. */
export type TaskInput = z.infer<typeof payloadSchema>;

export const predictionSchema = z.object({ label: z.string(), index: count, score: z.number() });
export type Prediction = z.infer<typeof predictionSchema>;

export const outputSchema = z.object({
  kind: z.literal("output"),
  tensors: z.array(tensorSchema),
  /** For models whose manifest asks for classification: best first. */
  predictions: z.array(predictionSchema).optional(),
});
/** The output of a task. */
export type TaskOutput = z.infer<typeof outputSchema>;

/** Where an attempt's time went on the worker. No clock agreement is needed: all are durations. */
export const attemptTimingsSchema = z.object({
  /** Waiting at the worker for a free slot. */
  queuedMs: milliseconds,
  /** Fetching an input that travelled beside the link. */
  fetchMs: milliseconds,
  /** Fetching and loading the model; 0 when it was ready. */
  loadMs: milliseconds,
  preprocessMs: milliseconds,
  /** Of tasks that ran as one: the time of that run. */
  executeMs: milliseconds,
  postprocessMs: milliseconds,
  /** Tasks that ran as one; absent: it ran alone. */
  batchSize: z.int().min(1).max(1024).optional(),
  /** Runs that were under way on the worker when this one began, itself included. */
  concurrency: z.int().min(1).optional(),
});
export type AttemptTimings = z.infer<typeof attemptTimingsSchema>;

export const gpuSchema = z.object({
  name: shortText,
  vendor: shortText,
  vramBytes: bytes.optional(),
  driver: shortText.optional(),
});
export type Gpu = z.infer<typeof gpuSchema>;

export const hardwareSchema = z.object({
  cpu: z.object({ model: shortText, cores: count }),
  memoryBytes: bytes,
  platform: shortText,
  gpus: z.array(gpuSchema).max(64),
});
export type Hardware = z.infer<typeof hardwareSchema>;

/** Where the time went until a model could be run. Each is absent where it is not known. */
export const loadTimingsSchema = z.object({
  /** Fetching its file; next to nothing when that was on the disk. */
  transferMs: milliseconds.optional(),
  /** Making the session. */
  loadMs: milliseconds.optional(),
  /** What was computed before the first task: the self-test, the golden examples. */
  warmUpMs: milliseconds.optional(),
});
export type LoadTimings = z.infer<typeof loadTimingsSchema>;

export const MODEL_STATES = ["cached", "downloading", "loading", "ready", "failed", "unloaded"] as const;

/** What became of an upgrade of the agent. */
export const upgradeOutcomeSchema = z.object({
  release: shortText,
  outcome: z.enum(["done", "rolled_back"]),
  /** Why it was rolled back. */
  reason: reasonText.optional(),
});
export type UpgradeOutcome = z.infer<typeof upgradeOutcomeSchema>;

/** What a card is doing. Each figure is absent where the driver does not tell. */
export const gpuLoadSchema = z.object({
  /** Stays the same while the card is in the machine. */
  id: shortText,
  name: shortText.optional(),
  /** 0 to 1. */
  utilization: z.number().min(0).max(1).optional(),
  memoryUsedBytes: bytes.optional(),
  memoryTotalBytes: bytes.optional(),
  powerWatts: z.number().nonnegative().optional(),
  temperatureCelsius: z.number().optional(),
});
export type GpuLoad = z.infer<typeof gpuLoadSchema>;

export const UPGRADE_STATES = ["downloading", "unpacking", "draining", "refused", "failed"] as const;

// ---- agent → gateway

export const helloSchema = z.object({
  type: z.literal("hello"),
  protocol: z.array(count).max(16),
  agentVersion: shortText,
  workerId: shortText.min(1),
  /** New for every start of the agent: tells a reconnect from a second machine with the same worker id. */
  instanceId: shortText,
  site: shortText,
  labels: z.record(shortText, shortText),
  hardware: hardwareSchema,
  /** Execution providers that really load on this machine, best first. */
  providers: z.array(shortText).max(32),
  /** Tasks that it runs at a time. */
  slots: z.int().min(1).max(1024),
  /** Models whose file is on its disk. */
  models: z.array(modelNameAndVersion.extend({ file: digestSchema })).max(500),
  /** Attempts from an earlier connection that it still runs or has finished and not delivered. */
  held: z.array(z.object(attempt)).max(2000),
  /** It answers every `cancel` of a superseded attempt with `released`. */
  releases: z.boolean().optional(),
  /** What it was built for, like `linux-x64`. */
  platform: shortText.optional(),
  /** The build that it runs, `VERSION-DIGEST`; absent: it was not installed from a build. */
  release: shortText.optional(),
  /** It takes `upgrade`. */
  isUpgradable: z.boolean().optional(),
  /** What became of the latest upgrade. */
  lastUpgrade: upgradeOutcomeSchema.optional(),
});
export const acceptedSchema = z.object({ type: z.literal("accepted"), ...attempt });
export const resultSchema = z.object({
  type: z.literal("result"),
  ...attempt,
  output: z.discriminatedUnion("kind", [outputSchema, besideSchema]),
  timings: attemptTimingsSchema,
  provider: shortText,
});
export const failedSchema = z.object({ type: z.literal("failed"), ...attempt, error: wireErrorSchema });
/**
 * The worker is done with an attempt that was superseded. With timings when it had been running and went on to its end, so that something is
 * learned of the worker all the same; without them when it never ran, or failed.
 */
export const releasedSchema = z.object({
  type: z.literal("released"),
  ...attempt,
  timings: attemptTimingsSchema.optional(),
});
export const modelStateSchema = z.object({
  type: z.literal("model_state"),
  ...modelNameAndVersion.shape,
  state: z.enum(MODEL_STATES),
  receivedBytes: bytes.optional(),
  totalBytes: bytes.optional(),
  /** While it is downloading: how fast. */
  bytesPerSecond: bytes.optional(),
  /** What computes it, once it is ready. */
  provider: shortText.optional(),
  /** Why it failed; of a ready one, why better providers were passed over. */
  reason: reasonText.optional(),
  /** Of a failed one: for how long it is not tried again. Absent: soon. */
  retryAfterMs: milliseconds.optional(),
  /** Of a ready one: how it came to that. */
  timings: loadTimingsSchema.optional(),
});
/** Sent every heartbeat interval; it is the agent's heartbeat. */
export const telemetrySchema = z.object({
  type: z.literal("telemetry"),
  running: count,
  queued: count,
  rssBytes: bytes,
  /** Of all cores, 0 to 100. */
  cpuPercent: z.number().nonnegative(),
  gpus: z.array(gpuLoadSchema).max(64).optional(),
});
/** How far the agent is with the latest `upgrade`; what comes of it is in the `hello` of the next process. */
export const upgradeStateSchema = z.object({
  type: z.literal("upgrade_state"),
  release: shortText,
  state: z.enum(UPGRADE_STATES),
  /** Why it was refused, or has failed. */
  reason: reasonText.optional(),
});
/** The answer to `probe`. */
export const probedSchema = z.object({
  type: z.literal("probed"),
  id: shortText,
  /** Each execution provider that it offers, after a small model has run on it. */
  results: z.array(z.object({ provider: shortText, ok: z.boolean(), reason: reasonText.optional() })).max(32),
});
/** Lines of the agent's log, as it writes them: JSON, without their ends. */
export const logLinesSchema = z.object({
  type: z.literal("log_lines"),
  id: shortText,
  lines: z.array(z.string().max(8000)).max(500),
  /** No more will come. */
  isEnd: z.boolean(),
  /** Lines that were left out before these because the link did not take them. */
  droppedCount: count.optional(),
});
/**
 * Where the agent serves blobs to others of its site, to those who bring a token made with `tokenKey` (blob-token.ts). Sent once per
 * connection, and only to a gateway whose `welcome` says that it shares blobs.
 */
export const blobServerSchema = z.object({
  type: z.literal("blob_server"),
  port: z.int().min(1).max(65_535),
  /** Under which its neighbours may reach it. */
  addresses: z.array(z.union([z.ipv4(), z.ipv6()])).max(8),
  /** Its own, in PEM: the only one that its neighbours trust for this connection. */
  certificate: z.string().max(4096),
  tokenKey: bytesSchema,
});
export const BLOB_STATES = ["wanted", "fetching", "held", "dropped", "failed"] as const;
/**
 * How far the agent is with a blob. `wanted` asks for a `blob_sources`; `fetching` comes once a second while bytes come in from the
 * gateway; `failed`: it has given up.
 */
export const blobStateSchema = z.object({
  type: z.literal("blob_state"),
  digest: digestSchema,
  state: z.enum(BLOB_STATES),
  /** What it has of it, from this try or an earlier one. */
  receivedBytes: bytes.optional(),
});
export const goodbyeSchema = z.object({ type: z.literal("goodbye"), reason: reasonText });

// ---- gateway → agent

export const welcomeSchema = z.object({
  type: z.literal("welcome"),
  protocol: count,
  sessionId: shortText,
  serverTimeMs: milliseconds,
  heartbeatIntervalMs: milliseconds,
  heartbeatTimeoutMs: milliseconds,
  /** Of the attempts in `hello.held`, the tokens that are still live; the agent drops the others. */
  keep: z.array(count),
  /** It wants to know of `blob_server` and `blob_state`, and answers with `blob_sources`. */
  sharesBlobs: z.boolean().optional(),
});
export const taskSchema = z.object({
  type: z.literal("task"),
  ...attempt,
  /** Announced before by `load_model` on the same connection. */
  model: modelNameAndVersion,
  /** Time left until the deadline; absent when there is none. */
  budgetMs: milliseconds.optional(),
  /** How long the model may compute; the worker's own limit holds when it is lower. Absent: that limit alone. */
  executionLimitMs: milliseconds.optional(),
  input: z.discriminatedUnion("kind", [tensorsSchema, imageSchema, besideSchema]),
  /** Names of the outputs to return; absent: all. */
  outputs: z.array(z.string()).optional(),
  /** Of the request that the task came with (W3C Trace Context), for the logs. */
  traceparent: shortText.optional(),
});
export const cancelSchema = z.object({
  type: z.literal("cancel"),
  ...attempt,
  reason: reasonText,
  /** Another attempt was answered first. What is not running is dropped, what runs goes on to its end; `released` says when it is over. */
  isSuperseded: z.boolean().optional(),
});
/** Announces a model. With `preload` the agent fetches and loads it now, otherwise at its first task. */
export const loadModelSchema = z.object({
  type: z.literal("load_model"),
  model: modelRefSchema,
  preload: z.boolean(),
});
export const unloadModelSchema = z.object({ type: z.literal("unload_model"), ...modelNameAndVersion.shape });
/** A neighbour that has a blob. The token is good for this blob, there, and for a few minutes. */
export const blobSourceSchema = z.object({
  address: z.union([z.ipv4(), z.ipv6()]),
  port: z.int().min(1).max(65_535),
  certificate: z.string().max(4096),
  token: shortText,
});
export type BlobSource = z.infer<typeof blobSourceSchema>;
/**
 * Where to fetch a blob that was `wanted`: from the gateway (`fetch`), from neighbours (`neighbours`: the first that serves it, the gateway
 * when none does), or from nobody yet, because a neighbour is fetching it (`wait`: another `blob_sources` follows).
 */
export const blobSourcesSchema = z.object({
  type: z.literal("blob_sources"),
  digest: digestSchema,
  decision: z.enum(["fetch", "wait", "neighbours"]),
  sources: z.array(blobSourceSchema).max(8),
});
/** Finish what is running, take nothing new, then say goodbye. */
export const drainSchema = z.object({ type: z.literal("drain"), reason: reasonText });
/** Fetch this build, drain, start it, and go back to the one before if it does not prove itself. */
export const upgradeSchema = z.object({
  type: z.literal("upgrade"),
  /** `VERSION-DIGEST` */
  release: shortText,
  version: shortText,
  platform: shortText,
  /** Of the archive. */
  digest: digestSchema,
  sizeBytes: bytes,
});
/** Run a small model on each execution provider, now, and answer with `probed`. */
export const probeSchema = z.object({ type: z.literal("probe"), id: shortText });
/** Send the latest lines of the log, and with `follow` those that come, until `log_stop`. */
export const logRequestSchema = z.object({
  type: z.literal("log_request"),
  id: shortText,
  lines: z.int().min(0).max(10_000),
  follow: z.boolean(),
});
export const logStopSchema = z.object({ type: z.literal("log_stop"), id: shortText });
export const logLevelSchema = z.object({
  type: z.literal("log_level"),
  level: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]),
});
/** Sent every heartbeat interval; an agent that hears nothing for the timeout takes the link for dead. */
export const heartbeatSchema = z.object({ type: z.literal("heartbeat"), serverTimeMs: milliseconds });

// ---- both

/** All bytes received on this connection so far; opens the sender's window and confirms delivery. */
export const ackSchema = z.object({ type: z.literal("ack"), receivedBytes: bytes });

export const agentMessageSchema = z.discriminatedUnion("type", [
  helloSchema,
  acceptedSchema,
  resultSchema,
  failedSchema,
  releasedSchema,
  modelStateSchema,
  telemetrySchema,
  upgradeStateSchema,
  probedSchema,
  logLinesSchema,
  blobServerSchema,
  blobStateSchema,
  goodbyeSchema,
  ackSchema,
]);
export type AgentMessage = z.infer<typeof agentMessageSchema>;

export const gatewayMessageSchema = z.discriminatedUnion("type", [
  welcomeSchema,
  taskSchema,
  cancelSchema,
  loadModelSchema,
  unloadModelSchema,
  blobSourcesSchema,
  drainSchema,
  upgradeSchema,
  probeSchema,
  logRequestSchema,
  logStopSchema,
  logLevelSchema,
  heartbeatSchema,
  ackSchema,
]);
export type GatewayMessage = z.infer<typeof gatewayMessageSchema>;

export type MessageOf<Union extends { type: string }, Type extends Union["type"]> = Extract<
  Union,
  { type: Type }
>;
