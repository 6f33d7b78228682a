/** Inputs of several tasks as one, along the first dimension, and the output of that run as one output for each. */

import { ELEMENT_BYTES, elementCount, type Tensor } from "@legacygpu/shared/tensor";

/** What one task brings into a batch. */
export interface BatchPart {
  readonly rows: number;
  /** Parts of the same kind can be joined: same names, datatypes, sizes of a row, and wanted outputs. */
  readonly kind: string;
  /** By name. */
  readonly tensors: readonly Tensor[];
}

/** Undefined when it must run alone: without rows, with inputs of different lengths, or with bytes that do not fill their shape. */
export function partOf(
  given: readonly Tensor[],
  outputs: readonly string[] | undefined,
): BatchPart | undefined {
  const tensors = given.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const rows = tensors[0]?.shape[0] ?? 0;
  // Bytes too many or too few would become a neighbour's.
  if (rows < 1 || !tensors.every((tensor) => tensor.shape[0] === rows && isFilled(tensor))) return undefined;
  const inputs = tensors.map(({ name, datatype, shape }) => [name, datatype, ...shape.slice(1)]);
  return { rows, kind: JSON.stringify([inputs, outputs]), tensors };
}

/** @param parts at least one, all of one kind. */
export function joinParts(parts: readonly BatchPart[]): Tensor[] {
  const [first] = parts;
  if (first === undefined) throw new RangeError("There is nothing to join.");
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  return first.tensors.map(({ name, datatype, shape }, index) => ({
    name,
    datatype,
    shape: [rows, ...shape.slice(1)],
    data: concatenated(parts.map(({ tensors }) => (tensors[index] as Tensor).data)),
  }));
}

/**
 * The rows of each part. The data are views.
 *
 * @returns a sentence when some tensor does not have one row for each row of the input.
 */
export function splitRows(tensors: readonly Tensor[], partRows: readonly number[]): Tensor[][] | string {
  const rows = partRows.reduce((sum, count) => sum + count, 0);
  for (const { name, shape } of tensors)
    if (shape[0] !== rows) return `output \`${name}\` is [${shape.join(", ")}] for ${rows} rows of input`;
  const ends = tensors.map((tensor) => rowEnds(tensor, rows));
  let from = 0;
  return partRows.map((count) => {
    const to = from + count;
    const part = tensors.map(({ name, datatype, shape, data }, index) => ({
      name,
      datatype,
      shape: [count, ...shape.slice(1)],
      data: data.subarray(ends[index]?.(from), ends[index]?.(to)),
    }));
    from = to;
    return part;
  });
}

/** Where the first `row` rows end, in bytes. */
function rowEnds({ datatype, shape, data }: Tensor, rows: number): (row: number) => number {
  if (datatype !== "BYTES") return (row) => (row * data.length) / rows;
  const ends = stringEnds(data);
  const perRow = elementCount(shape.slice(1));
  return (row) => ends[row * perRow] ?? data.length;
}

function isFilled({ datatype, shape, data }: Tensor): boolean {
  const count = elementCount(shape);
  if (datatype !== "BYTES") return data.length === count * ELEMENT_BYTES[datatype];
  const ends = stringEnds(data);
  return ends.length === count + 1 && ends[count] === data.length;
}

/** Where the first 0, 1, 2 … BYTES elements end; what is no element any more is left out. */
function stringEnds(data: Uint8Array): number[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const ends = [0];
  let end = 0;
  while (end + 4 <= data.length) {
    end += 4 + view.getUint32(end, true);
    if (end > data.length) break;
    ends.push(end);
  }
  return ends;
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
