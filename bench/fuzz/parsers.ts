/** Everything that turns strangers' bytes into values inside one process, and good input to begin with. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectModel } from "@legacygpu/gateway/models/inspection";
import { checkManifest } from "@legacygpu/gateway/models/manifest-checks";
import { inspect } from "@legacygpu/gateway/store/inspection";
import { createBatchSchema } from "@legacygpu/shared/api/batches";
import { createJoinTokenSchema, enrolSchema, proveSchema } from "@legacygpu/shared/api/enrolment";
import { inferRequestSchema } from "@legacygpu/shared/api/inference";
import { createKeySchema } from "@legacygpu/shared/api/keys";
import { createTaskSchema } from "@legacygpu/shared/api/tasks";
import { readYaml } from "@legacygpu/shared/config/layers";
import { manifestSchema } from "@legacygpu/shared/manifest";
import { agentFrames, decodeValue, FrameBuilder, gatewayFrames } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage } from "@legacygpu/shared/protocol/messages";
import { outputSchema } from "@legacygpu/shared/protocol/messages";
import type { z } from "zod";
import {
  buildEndlessLoop,
  buildFailsOnSomeInputs,
  buildMemoryBomb,
  buildSlow,
} from "../../models/onnx/hostile.ts";
import { textCorpus } from "./mutate.ts";
import { AGENT_SAMPLES, GATEWAY_SAMPLES } from "./samples.ts";

export interface Parser {
  readonly corpus: readonly Uint8Array[];
  /** @throws LegacyGpuError for what it refuses; anything else is a fault. */
  feed(bytes: Uint8Array): void;
  close?(): void;
}

/** By the name of the target. */
export const PARSERS: Readonly<Record<string, () => Parser>> = {
  frames: () => ({
    corpus: [...framesOf<AgentMessage>(AGENT_SAMPLES), ...framesOf<GatewayMessage>(GATEWAY_SAMPLES)],
    feed(bytes) {
      bothWays(
        () => agentFrames.decode(bytes),
        () => gatewayFrames.decode(bytes),
        () => outputSchema.safeParse(decodeValue(bytes)),
      );
    },
  }),
  documents: () => ({
    corpus: textCorpus(DOCUMENTS.map((document) => JSON.stringify(document))),
    feed(bytes) {
      const value = parseJson(bytes);
      for (const schema of SCHEMAS) schema.safeParse(value);
    },
  }),
  configuration: () => ({
    corpus: textCorpus([CONFIGURATION]),
    feed: (bytes) => void readYaml(Buffer.from(bytes).toString(), "config.yaml"),
  }),
  models: () => {
    const small = { rounds: 2, size: 4 };
    return {
      corpus: [buildEndlessLoop(), buildMemoryBomb(), buildFailsOnSomeInputs(), buildSlow(small)],
      feed: (bytes) => checkManifest(MANIFEST, inspectModel(bytes)),
    };
  },
};

/** A store's file, read as the gateway does before LMDB may see it. @param sound a good one */
export function storeParser(sound: Uint8Array): Parser {
  const folder = mkdtempSync(join(tmpdir(), "legacygpu-fuzz-store-"));
  const path = join(folder, "tasks.mdb");
  return {
    corpus: [sound],
    feed(bytes) {
      writeFileSync(path, bytes);
      inspect(path);
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The first refusal counts; each of them sees the bytes. */
function bothWays(...readers: readonly (() => unknown)[]): void {
  const errors: unknown[] = [];
  for (const read of readers) {
    try {
      read();
    } catch (error) {
      errors.push(error);
    }
  }
  const [first] = errors;
  if (first !== undefined) throw errors.find((error) => !isRefusal(error)) ?? first;
}

export function isRefusal(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return name === "LegacyGpuError" && code !== "internal";
}

/** What is no JSON has been refused. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined;
  }
}

function framesOf<Message>(messages: readonly Message[]): Uint8Array[] {
  const one = messages.map((message) => {
    const builder = new FrameBuilder<Message>();
    builder.add(message);
    return builder.take();
  });
  const all = new FrameBuilder<Message>();
  for (const message of messages) all.add(message);
  return [...one.flat(), ...all.take()];
}

const SCHEMAS: readonly z.ZodType[] = [
  createTaskSchema,
  createBatchSchema,
  inferRequestSchema,
  manifestSchema,
  createKeySchema,
  createJoinTokenSchema,
  enrolSchema,
  proveSchema,
];

const TENSOR = { name: "input", datatype: "FP32", shape: [1, 4], data: [1, -2.5, 3e8, 0] };
const MANIFEST = manifestSchema.parse({
  postprocess: { kind: "classification", tensor: "output", top_k: 3 },
});
const DOCUMENTS: readonly unknown[] = [
  { model: "digits", input: { inputs: [TENSOR] }, priority: "HIGH", deadline_ms: 30_000, tags: { a: "b" } },
  { model: "digits", input: { image: "aGVsbG8=" }, retry: { max_attempts: 3 }, durability: "flushed" },
  { model: "digits", items: [{ input: { upload: "upload_1" } }, { input: { inputs: [TENSOR] } }] },
  { id: "1", inputs: [TENSOR], outputs: [{ name: "output" }], parameters: { priority: 1 } },
  {
    preprocess: { kind: "image", width: 28, height: 28, colors: "GRAY", mean: [0.1], std: [0.3] },
    postprocess: { kind: "classification", labels: ["zero", "one"] },
  },
  { name: "app", scopes: ["submit", "read"], tenant: "lab", networks: ["10.0.0.0/8", "fd00::/8"] },
  { site: "lab-a", ttl: 1800, uses: 3, url: "https://gpu.example:8000" },
  { worker_id: "box-1", public_key: "A".repeat(43), host: "box" },
  { worker_id: "box-1", challenge: "c", signature: "A".repeat(86) },
];
const CONFIGURATION = `coordinator:
  bind_address: wss://0.0.0.0:9000
  balancing_strategy: ADAPTIVE
  max_queue_size: 1000
  heartbeat_interval: 5s
worker:
  site: berlin
  labels: {tier: lab, floor: 2}
api:
  host: 0.0.0.0
  enable_cors: true
  cors_origins: [https://app.example]
  authentication:
    keys:
      - {key: 0123456789abcdef0123456789abcdef, permissions: [read, write]}
limits:
  requests_per_second_per_key: 2.5
log: {level: info}
`;
