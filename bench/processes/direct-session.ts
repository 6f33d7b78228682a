/** The other side of the bench `agent`: the engine called in a loop, with nothing around it. */

import { readFile } from "node:fs/promises";
import type { Tensor } from "@legacygpu/shared/tensor";
import * as ort from "onnxruntime-node";
import { serveCommands } from "./commands.ts";
import { type Completions, completionRate } from "./completion-rate.ts";
import type { Placement } from "./feeder.ts";

export interface OpenOrder extends Placement {
  readonly modelFile: string;
  readonly input: Tensor;
}

let session: ort.InferenceSession | undefined;
let feeds: Record<string, ort.Tensor> = {};

/** With the options that the agent's runner uses. */
async function open({ modelFile, provider, threads, input }: OpenOrder): Promise<void> {
  session = await ort.InferenceSession.create(await readFile(modelFile), {
    executionProviders: [provider],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
  const { name, shape, data } = input;
  feeds = { [name]: new ort.Tensor("float32", new Float32Array(data.slice().buffer), [...shape]) };
}

function run(measureMs: number): Promise<Completions> {
  const opened = session;
  if (opened === undefined) throw new Error("The session has not been opened.");
  return completionRate(1, measureMs, () => opened.run(feeds));
}

serveCommands({ open, run });
