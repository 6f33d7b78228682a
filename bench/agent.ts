/**
 * What the agent costs when the model is the work: ResNet-50 through an agent, beside the same session called in a loop.
 *
 * Same model file, provider, threads and input (600 KB). The tasks come from a gateway of the real parts into which they are put directly
 * (`processes/feeder.ts`), so the ratio is about link, agent and runner: each input is fetched over HTTPS beside the link, as in production,
 * and the agent always has the next task in hand. `figures.json_rate` is the same with clients that send the tensor as JSON.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import type { Digest } from "@legacygpu/shared/manifest";
import { elementCount, type Tensor } from "@legacygpu/shared/tensor";
import { seededRandom } from "../models/onnx/random.ts";
import { cachedModel } from "../models/onnx/synthetic.ts";
import type { Child } from "./child.ts";
import { cpuTime } from "./cpu-time.ts";
import type { LoadOrder, LoadResult } from "./load/results.ts";
import type { AgentOrder } from "./processes/agent.ts";
import type { Completions } from "./processes/completion-rate.ts";
import type { OpenOrder } from "./processes/direct-session.ts";
import type { FeederAddress, FeederOrder, FeedOrder, Placement } from "./processes/feeder.ts";
import { profiled } from "./profile/window.ts";
import { alternate, median, ratioOf } from "./rounds.ts";
import { type Bench, runBench } from "./run.ts";

/** One runs, one waits at the runner, one at the agent, one is on its way. */
const OUTSTANDING = 4;
const SHAPE = [1, 3, 224, 224] as const;

await runBench("agent", async (bench) => {
  bench.say("preparing the model …");
  const modelFile = await cachedModel("resnet50");
  const input = pictureTensor();
  const feeder = bench.startProfiled("processes/feeder", "feeder");
  const address = await feeder.ask<FeederAddress>("start", {
    folder: join(bench.folder, "gateway"),
    modelFile,
    digest: await digestOf(modelFile),
  } satisfies FeederOrder);
  const agent = await startAgent(bench, address);
  const { rounds, measureMs, jsonMs } = plan(bench);
  const order: FeedOrder = { input, outstanding: OUTSTANDING, measureMs };
  const feed = (): Promise<Taken> =>
    withCpu([feeder.pid, agent.pid], () => feeder.ask<Completions>("feed", order));

  bench.say("warming up …");
  await feed();
  const placement = await feeder.ask<Placement>("placement");
  const direct = bench.start("processes/direct-session", "direct session");
  await direct.ask("open", { ...placement, modelFile, input } satisfies OpenOrder);
  const runDirect = (): Promise<Taken> =>
    withCpu([direct.pid], () => direct.ask<Completions>("run", measureMs));
  await runDirect();

  const measured = await profiled(bench.profileDir, () =>
    alternate(rounds, { agent: feed, direct: runDirect }, ({ agent: ours, direct: bare }, index) =>
      bench.say(
        `round ${index + 1}: agent ${ours.perSecond.toFixed(2)}/s, direct ${bare.perSecond.toFixed(2)}/s`,
      ),
    ),
  );
  const json = await loadJson(bench, address, input, jsonMs);
  return {
    ratios: { rate: ratioOf(measured, ({ agent: ours, direct: bare }) => ours.perSecond / bare.perSecond) },
    figures: {
      agent_rate: median(measured.map(({ agent: ours }) => ours.perSecond)),
      direct_rate: median(measured.map(({ direct: bare }) => bare.perSecond)),
      // Of all processes on that side, the gateway's too.
      agent_cpu_ms: median(measured.map(({ agent: ours }) => ours.cpuMs)),
      direct_cpu_ms: median(measured.map(({ direct: bare }) => bare.cpuMs)),
      json_rate: json.perSecond,
      threads: placement.threads,
      input_bytes: input.data.length,
    },
  };
});

function plan({ isShort }: Bench): { rounds: number; measureMs: number; jsonMs: number } {
  return isShort
    ? { rounds: 7, measureMs: 1100, jsonMs: 1500 }
    : { rounds: 15, measureMs: 5000, jsonMs: 8000 };
}

interface Taken extends Completions {
  /** CPU time per run. */
  readonly cpuMs: number;
}

async function withCpu(pids: readonly number[], run: () => Promise<Completions>): Promise<Taken> {
  const total = (): number => {
    const { ownUs, descendantsUs } = cpuTime(pids);
    return ownUs + descendantsUs;
  };
  const before = total();
  const completions = await run();
  return { ...completions, cpuMs: (total() - before) / 1000 / completions.runs };
}

async function startAgent(bench: Bench, { url, workerKey, caPem }: FeederAddress): Promise<Child> {
  const order: AgentOrder = {
    url: url.replace("https:", "wss:"),
    key: workerKey,
    caPem,
    stateDir: join(bench.folder, "agent"),
    workerId: "bench",
    slots: 1,
  };
  const agent = bench.startProfiled("processes/agent", "agent");
  await agent.ask("start", order);
  return agent;
}

async function loadJson(
  bench: Bench,
  { port, caPem, clientKey }: FeederAddress,
  { name, datatype, shape, data }: Tensor,
  measureMs: number,
): Promise<LoadResult> {
  const numbers = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
  const body = JSON.stringify({ inputs: [{ name, datatype, shape, data: [...numbers] }] });
  const head = [
    "POST /v2/models/resnet50/infer HTTP/1.1",
    "Host: localhost",
    `Authorization: Bearer ${clientKey}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
  ].join("\r\n");
  const connection = { bytes: Buffer.from(`${head}\r\n\r\n${body}`), expected: '"name":"logits"' };
  const order: LoadOrder = {
    host: "127.0.0.1",
    port,
    caPem,
    connections: new Array(OUTSTANDING).fill(connection),
    warmUpMs: measureMs / 4,
    measureMs,
  };
  return bench.start("load/generator").ask<LoadResult>("load", order);
}

/** As a picture after normalisation: FP32 around zero. */
function pictureTensor(): Tensor {
  const random = seededRandom(224);
  const values = Float32Array.from({ length: elementCount(SHAPE) }, () => random() * 4 - 2);
  return { name: "input", datatype: "FP32", shape: [...SHAPE], data: new Uint8Array(values.buffer) };
}

async function digestOf(file: string): Promise<Digest> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}` as Digest;
}
