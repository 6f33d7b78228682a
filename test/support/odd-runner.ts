/**
 * Entry of a runner process whose providers are the CPU in disguise, each with a fault of its own:
 *
 * | provider | fault                                                       |
 * | -------- | ----------------------------------------------------------- |
 * | webgpu   | none                                                        |
 * | cuda     | its numbers are off by a tenth                              |
 * | dml      | its numbers are none                                        |
 * | tensorrt | takes the process down when it loads a model                |
 * | coreml   | has memory for one model, and for no input that begins with {@link HUGE} |
 *
 * An input that begins with {@link DEADLY} takes the process down on every provider.
 */

import { fail } from "@legacygpu/shared/errors";
import type { Tensor } from "@legacygpu/shared/tensor";
import { OnnxExecutor } from "../../agent/executors/onnx.ts";
import type { Executor, LoadedModel, LoadOptions } from "../../agent/executors/port.ts";
import { bytesOf, numbersOf } from "../../agent/executors/tensors.ts";
import { serveRunner } from "../../agent/runner/serve.ts";
import { DEADLY, HUGE } from "./odd-inputs.ts";

class OddExecutor implements Executor {
  readonly #engine = new OnnxExecutor();
  #held = 0;

  async load(path: string, options: LoadOptions): Promise<LoadedModel> {
    const { provider } = options;
    if (provider === "tensorrt") process.kill(process.pid, "SIGSEGV");
    if (provider === "coreml" && this.#held > 0) throw fail("out_of_memory", "VK_ERROR_OUT_OF_DEVICE_MEMORY");
    const model = await this.#engine.load(path, { ...options, provider: "cpu" });
    if (provider === "coreml") this.#held += 1;
    return {
      provider,
      inputs: model.inputs,
      outputs: model.outputs,
      run: async (inputs, outputs) => {
        const [first] = inputs.map((input) => Number(numbersOf(input)[0]));
        if (first === DEADLY) process.kill(process.pid, "SIGSEGV");
        if (provider === "coreml" && first === HUGE) throw fail("out_of_memory", "CUDA error: out of memory");
        return (await model.run(inputs, outputs)).map((output) => spoil(output, provider));
      },
      release: () => {
        if (provider === "coreml") this.#held -= 1;
        return model.release();
      },
    };
  }
}

function spoil(output: Tensor, provider: string): Tensor {
  const factor = provider === "cuda" ? 1.1 : provider === "dml" ? Number.NaN : 1;
  if (factor === 1) return output;
  const values = Float32Array.from(numbersOf(output) as ArrayLike<number>, (value) => value * factor);
  return { ...output, data: bytesOf(values) };
}

serveRunner(new OddExecutor(), () => process.exit(0));
