/** ONNX Runtime as an executor: the only importer of onnxruntime-node. Runs in throw-away processes, never in the agent itself. */

import { lstat } from "node:fs/promises";
import { fail } from "@legacygpu/shared/errors";
import type { Tensor, TensorSpec } from "@legacygpu/shared/tensor";
import * as ort from "onnxruntime-node";
import type { Executor, LoadedModel, LoadOptions } from "./port.ts";
import { arrayOf, bytesOf, datatypeOf, engineTypeOf, type TensorArray } from "./tensors.ts";

/** What the engine, its allocators and the drivers say when a request for memory fails. The model may well run where there is more. */
const NO_MEMORY = /failed to allocate memory|bad_alloc|bad allocation|out.of.(device.|host.)?memory/i;

export class OnnxExecutor implements Executor {
  async load(path: string, options: LoadOptions): Promise<LoadedModel> {
    await refuseLinked(path);
    return openModel(path, options);
  }
}

/** A model is a file of its own: a second name for it, or a name that leads elsewhere, was not put there by us. */
async function refuseLinked(path: string): Promise<void> {
  const found = await lstat(path).catch((error: Error) => error);
  if (found instanceof Error) throw fail("model_load_failed", found.message, {}, found);
  if (!found.isFile() || found.nlink !== 1)
    throw fail("model_load_failed", `${path} is a link or has ${found.nlink} names; it is not loaded.`);
}

/** @param model a path or the bytes of the file. */
export async function openModel(
  model: string | Uint8Array,
  { provider, threads }: LoadOptions,
): Promise<LoadedModel> {
  try {
    return new OnnxModel(await createSession(model, provider, threads), provider);
  } catch (error) {
    const { message } = error as Error;
    throw fail(NO_MEMORY.test(message) ? "out_of_memory" : "model_load_failed", message, {}, error);
  }
}

function createSession(
  model: string | Uint8Array,
  provider: string,
  threads: number,
): Promise<ort.InferenceSession> {
  const options: ort.InferenceSession.SessionOptions = {
    executionProviders: [provider],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
    // Errors only: its warnings go to a stream that nobody reads at the right moment.
    logSeverityLevel: 3,
  };
  // Two overloads, one call each.
  return typeof model === "string"
    ? ort.InferenceSession.create(model, options)
    : ort.InferenceSession.create(model, options);
}

class OnnxModel implements LoadedModel {
  readonly provider: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly #session: ort.InferenceSession;

  constructor(session: ort.InferenceSession, provider: string) {
    this.#session = session;
    this.provider = provider;
    this.inputs = session.inputMetadata.map(specOf);
    this.outputs = session.outputMetadata.map(specOf);
  }

  async run(inputs: readonly Tensor[], outputs?: readonly string[]): Promise<Tensor[]> {
    const feeds = this.#feedsOf(inputs);
    const results = await this.#compute(feeds, outputs);
    return Object.entries(results).map(([name, value]) => wireTensor(name, value));
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  #feedsOf(inputs: readonly Tensor[]): Record<string, ort.Tensor> {
    const feeds: Record<string, ort.Tensor> = {};
    for (const input of inputs) {
      if (!this.#session.inputNames.includes(input.name)) {
        const known = this.#session.inputNames.join(", ");
        throw fail("input_invalid", `The model has no input \`${input.name}\`; it has ${known}.`);
      }
      feeds[input.name] = engineTensor(input);
    }
    const missing = this.#session.inputNames.filter((name) => feeds[name] === undefined);
    if (missing.length > 0) throw fail("input_invalid", `Missing input: ${missing.join(", ")}.`);
    return feeds;
  }

  async #compute(
    feeds: Record<string, ort.Tensor>,
    outputs?: readonly string[],
  ): Promise<ort.InferenceSession.ReturnType> {
    const unknown = outputs?.find((name) => !this.#session.outputNames.includes(name));
    if (unknown !== undefined) {
      const known = this.#session.outputNames.join(", ");
      throw fail("input_invalid", `The model has no output \`${unknown}\`; it has ${known}.`);
    }
    try {
      return outputs === undefined || outputs.length === 0
        ? await this.#session.run(feeds)
        : await this.#session.run(feeds, outputs);
    } catch (error) {
      const { message } = error as Error;
      throw fail(NO_MEMORY.test(message) ? "out_of_memory" : "model_run_failed", message, {}, error);
    }
  }
}

function engineTensor(tensor: Tensor): ort.Tensor {
  const array = arrayOf(tensor);
  try {
    // The constructor's overloads pair each type with its array; `arrayOf` has done that pairing.
    return new ort.Tensor(engineTypeOf(tensor.datatype) as "float32", array as Float32Array, tensor.shape);
  } catch (error) {
    throw fail("input_invalid", `Tensor \`${tensor.name}\`: ${(error as Error).message}`, {}, error);
  }
}

function wireTensor(name: string, value: ort.OnnxValue): Tensor {
  const tensor = value as ort.Tensor;
  const datatype = datatypeOf(tensor.type);
  if (datatype === undefined)
    throw fail("model_run_failed", `Output \`${name}\` has the type ${tensor.type}, which cannot travel.`);
  return { name, datatype, shape: [...tensor.dims], data: bytesOf(tensor.data as TensorArray) };
}

function specOf(metadata: ort.InferenceSession.ValueMetadata): TensorSpec {
  const datatype = metadata.isTensor ? datatypeOf(metadata.type) : undefined;
  if (!metadata.isTensor || datatype === undefined)
    throw fail("model_load_failed", `\`${metadata.name}\` is of a type that cannot travel.`);
  const shape = metadata.shape.map((dimension) => (typeof dimension === "number" ? dimension : -1));
  return { name: metadata.name, datatype, shape };
}
