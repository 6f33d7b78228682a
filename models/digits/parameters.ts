/** All weights of a network in one vector, and which part of it is what. */

import { heWeights, type Random } from "../onnx/random.ts";

export interface ParameterEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly count: number;
  /** Inputs of one output, for the size of the first weights; 0 begins with `start` everywhere. */
  readonly fanIn: number;
  readonly start: number;
}

export class ParameterLayout {
  readonly entries: ParameterEntry[] = [];
  count = 0;

  add(name: string, shape: readonly number[], { fanIn = 0, start = 0 } = {}): void {
    const count = shape.reduce((product, size) => product * size, 1);
    this.entries.push({ name, shape, offset: this.count, count, fanIn, start });
    this.count += count;
  }

  initial(random: Random): Float32Array {
    const parameters = new Float32Array(this.count);
    for (const { offset, count, fanIn, start } of this.entries) {
      const values = fanIn > 0 ? heWeights(random, count, fanIn) : new Float32Array(count).fill(start);
      parameters.set(values, offset);
    }
    return parameters;
  }

  /** The part of `parameters` that belongs to `name`: a view. */
  view(parameters: Float32Array, name: string): Float32Array {
    const entry = this.entries.find((candidate) => candidate.name === name);
    if (entry === undefined) throw new Error(`no parameter of the name ${name}`);
    return parameters.subarray(entry.offset, entry.offset + entry.count);
  }
}
