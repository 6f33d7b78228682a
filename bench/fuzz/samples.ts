/** One good message of each kind, to be broken. */

import type { AgentMessage, GatewayMessage } from "@legacygpu/shared/protocol/messages";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const ATTEMPT = { taskId: "task_01hzzzzzzzzzzzzzzzzzzzzzzz", token: 1_700_000_000_000_001 };
const MODEL = { name: "digits", version: "1" };
const TENSOR = { name: "input", datatype: "FP32" as const, shape: [1, 4], data: new Uint8Array(16).fill(7) };
const TIMINGS = { queuedMs: 1, fetchMs: 0, loadMs: 2, preprocessMs: 0.5, executeMs: 3, postprocessMs: 0 };

export const HELLO: AgentMessage = {
  type: "hello",
  protocol: [1],
  agentVersion: "0.2.0",
  workerId: "fuzz-1",
  instanceId: "instance",
  site: "lab",
  labels: { tier: "a" },
  hardware: {
    cpu: { model: "cpu", cores: 4 },
    memoryBytes: 2 ** 33,
    platform: "linux x64",
    gpus: [{ name: "RX 580", vendor: "AMD", vramBytes: 2 ** 33, driver: "radv" }],
  },
  providers: ["webgpu", "cpu"],
  slots: 2,
  models: [{ ...MODEL, file: DIGEST }],
  held: [ATTEMPT],
};

export const AGENT_SAMPLES: readonly AgentMessage[] = [
  HELLO,
  { type: "accepted", ...ATTEMPT },
  {
    type: "result",
    ...ATTEMPT,
    output: { kind: "output", tensors: [TENSOR], predictions: [{ label: "7", index: 7, score: 0.5 }] },
    timings: TIMINGS,
    provider: "cpu",
  },
  { type: "failed", ...ATTEMPT, error: { code: "model_run_failed", message: "no", retryable: false } },
  { type: "model_state", ...MODEL, state: "loading", receivedBytes: 1, totalBytes: 2 },
  { type: "telemetry", running: 1, queued: 2, rssBytes: 2 ** 30, cpuPercent: 12.5 },
  { type: "goodbye", reason: "the worker is shutting down" },
  { type: "ack", receivedBytes: 0 },
];

export const GATEWAY_SAMPLES: readonly GatewayMessage[] = [
  {
    type: "welcome",
    protocol: 1,
    sessionId: "session",
    serverTimeMs: 1_700_000_000_000,
    heartbeatIntervalMs: 5000,
    heartbeatTimeoutMs: 15_000,
    keep: [1, 2, 3],
  },
  {
    type: "task",
    ...ATTEMPT,
    model: MODEL,
    budgetMs: 1000,
    executionLimitMs: 500,
    input: { kind: "tensors", tensors: [TENSOR] },
    outputs: ["output"],
  },
  { type: "cancel", ...ATTEMPT, reason: "cancelled" },
  { type: "unload_model", ...MODEL },
  { type: "drain", reason: "maintenance" },
  { type: "heartbeat", serverTimeMs: 1_700_000_000_000 },
];
