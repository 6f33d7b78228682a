/** The wire format of the messages in model.ts, compiled once for protobufjs. */

import protobuf from "protobufjs/light.js";

/**
 * Message → field → "number type"; a trailing `*` is repeated. Unpacked, as in onnx.proto (proto2), except for the
 * elements of tensors: a packed array is read as the bytes that it is, without a copy.
 */
const SCHEMA: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Model: {
    irVersion: "1 int64",
    producerName: "2 string",
    graph: "7 Graph",
    opsetImport: "8 OpsetId*",
    trainingInfo: "20 TrainingInfo*",
    functions: "25 Function*",
  },
  TrainingInfo: { initialization: "1 Graph", algorithm: "2 Graph" },
  OpsetId: { domain: "1 string", version: "2 int64" },
  Function: {
    name: "1 string",
    input: "4 string*",
    output: "5 string*",
    node: "7 Node*",
    domain: "10 string",
    attributeProto: "11 Attribute*",
    overload: "13 string",
  },
  Graph: {
    node: "1 Node*",
    name: "2 string",
    initializer: "5 Tensor*",
    input: "11 ValueInfo*",
    output: "12 ValueInfo*",
    sparseInitializer: "15 SparseTensor*",
  },
  Node: {
    input: "1 string*",
    output: "2 string*",
    name: "3 string",
    opType: "4 string",
    attribute: "5 Attribute*",
    domain: "7 string",
    overload: "8 string",
  },
  Attribute: {
    name: "1 string",
    f: "2 float",
    i: "3 int64",
    s: "4 bytes",
    t: "5 Tensor",
    g: "6 Graph",
    floats: "7 float*",
    ints: "8 int64*",
    strings: "9 bytes*",
    tensors: "10 Tensor*",
    graphs: "11 Graph*",
    type: "20 int32",
    sparseTensor: "22 SparseTensor",
    sparseTensors: "23 SparseTensor*",
  },
  Tensor: {
    dims: "1 int64*",
    dataType: "2 int32",
    floatData: "4 bytes*",
    int32Data: "5 bytes*",
    stringData: "6 bytes*",
    int64Data: "7 bytes*",
    name: "8 string",
    rawData: "9 bytes",
    doubleData: "10 bytes*",
    uint64Data: "11 bytes*",
    externalData: "13 StringEntry*",
    dataLocation: "14 int32",
  },
  StringEntry: { key: "1 string", value: "2 string" },
  SparseTensor: { values: "1 Tensor", indices: "2 Tensor", dims: "3 int64*" },
  ValueInfo: { name: "1 string", type: "2 ValueType" },
  ValueType: {
    tensorType: "1 TensorType",
    sequenceType: "4 ElementType",
    mapType: "5 MapType",
    sparseTensorType: "8 TensorType",
    optionalType: "9 ElementType",
  },
  TensorType: { elemType: "1 int32", shape: "2 Shape" },
  ElementType: { elemType: "1 ValueType" },
  MapType: { keyType: "1 int32", valueType: "2 ValueType" },
  Shape: { dim: "1 Dimension*" },
  Dimension: { dimValue: "1 int64", dimParam: "2 string" },
};

function compileField(text: string): protobuf.IField {
  const [id, type = ""] = text.split(" ");
  return type.endsWith("*")
    ? { id: Number(id), type: type.slice(0, -1), rule: "repeated" }
    : { id: Number(id), type };
}

function compileSchema(): protobuf.Root {
  const nested: Record<string, protobuf.IType> = {};
  for (const [message, fields] of Object.entries(SCHEMA)) {
    const compiled = Object.entries(fields).map(([name, text]) => [name, compileField(text)]);
    nested[message] = { fields: Object.fromEntries(compiled) as Record<string, protobuf.IField> };
  }
  const root = protobuf.Root.fromJSON({ nested });
  root.resolveAll();
  return root;
}

export const modelType = compileSchema().lookupType("Model");
