/** Whether bytes are the elements of a tensor, as the Open Inference Protocol's binary data has them. */

import { isUtf8 } from "node:buffer";
import { ELEMENT_BYTES, elementCount, type Tensor } from "@legacygpu/shared/tensor";

const LENGTH_BYTES = 4;

/** @returns what is wrong with them; undefined: nothing. */
export function checkBytes(tensor: Tensor, model: string): string | undefined {
  const { name, datatype, shape, data } = tensor;
  const count = elementCount(shape);
  if (datatype === "BYTES") return checkTexts(tensor, count, model);
  const expected = count * ELEMENT_BYTES[datatype];
  if (data.length !== expected)
    return `input byte size mismatch for input '${name}' for model '${model}'. Expected ${expected}, got ${data.length}`;
  // An engine may take any other byte for true, for false or for neither.
  if (datatype === "BOOL" && data.some((byte) => byte > 1))
    return `input '${name}' for model '${model}' has a BOOL element that is neither 0 nor 1`;
  return undefined;
}

/** Models take texts: other bytes would arrive as something else. */
function checkTexts({ name, shape, data }: Tensor, count: number, model: string): string | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let found = 0;
  for (let offset = 0; offset < data.length; found += 1) {
    if (offset + LENGTH_BYTES > data.length) return unfinished(name, found, model);
    const begin = offset + LENGTH_BYTES;
    offset = begin + view.getUint32(offset, true);
    if (offset > data.length) return unfinished(name, found, model);
    if (!isUtf8(data.subarray(begin, offset)))
      return `element ${found} of input '${name}' for model '${model}' is not UTF-8`;
  }
  if (found === count) return undefined;
  return `expected ${count} string elements for inference input '${name}' of shape [${shape}] for model '${model}', got ${found}`;
}

function unfinished(name: string, index: number, model: string): string {
  return `incomplete string data for inference input '${name}' for model '${model}': element ${index} goes on beyond the end`;
}
