/**
 * ONNX models as plain objects: the part of onnx.proto that we read and write.
 *
 * The elements of tensors stay the bytes that they are in the file.
 */

import type { Datatype } from "../tensor.ts";

export interface OnnxDimension {
  readonly dimValue?: number;
  readonly dimParam?: string;
}
/** One of the members is set. Only tensors can be served; the others are here so that they can be named in an error. */
export interface OnnxType {
  readonly tensorType?: {
    readonly elemType?: number;
    readonly shape?: { readonly dim?: readonly OnnxDimension[] };
  };
  readonly sequenceType?: { readonly elemType?: OnnxType };
  readonly mapType?: { readonly keyType?: number; readonly valueType?: OnnxType };
  readonly sparseTensorType?: { readonly elemType?: number };
  readonly optionalType?: { readonly elemType?: OnnxType };
}
export interface OnnxValueInfo {
  readonly name: string;
  readonly type?: OnnxType;
}
export interface OnnxTensor {
  readonly name?: string;
  readonly dims?: readonly number[];
  readonly dataType?: number;
  readonly rawData?: Uint8Array;
  /** Elements that are not in `rawData`: each entry is one packed array of protobuf; see tensor-data.ts. */
  readonly floatData?: readonly Uint8Array[];
  readonly int32Data?: readonly Uint8Array[];
  readonly int64Data?: readonly Uint8Array[];
  readonly doubleData?: readonly Uint8Array[];
  readonly uint64Data?: readonly Uint8Array[];
  /** One entry for each string. */
  readonly stringData?: readonly Uint8Array[];
  /** Where the weights lie when they are in another file: `location`, `offset`, `length`. */
  readonly externalData?: readonly { readonly key: string; readonly value: string }[];
  /** 1: in another file. */
  readonly dataLocation?: number;
}
export interface OnnxSparseTensor {
  readonly values?: OnnxTensor;
  readonly indices?: OnnxTensor;
  /** Of the dense tensor. */
  readonly dims?: readonly number[];
}
export interface OnnxAttribute {
  readonly name: string;
  /** A value of {@link ATTRIBUTE_TYPE}. */
  readonly type?: number;
  readonly f?: number;
  readonly i?: number;
  readonly s?: Uint8Array;
  readonly t?: OnnxTensor;
  readonly g?: OnnxGraph;
  readonly sparseTensor?: OnnxSparseTensor;
  readonly floats?: readonly number[];
  readonly ints?: readonly number[];
  readonly strings?: readonly Uint8Array[];
  readonly tensors?: readonly OnnxTensor[];
  readonly graphs?: readonly OnnxGraph[];
  readonly sparseTensors?: readonly OnnxSparseTensor[];
}
export interface OnnxNode {
  readonly name?: string;
  readonly opType: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly input?: readonly string[];
  readonly output?: readonly string[];
  readonly attribute?: readonly OnnxAttribute[];
}
export interface OnnxGraph {
  readonly name?: string;
  readonly node?: readonly OnnxNode[];
  readonly initializer?: readonly OnnxTensor[];
  readonly sparseInitializer?: readonly OnnxSparseTensor[];
  readonly input?: readonly OnnxValueInfo[];
  readonly output?: readonly OnnxValueInfo[];
}
export interface OnnxFunction {
  readonly name: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly input?: readonly string[];
  readonly output?: readonly string[];
  readonly node?: readonly OnnxNode[];
  /** Attributes with default values. */
  readonly attributeProto?: readonly OnnxAttribute[];
}
export interface OnnxTrainingInfo {
  readonly initialization?: OnnxGraph;
  readonly algorithm?: OnnxGraph;
}
export interface OnnxModel {
  readonly irVersion: number;
  readonly producerName?: string;
  readonly opsetImport?: readonly { readonly domain?: string; readonly version: number }[];
  readonly graph: OnnxGraph;
  readonly functions?: readonly OnnxFunction[];
  readonly trainingInfo?: readonly OnnxTrainingInfo[];
}

export const ATTRIBUTE_TYPE = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

const ELEM_TYPES: Readonly<Record<Datatype, number>> = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BYTES: 8,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
};
const DATATYPE_BY_ELEM_TYPE = new Map(
  (Object.keys(ELEM_TYPES) as Datatype[]).map((datatype) => [ELEM_TYPES[datatype], datatype]),
);

/** ONNX's number of an element type. */
export function elemTypeOf(datatype: Datatype): number {
  return ELEM_TYPES[datatype];
}

/** The datatype of an ONNX element type; undefined for those that cannot travel (bfloat16, float8, complex, int4). */
export function datatypeOf(elemType: number): Datatype | undefined {
  return DATATYPE_BY_ELEM_TYPE.get(elemType);
}
