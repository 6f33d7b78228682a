/** The engine alone, with one row or with several at a time: what batching can gain at best. */

import { readFile } from "node:fs/promises";
import { elementCount } from "@legacygpu/shared/tensor";
import * as ort from "onnxruntime-node";
import { serveCommands } from "./commands.ts";
import { type Completions, completionRate } from "./completion-rate.ts";

export interface EngineOrder {
  readonly modelFile: string;
  readonly input: string;
  readonly rowShape: readonly number[];
  readonly threads: number;
}

export interface RowsOrder {
  readonly rows: number;
  readonly measureMs: number;
}

let session: ort.InferenceSession | undefined;
let order: EngineOrder | undefined;

/** With the options that the agent's runner uses. */
async function open(given: EngineOrder): Promise<void> {
  order = given;
  session = await ort.InferenceSession.create(await readFile(given.modelFile), {
    executionProviders: ["cpu"],
    intraOpNumThreads: given.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
}

/** Runs per second, of so many rows each. */
function run({ rows, measureMs }: RowsOrder): Promise<Completions> {
  if (session === undefined || order === undefined) throw new Error("The session has not been opened.");
  const opened = session;
  const shape = [rows, ...order.rowShape];
  const values = Float32Array.from({ length: elementCount(shape) }, (_, index) => Math.sin(index));
  const feeds = { [order.input]: new ort.Tensor("float32", values, shape) };
  return completionRate(1, measureMs, () => opened.run(feeds));
}

serveCommands({ open, run });
