/** The functions that a model defines: who calls whom, that it comes to an end, and how many nodes it comes to. */

import type { OnnxFunction, OnnxNode } from "@legacygpu/shared/onnx";
import { refusal, type ScanPolicy, shown } from "./scan-policy.ts";

/** A body of nodes with all graphs inside of it: a function's, or the model's own. */
export interface Body {
  readonly title: string;
  nodes: number;
  /** The functions that it calls, and how often. */
  readonly calls: Map<Body, number>;
}

interface Progress {
  readonly body: Body;
  readonly callees: Iterator<[Body, number]>;
}
interface Expansion {
  readonly nodes: number;
  readonly depth: number;
}

export function newBody(title: string): Body {
  return { title, nodes: 0, calls: new Map() };
}

export class FunctionTable {
  readonly #bodies = new Map<string, Body>();

  /** @throws `model_invalid` when there is one of that name. */
  add(definition: OnnxFunction): Body {
    const key = keyOf(definition.domain, definition.name, definition.overload);
    if (this.#bodies.has(key))
      throw refusal("duplicate_name", `The function ${shown(definition.name)} is defined twice.`);
    const body = newBody(`function ${shown(definition.name)}`);
    this.#bodies.set(key, body);
    return body;
  }

  /** Undefined when the node is an operator. */
  find({ domain, opType, overload }: OnnxNode): Body | undefined {
    return this.#bodies.get(keyOf(domain, opType, overload));
  }

  /**
   * The engine puts functions in the place of their calls: thirty that call the next one twice come to a billion nodes.
   * @throws `model_invalid`
   */
  checkExpansion(main: Body, policy: ScanPolicy): void {
    const done = new Map<Body, Expansion>();
    for (const body of [...this.#bodies.values(), main]) {
      const { nodes, depth } = expand(body, done);
      if (nodes > policy.maxNodes)
        throw refusal("too_many_nodes", `The ${body.title} comes to more than ${policy.maxNodes} nodes.`);
      if (depth > policy.maxCallDepth)
        throw refusal("nested_too_deep", `Functions call functions more than ${policy.maxCallDepth} deep.`);
    }
  }
}

/** Depth first, without recursion: chains may be as long as the file. */
function expand(start: Body, done: Map<Body, Expansion>): Expansion {
  const path: Progress[] = [];
  const onPath = new Set<Body>();
  const enter = (body: Body): void => {
    path.push({ body, callees: body.calls.entries() });
    onPath.add(body);
  };
  if (!done.has(start)) enter(start);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const next = top.callees.next();
    if (next.done) {
      done.set(top.body, sumUp(top.body, done));
      onPath.delete(top.body);
      path.pop();
      continue;
    }
    const [callee] = next.value;
    if (onPath.has(callee))
      throw refusal("function_recursion", `The ${callee.title} calls itself, directly or through others.`);
    if (!done.has(callee)) enter(callee);
  }
  return done.get(start) ?? { nodes: start.nodes, depth: 0 };
}

function sumUp(body: Body, done: ReadonlyMap<Body, Expansion>): Expansion {
  let { nodes } = body;
  let depth = 0;
  for (const [callee, count] of body.calls) {
    const inner = done.get(callee);
    if (inner === undefined) continue;
    nodes += count * inner.nodes;
    depth = Math.max(depth, inner.depth + 1);
  }
  return { nodes, depth };
}

function keyOf(domain: string | undefined, name: string, overload: string | undefined): string {
  const canonical = domain === undefined || domain === "ai.onnx" ? "" : domain;
  return JSON.stringify([canonical, name, overload ?? ""]);
}
