/** What an ONNX file consists of, counted for people: operators, weights, opsets, who wrote it. */

import {
  declaredElements,
  elementBits,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
} from "@legacygpu/shared/onnx";
import { z } from "zod";

/** More kinds than this have files that define functions by the thousand; the index keeps the most frequent. */
const MAX_OPERATORS = 500;
const DEFAULT_DOMAIN = "ai.onnx";

/** A size, the name of one that may vary, or null for one without a name. */
export const dimensionsSchema = z.array(z.union([z.number(), z.string(), z.null()]));

/** As it is kept in the index. */
export const contentsSchema = z.object({
  producer: z.string().optional(),
  irVersion: z.number(),
  opsetImports: z.array(z.object({ domain: z.string(), version: z.number() })),
  operators: z.array(z.object({ domain: z.string(), name: z.string(), count: z.number() })),
  nodeCount: z.number(),
  parameterCount: z.number(),
  parameterBytes: z.number(),
  inputDimensions: z.array(dimensionsSchema),
  outputDimensions: z.array(dimensionsSchema),
});
export type ModelContents = z.infer<typeof contentsSchema>;
export type Operator = ModelContents["operators"][number];
type Dimensions = Pick<ModelContents, "inputDimensions" | "outputDimensions">;

/** @param model one that was scanned: its tensors are what they declare */
export function contentsOf(model: OnnxModel, dimensions: Dimensions): ModelContents {
  const count = new Count();
  count.graph(model.graph);
  for (const { node = [] } of model.functions ?? []) count.graph({ node });
  const { producerName, irVersion, opsetImport = [] } = model;
  return {
    ...(producerName === undefined || producerName === "" ? {} : { producer: producerName }),
    irVersion,
    opsetImports: opsetImport.map(({ domain, version }) => ({ domain: domainOf(domain), version })),
    operators: count.operators(),
    nodeCount: count.nodes,
    parameterCount: count.parameters,
    parameterBytes: count.parameterBytes,
    ...dimensions,
  };
}

class Count {
  readonly #operators = new Map<string, { domain: string; name: string; count: number }>();
  nodes = 0;
  parameters = 0;
  parameterBytes = 0;

  /** With the graphs inside of it, however deep. */
  graph(start: OnnxGraph): void {
    const ahead = [start];
    for (let graph = ahead.pop(); graph !== undefined; graph = ahead.pop()) {
      for (const tensor of graph.initializer ?? []) this.#weight(tensor);
      for (const { values } of graph.sparseInitializer ?? []) if (values !== undefined) this.#weight(values);
      for (const node of graph.node ?? []) {
        this.#node(node);
        for (const { g, graphs = [] } of node.attribute ?? []) {
          for (const inner of g === undefined ? graphs : [g, ...graphs]) ahead.push(inner);
        }
      }
    }
  }

  operators(): Operator[] {
    return [...this.#operators.values()].sort((a, b) => b.count - a.count).slice(0, MAX_OPERATORS);
  }

  #node({ domain, opType }: OnnxNode): void {
    this.nodes += 1;
    const key = `${domainOf(domain)}:${opType}`;
    const known = this.#operators.get(key);
    if (known === undefined) this.#operators.set(key, { domain: domainOf(domain), name: opType, count: 1 });
    else known.count += 1;
  }

  #weight({ dims = [], dataType = 0 }: OnnxTensor): void {
    const elements = declaredElements(dims) ?? 0;
    this.parameters += elements;
    this.parameterBytes += Math.ceil((elements * (elementBits(dataType) ?? 0)) / 8);
  }
}

function domainOf(domain: string | undefined): string {
  return domain === undefined || domain === "" ? DEFAULT_DOMAIN : domain;
}
