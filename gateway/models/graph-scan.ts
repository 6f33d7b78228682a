/**
 * Walks a model that somebody pushes, before anything runs it: every graph within graphs, every function, every tensor.
 *
 * Linear in the file and without recursion. It finds what a file says about itself; what a model does with its inputs is held in check by
 * the limits of the process that runs it.
 */

import type { OnnxAttribute, OnnxGraph, OnnxModel, OnnxNode } from "@legacygpu/shared/onnx";
import { type Body, FunctionTable, newBody } from "./function-scan.ts";
import { DEFAULT_SCAN_POLICY, refusal, type ScanPolicy, shown } from "./scan-policy.ts";
import { Scope } from "./scope.ts";
import { checkStaticCost } from "./static-cost.ts";
import { TensorScan } from "./tensor-scan.ts";

interface Visit {
  readonly graph: OnnxGraph;
  readonly depth: number;
  readonly scope: Scope;
  readonly body: Body;
}

/** Operators of an allowed domain that run what the file names: compiled engines from other files, Python, foreign libraries. */
const FORBIDDEN_OPERATORS = new Set(["EPContext", "PythonOp", "PythonOpGrad", "ATen", "ATenGrad", "Snpe"]);
const CONTROL = /[\p{Cc}\ufffd]/u;
/** Whoever stores outputs under their names should not leave a folder by it. */
const LEADS_UPWARDS = /(?:^|[\\/])\.\.(?:[\\/]|$)/;

/** @throws `model_invalid`, with `details.reason`. */
export function scanModel(model: OnnxModel, given: Partial<ScanPolicy> = {}): void {
  new GraphScan({ ...DEFAULT_SCAN_POLICY, ...given }).scan(model);
}

class GraphScan {
  readonly #policy: ScanPolicy;
  readonly #domains: ReadonlySet<string>;
  readonly #tensors: TensorScan;
  readonly #functions = new FunctionTable();
  readonly #ahead: Visit[] = [];
  #nodeCount = 0;

  constructor(policy: ScanPolicy) {
    this.#policy = policy;
    this.#domains = new Set(policy.allowedDomains);
    this.#tensors = new TensorScan(policy);
  }

  scan({ graph, functions = [], trainingInfo = [] }: OnnxModel): void {
    for (const { name } of [...(graph.input ?? []), ...(graph.output ?? [])])
      if (LEADS_UPWARDS.test(name))
        throw refusal("invalid_name", `The name ${shown(name)} leads out of a folder.`);
    const main = newBody("model");
    for (const definition of functions) this.#enterFunction(definition);
    this.#enter(graph, 0, undefined, main);
    for (const { initialization, algorithm } of trainingInfo)
      for (const each of [initialization, algorithm])
        if (each !== undefined) this.#enter(each, 0, undefined, main);
    for (let visit = this.#ahead.pop(); visit !== undefined; visit = this.#ahead.pop()) this.#visit(visit);
    this.#functions.checkExpansion(main, this.#policy);
  }

  #enterFunction(definition: NonNullable<OnnxModel["functions"]>[number]): void {
    for (const name of [definition.name, definition.domain, definition.overload]) checkName(name);
    const body = this.#functions.add(definition);
    const { node = [], input = [], attributeProto = [] } = definition;
    const graph = { node, input: input.map((name) => ({ name })) };
    this.#enter(graph, 0, undefined, body);
    const holder: OnnxNode = { opType: "", attribute: attributeProto };
    this.#checkAttributes(holder, { graph, depth: 0, scope: new Scope(), body });
  }

  #enter(graph: OnnxGraph, depth: number, outer: Scope | undefined, body: Body): void {
    if (depth > this.#policy.maxGraphDepth)
      throw refusal("nested_too_deep", `Graphs are nested more than ${this.#policy.maxGraphDepth} deep.`);
    this.#count();
    this.#ahead.push({ graph, depth, scope: new Scope(outer), body });
  }

  #visit(visit: Visit): void {
    const { graph, scope } = visit;
    this.#checkGraphTensors(graph, scope);
    checkNames(graph);
    // Nodes are in the order of their use, but nobody has checked that yet.
    for (const node of graph.node ?? []) scope.addNode(node);
    for (const node of graph.node ?? []) this.#visitNode(node, visit);
  }

  #checkGraphTensors({ initializer = [], sparseInitializer = [] }: OnnxGraph, scope: Scope): void {
    for (const tensor of initializer) {
      this.#tensors.check(tensor);
      scope.addTensor(tensor.name ?? "", tensor);
    }
    for (const sparse of sparseInitializer) this.#tensors.checkSparse(sparse);
  }

  #visitNode(node: OnnxNode, visit: Visit): void {
    const { body, scope } = visit;
    this.#count();
    body.nodes += 1;
    const callee = this.#functions.find(node);
    if (callee === undefined) this.#checkOperator(node);
    else body.calls.set(callee, (body.calls.get(callee) ?? 0) + 1);
    this.#checkAttributes(node, visit);
    checkStaticCost(node, scope, this.#policy);
  }

  /** A node, or a graph: empty ones cost as much. */
  #count(): void {
    const { maxNodes } = this.#policy;
    this.#nodeCount += 1;
    if (this.#nodeCount > maxNodes)
      throw refusal("too_many_nodes", `The model has more than ${maxNodes} nodes and graphs.`);
  }

  #checkOperator({ opType, domain = "" }: OnnxNode): void {
    if (!this.#domains.has(domain)) {
      throw refusal(
        "unknown_operator_domain",
        `The operator ${shown(opType)} is of the domain ${shown(domain)}; known are ${[...this.#domains].map(shown).join(", ")}.`,
      );
    }
    if (FORBIDDEN_OPERATORS.has(opType)) {
      throw refusal(
        "operator_forbidden",
        `The operator ${shown(opType)} runs what is not in the file and is not served.`,
      );
    }
  }

  #checkAttributes({ opType, attribute = [] }: OnnxNode, { depth, scope, body }: Visit): void {
    const names = new Set<string>();
    for (const each of attribute) {
      checkName(each.name);
      if (names.has(each.name))
        throw refusal("duplicate_name", `${shown(opType)} has the attribute ${shown(each.name)} twice.`);
      names.add(each.name);
      this.#checkContents(each);
      for (const graph of [each.g, ...(each.graphs ?? [])])
        if (graph !== undefined) this.#enter(graph, depth + 1, scope, body);
    }
  }

  #checkContents({ name, s, strings = [], t, tensors, sparseTensor, sparseTensors }: OnnxAttribute): void {
    const { maxStringBytes } = this.#policy;
    if ((s?.length ?? 0) > maxStringBytes || strings.some((each) => each.length > maxStringBytes))
      throw refusal(
        "string_too_long",
        `The attribute ${shown(name)} has a string over ${maxStringBytes} bytes.`,
      );
    if (t !== undefined) this.#tensors.check(t);
    for (const tensor of tensors ?? []) this.#tensors.check(tensor);
    if (sparseTensor !== undefined) this.#tensors.checkSparse(sparseTensor);
    for (const sparse of sparseTensors ?? []) this.#tensors.checkSparse(sparse);
  }
}

/** Every value of a graph has one origin. Weights may be listed among the inputs too: old exporters do. */
function checkNames({
  node = [],
  input = [],
  output = [],
  initializer = [],
  sparseInitializer = [],
}: OnnxGraph) {
  const weights = uniqueNames([
    ...initializer.map(({ name }) => name),
    ...sparseInitializer.map(({ values }) => values?.name),
  ]);
  const origins = uniqueNames(input.map(({ name }) => name));
  for (const name of weights) origins.add(name);
  for (const each of node) {
    for (const name of [each.name, each.opType, each.domain, each.overload]) checkName(name);
    for (const name of each.input ?? []) checkName(name);
    for (const name of each.output ?? []) addUnique(origins, name);
  }
  uniqueNames(output.map(({ name }) => name));
}

function uniqueNames(names: readonly (string | undefined)[]): Set<string> {
  const known = new Set<string>();
  for (const name of names) addUnique(known, name);
  return known;
}

/** An output without a name is one that nobody wants. */
function addUnique(known: Set<string>, name: string | undefined): void {
  checkName(name);
  if (name === undefined || name === "") return;
  if (known.has(name)) throw refusal("duplicate_name", `The value ${shown(name)} has more than one origin.`);
  known.add(name);
}

function checkName(name: string | undefined): void {
  if (name !== undefined && CONTROL.test(name))
    throw refusal("invalid_name", `The name ${shown(name)} has characters that no name should have.`);
}
