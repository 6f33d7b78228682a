/**
 * Whether a provider computes a model as the CPU does, found out before it takes traffic.
 *
 * Drivers compute wrongly more often than they fail, and nobody notices labels that are off by a little. Both compute the same
 * pseudo-random input, the CPU first, so that the model is in memory once; where the CPU itself cannot (it refuses the input, or has no two equal answers) the golden examples decide, and
 * without any the provider is taken untested, which is told.
 */

import { asLegacyGpuError } from "@legacygpu/shared/errors";
import type { Manifest } from "@legacygpu/shared/manifest";
import type { Tensor } from "@legacygpu/shared/tensor";
import type { LoadedModel } from "../executors/port.ts";
import { firstDifference, type Tolerance } from "./comparison.ts";
import { probeInputs, VARIABLE_SIZES } from "./probe-inputs.ts";
import type { ServedModel } from "./served-model.ts";

export type SelfTest =
  | { readonly outcome: "passed" }
  /** It could not be tried, and is taken nevertheless. */
  | { readonly outcome: "untested"; readonly reason: string }
  | { readonly outcome: "wrong"; readonly reason: string };

export interface TestedProvider {
  readonly provider: string;
  readonly test: SelfTest;
}

const DEFAULT_TOLERANCE: Tolerance = { absolute: 1e-3, relative: 1e-2 };

/** What the CPU makes of inputs that nobody chose. */
export type CpuAnswer =
  | { readonly inputs: readonly Tensor[]; readonly outputs: readonly Tensor[] }
  | { readonly refusal: string };

/** @param load loads the model on the CPU; it is released again. */
export async function answerOfCpu(load: () => Promise<LoadedModel>, manifest: Manifest): Promise<CpuAnswer> {
  let reference: LoadedModel;
  try {
    reference = await load();
  } catch (error) {
    return { refusal: `The CPU cannot load the model: ${(error as Error).message}` };
  }
  try {
    return await askTwice(reference, manifest);
  } finally {
    await reference.release();
  }
}

async function askTwice(reference: LoadedModel, manifest: Manifest): Promise<CpuAnswer> {
  let refusal = "";
  for (const size of VARIABLE_SIZES) {
    try {
      const inputs = probeInputs(reference.inputs, manifest.preprocess, size);
      const outputs = await reference.run(inputs);
      const isRandom =
        firstDifference(await reference.run(inputs), outputs, toleranceOf(manifest)) !== undefined;
      return isRandom ? { refusal: "The CPU gives another answer each time." } : { inputs, outputs };
    } catch (error) {
      refusal ||= `The CPU refuses a pseudo-random input: ${(error as Error).message}`;
    }
  }
  return { refusal };
}

/**
 * @param served the model on the provider that is on trial
 * @throws `out_of_memory`: that says nothing of the provider's numbers.
 */
export async function selfTest(
  served: ServedModel,
  answer: CpuAnswer,
  manifest: Manifest,
): Promise<SelfTest> {
  const compared = await compare(served, answer, manifest);
  if (compared.outcome === "wrong") return compared;
  try {
    await served.checkGolden();
  } catch (error) {
    return wrong(error, (error as Error).message);
  }
  const hasGolden = (manifest.golden ?? []).length > 0;
  return compared.outcome === "untested" && hasGolden ? { outcome: "passed" } : compared;
}

async function compare(served: ServedModel, answer: CpuAnswer, manifest: Manifest): Promise<SelfTest> {
  if ("refusal" in answer) return { outcome: "untested", reason: answer.refusal };
  let actual: readonly Tensor[];
  try {
    actual = await served.compute(answer.inputs);
  } catch (error) {
    return wrong(error, `It fails where the CPU does not: ${(error as Error).message}`);
  }
  const difference = firstDifference(actual, answer.outputs, toleranceOf(manifest));
  return difference === undefined
    ? { outcome: "passed" }
    : { outcome: "wrong", reason: `It computes other numbers than the CPU: ${difference}` };
}

function wrong(error: unknown, reason: string): SelfTest {
  if (asLegacyGpuError(error).code === "out_of_memory") throw error;
  return { outcome: "wrong", reason };
}

const toleranceOf = ({ tolerance = DEFAULT_TOLERANCE }: Manifest): Tolerance => tolerance;
