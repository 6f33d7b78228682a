/** Whether the tensors of a model are what they say: in the file, of a sensible size, and as long as declared. */

import {
  declaredElements,
  elementBits,
  heldBits,
  isInItsField,
  numbersOf,
  type OnnxSparseTensor,
  type OnnxTensor,
  STRING_ELEMENTS,
} from "@legacygpu/shared/onnx";
import { refusal, type ScanPolicy, shown } from "./scan-policy.ts";

const INT64 = 7;

/** Checks tensors one after the other and adds up what they take. */
export class TensorScan {
  readonly #policy: ScanPolicy;
  #totalBytes = 0;

  constructor(policy: ScanPolicy) {
    this.#policy = policy;
  }

  /** @throws `model_invalid` */
  check(tensor: OnnxTensor): void {
    const name = shown(tensor.name);
    // Weights in other files would be read from wherever the path points to, on the worker's disk.
    if ((tensor.externalData?.length ?? 0) > 0 || (tensor.dataLocation ?? 0) !== 0) {
      throw refusal(
        "external_data",
        `The weights of ${name} are in another file; save the model as one file.`,
      );
    }
    const elements = this.#elementsOf(tensor.dims ?? [], name);
    const bits = elementBits(tensor.dataType ?? 0);
    if (bits === undefined)
      throw refusal("tensor_type", `Tensor ${name} has the unknown element type ${tensor.dataType ?? 0}.`);
    const sizeBytes = Math.ceil((elements * bits) / 8);
    this.#spend(sizeBytes, name);
    if (!isInItsField(tensor))
      throw refusal("tensor_data", `The elements of tensor ${name} are in a field of another type.`);
    if (!holds(tensor, elements, sizeBytes)) {
      throw refusal(
        "tensor_data",
        `Tensor ${name} declares ${elements} elements (${sizeBytes} bytes) and holds something else.`,
      );
    }
  }

  /** @throws `model_invalid` */
  checkSparse({ values, indices, dims = [] }: OnnxSparseTensor): void {
    const name = shown(values?.name);
    if (values === undefined) throw refusal("sparse_tensor", "A sparse tensor has no values.");
    this.check(values);
    const elements = this.#elementsOf(dims, name);
    // The engine makes a dense tensor of it.
    this.#spend(Math.ceil((elements * (elementBits(values.dataType ?? 0) ?? 0)) / 8), name);
    if (indices === undefined) return;
    this.check(indices);
    if (indices.dataType !== INT64 || !areInside(indices, declaredElements(values.dims ?? []) ?? 0, dims))
      throw refusal("sparse_tensor", `The indices of the sparse tensor ${name} do not fit its shape.`);
  }

  #elementsOf(dims: readonly number[], name: string): number {
    const elements = declaredElements(dims);
    if (elements === undefined)
      throw refusal("tensor_dims", `Tensor ${name} has a negative dimension: [${dims.slice(0, 8)}].`);
    return elements;
  }

  #spend(sizeBytes: number, name: string): void {
    const { maxTensorBytes, maxTotalTensorBytes } = this.#policy;
    if (sizeBytes > maxTensorBytes)
      throw refusal("tensor_too_large", `Tensor ${name} declares more than ${maxTensorBytes} bytes.`);
    this.#totalBytes += sizeBytes;
    if (this.#totalBytes > maxTotalTensorBytes)
      throw refusal("tensor_too_large", `All tensors together declare over ${maxTotalTensorBytes} bytes.`);
  }
}

function holds(tensor: OnnxTensor, elements: number, sizeBytes: number): boolean {
  if (tensor.dataType === STRING_ELEMENTS) return (tensor.stringData?.length ?? 0) === elements;
  const bits = heldBits(tensor);
  return bits !== undefined && Math.ceil(bits / 8) === sizeBytes;
}

/** Indices count through the whole tensor, [count], or name each dimension, [count, rank]. */
function areInside(indices: OnnxTensor, count: number, dims: readonly number[]): boolean {
  const shape = indices.dims ?? [];
  const isFlat = shape.length === 1;
  if (!isFlat && (shape.length !== 2 || shape[1] !== dims.length)) return false;
  if (shape[0] !== count) return false;
  const limits = isFlat ? [declaredElements(dims) ?? 0] : dims;
  let position = 0;
  for (const index of numbersOf(indices)) {
    if (!(index >= 0 && index < (limits[position] ?? 0))) return false;
    position = (position + 1) % limits.length;
  }
  return true;
}
