/**
 * What it costs a site to get a large model: four boxes need it at the same moment behind one line, which is cut in the middle. How many bytes
 * cross the line, against the one copy that has to, and how long it takes, against that copy on a line that is never cut.
 */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildMlp } from "../models/onnx/synthetic.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { SiteLine } from "./distribution/site-line.ts";
import { type Bench, runBench } from "./run.ts";

const BOXES = 4;
/** 50 Mbit/s. */
const LINE_BYTES_PER_SECOND = 50e6 / 8;
/** The widths of a network with so many bytes of weights. */
const WIDTHS = { short: [256, 20_000, 10], long: [1280, 20_000, 10] } as const;
/** The same copy twice would be 2. */
const MOST_WAN_BYTES = 1.05;
const LIMIT_MS = 180_000;
const POLL_MS = 50;

await runBench("models", async (bench) => {
  const widths = WIDTHS[bench.isShort ? "short" : "long"];
  const bytes = buildMlp({ widths });
  const digest = createHash("sha256").update(bytes).digest("hex");
  const file = join(bench.folder, "model.onnx");
  await writeFile(file, bytes);

  let line: SiteLine | undefined;
  try {
    const cluster = await startCluster(bench, {
      agents: BOXES,
      agentPort: async (gatewayPort) => {
        line ??= await SiteLine.open(gatewayPort, LINE_BYTES_PER_SECOND);
        return line.port;
      },
      agentOrder: (number) => ({
        providers: ["cpu"],
        // That the line was cut is known here.
        logLevel: "error",
        labels: { box: String(number) },
        // All of them are on this machine.
        sharing: { addresses: ["127.0.0.1"] },
      }),
    });
    if (line === undefined) throw new Error("No agent has asked for the line.");
    await cluster.push("large", file);
    bench.say(`${BOXES} boxes, a model of ${Math.round(bytes.length / 1e6)} MB, a line of 50 Mbit/s`);
    const { wanBytes, elapsedMs } = await distribute(bench, { cluster, line, bytes, inputs: widths[0] });
    const copies = await Promise.all(
      Array.from({ length: BOXES }, (_, index) => digestOf(copyOf(bench, index + 1, digest))),
    );
    const right = copies.filter((copy) => copy === digest).length;
    const share = wanBytes / bytes.length;
    const time = elapsedMs / ((bytes.length / LINE_BYTES_PER_SECOND) * 1000);
    return {
      ratios: { wan_bytes: [share, share, share], time: [time, time, time] },
      counts: { boxes: BOXES, digests_right: right, cuts: 1 },
      figures: { model_bytes: bytes.length, wan_bytes: wanBytes, elapsed_ms: Math.round(elapsedMs) },
      broken: [
        ...(share <= MOST_WAN_BYTES
          ? []
          : [`${share.toFixed(2)} copies crossed the line of the site instead of one.`]),
        ...(right === BOXES ? [] : [`${BOXES - right} boxes have other bytes than the model's.`]),
      ],
    };
  } finally {
    await line?.close();
  }
});

interface Distribution {
  readonly cluster: Cluster;
  readonly line: SiteLine;
  readonly bytes: Uint8Array;
  /** Elements of the model's input. */
  readonly inputs: number;
}

/** One task for each box, all at once; the line is cut when half of the model has crossed it. */
async function distribute(
  bench: Bench,
  { cluster, line, bytes, inputs }: Distribution,
): Promise<{ wanBytes: number; elapsedMs: number }> {
  const before = line.receivedBytes;
  const startedAtMs = performance.now();
  const data = new Array<number>(inputs).fill(0);
  const tasks = Array.from({ length: BOXES }, (_, index) =>
    cluster.call("POST", "/tasks", {
      model: "large",
      input: { inputs: [{ name: "input", datatype: "FP32", shape: [1, inputs], data }] },
      placement: { labels: { box: String(index + 1) } },
    }),
  );
  const ids = (await Promise.all(tasks)).map((task) => (task as { id: string }).id);
  await until("half of the model has come", () => line.receivedBytes - before > bytes.length / 2);
  line.cut();
  bench.say(`cut after ${line.receivedBytes - before} bytes`);
  await until("every box has answered with the model", () => allEnded(cluster, ids));
  return { wanBytes: line.receivedBytes - before, elapsedMs: performance.now() - startedAtMs };
}

async function allEnded(cluster: Cluster, ids: readonly string[]): Promise<boolean> {
  const tasks = (await Promise.all(ids.map((id) => cluster.call("GET", `/tasks/${id}`)))) as {
    status: string;
    error?: unknown;
  }[];
  const failed = tasks.find(({ status }) => status === "FAILED" || status === "TIMED_OUT");
  if (failed !== undefined) throw new Error(`A task failed: ${JSON.stringify(failed.error)}`);
  return tasks.every(({ status }) => status === "COMPLETED");
}

function copyOf(bench: Bench, box: number, digest: string): string {
  return join(bench.folder, `agent-${box}`, "models", "blobs", `${digest}.onnx`);
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + LIMIT_MS;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`Waited for ${LIMIT_MS / 1000} s until ${what}.`);
    await sleep(POLL_MS);
  }
}
