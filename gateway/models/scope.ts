/** Which values of a graph are constants, as a node inside of it sees them. */

import { numbersOf, type OnnxNode, type OnnxTensor } from "@legacygpu/shared/onnx";

/** A shape of more numbers is none. */
const MAX_NUMBERS = 1024;

export class Scope {
  readonly #parent: Scope | undefined;
  readonly #tensors = new Map<string, OnnxTensor>();
  readonly #numbers = new Map<string, readonly number[]>();

  constructor(parent?: Scope) {
    this.#parent = parent;
  }

  addTensor(name: string, tensor: OnnxTensor): void {
    this.#tensors.set(name, tensor);
  }

  /** Takes note of a node that makes a constant. */
  addNode({ opType, output, attribute }: OnnxNode): void {
    const name = output?.[0];
    if (opType !== "Constant" || name === undefined) return;
    for (const { name: kind, t, i, f, ints, floats } of attribute ?? []) {
      if (kind === "value" && t !== undefined) this.#tensors.set(name, t);
      else if (kind === "value_int") this.#numbers.set(name, [i ?? 0]);
      else if (kind === "value_float") this.#numbers.set(name, [f ?? 0]);
      else if (kind === "value_ints") this.#numbers.set(name, ints ?? []);
      else if (kind === "value_floats") this.#numbers.set(name, floats ?? []);
    }
  }

  /** A constant's tensor. Graphs within graphs are few: the walk limits them. */
  tensor(name: string | undefined): OnnxTensor | undefined {
    if (name === undefined || name === "") return undefined;
    return this.#tensors.get(name) ?? this.#parent?.tensor(name);
  }

  /** A constant's few numbers; undefined for what is not constant or no shape. */
  numbers(name: string | undefined): readonly number[] | undefined {
    if (name === undefined || name === "") return undefined;
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) return this.#parent?.numbers(name);
    const numbers: number[] = [];
    for (const number of numbersOf(tensor)) {
      if (numbers.length === MAX_NUMBERS) return undefined;
      numbers.push(number);
    }
    return numbers;
  }

  /** A constant truth; undefined when it is computed. */
  truth(name: string | undefined): boolean | undefined {
    const tensor = this.tensor(name);
    const byte = tensor?.rawData?.[0] ?? tensor?.int32Data?.[0]?.[0];
    return byte === undefined ? undefined : byte !== 0;
  }
}
