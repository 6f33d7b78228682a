/** What goes into a model that changes nothing comes out of it: every datatype, in every form that the protocol has. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connect } from "node:tls";
import { deflateSync, gzipSync } from "node:zlib";
import type { Datatype } from "@legacygpu/shared/tensor";
import { GraphBuilder } from "../../../models/onnx/graph-builder.ts";
import { binaryBody, bytesOf, ProtocolRig, texts } from "./protocol-rig.ts";

let rig: ProtocolRig;

/** Elements as JSON writes them, and as bytes. FP16 has no JSON. */
const SAMPLES: Readonly<Record<Datatype, { readonly json?: string; readonly bytes: Buffer }>> = {
  BOOL: { json: "[true,false,true]", bytes: Buffer.of(1, 0, 1) },
  UINT8: { json: "[0,1,255]", bytes: Buffer.of(0, 1, 255) },
  UINT16: { json: "[0,1,65535]", bytes: bytesOf(Uint16Array.of(0, 1, 65535)) },
  UINT32: { json: "[0,1,4294967295]", bytes: bytesOf(Uint32Array.of(0, 1, 4294967295)) },
  UINT64: {
    json: "[0,9007199254740993,18446744073709551615]",
    bytes: bytesOf(BigUint64Array.of(0n, 9007199254740993n, 18446744073709551615n)),
  },
  INT8: { json: "[-128,0,127]", bytes: bytesOf(Int8Array.of(-128, 0, 127)) },
  INT16: { json: "[-32768,0,32767]", bytes: bytesOf(Int16Array.of(-32768, 0, 32767)) },
  INT32: { json: "[-2147483648,0,2147483647]", bytes: bytesOf(Int32Array.of(-2147483648, 0, 2147483647)) },
  INT64: {
    json: "[-9223372036854775808,9007199254740993,9223372036854775807]",
    bytes: bytesOf(BigInt64Array.of(-9223372036854775808n, 9007199254740993n, 9223372036854775807n)),
  },
  FP16: { bytes: bytesOf(Uint16Array.of(0x3c00, 0xc000, 0x7bff)) },
  FP32: { json: "[0.5,-2,1024.25]", bytes: bytesOf(Float32Array.of(0.5, -2, 1024.25)) },
  FP64: {
    json: "[0.1,100000000000000000000,1e+300]",
    bytes: bytesOf(Float64Array.of(0.1, 1e20, 1e300)),
  },
  BYTES: { json: '["","ein Wort","日本"]', bytes: texts("", "ein Wort", "日本") },
};
const DATATYPES = Object.keys(SAMPLES) as Datatype[];
const modelOf = (datatype: Datatype): string => `id-${datatype.toLowerCase()}`;

before(async () => {
  rig = await ProtocolRig.start();
  await rig.startAgent();
  for (const datatype of DATATYPES) await rig.pushIdentity(modelOf(datatype), datatype, ["N"]);
  const graph = new GraphBuilder("pair");
  graph.output("p", "FP32", ["N"], graph.input("a", "FP32", ["N"]));
  graph.output("q", "INT64", ["M"], graph.input("b", "INT64", ["M"]));
  assert.equal((await rig.gateway.push("pair", graph.encode())).status, 201);
  await rig.pushIdentity("id-rows", "FP32", ["N", 3]);
  await rig.pushIdentity("id-text", "BYTES", [1]);
});
after(() => rig.close());

describe("every datatype", () => {
  for (const datatype of DATATYPES) {
    const { json, bytes } = SAMPLES[datatype];
    if (json !== undefined) {
      test(`${datatype} in JSON, both ways, to the last digit`, async () => {
        const body = Buffer.from(
          `{"inputs":[{"name":"x","datatype":"${datatype}","shape":[3],"data":${json}}]}`,
        );
        const answer = await rig.infer(modelOf(datatype), body);
        assert.equal(answer.status, 200, answer.jsonText);
        assert.equal(answer.headers.get("content-type"), "application/json");
        assert.equal(answer.headers.get("inference-header-content-length"), null);
        assert.ok(answer.jsonText.includes(`"data":${json}`), answer.jsonText);
        assert.deepEqual(answer.json.outputs[0].shape, [3]);
        assert.equal(answer.json.outputs[0].parameters, undefined);
      });
    }

    test(`${datatype} as bytes, both ways`, async () => {
      const answer = await rig.inferBinary(modelOf(datatype), datatype, [3], bytes);
      assert.equal(answer.status, 200, answer.jsonText);
      assert.equal(answer.headers.get("content-type"), "application/octet-stream");
      assert.deepEqual(answer.json.outputs, [
        { name: "y", datatype, shape: [3], parameters: { binary_data_size: bytes.length } },
      ]);
      assert.deepEqual(answer.binary, bytes);
      const total = answer.jsonText.length + bytes.length;
      assert.equal(answer.headers.get("content-length"), String(total));
    });

    test(`${datatype} without elements, in both forms`, async () => {
      const empty = await rig.inferBinary(modelOf(datatype), datatype, [0], Buffer.alloc(0));
      assert.equal(empty.status, 200, empty.jsonText);
      assert.equal(empty.headers.get("content-type"), "application/json");
      assert.equal(empty.headers.get("inference-header-content-length"), null);
      assert.deepEqual(empty.json.outputs[0].parameters, { binary_data_size: 0 });
      if (json === undefined) return;
      const inputs = [{ name: "x", datatype, shape: [0], data: [] }];
      assert.deepEqual((await rig.infer(modelOf(datatype), { inputs })).json.outputs[0].data, []);
    });
  }

  test("numbers that are none are null in JSON, and themselves as bytes", async () => {
    const bytes = bytesOf(Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, 1));
    assert.deepEqual((await rig.inferBinary("id-fp32", "FP32", [3], bytes)).binary, bytes);
    const { body, headers } = binaryBody(
      { inputs: [{ name: "x", datatype: "FP32", shape: [3], parameters: { binary_data_size: 12 } }] },
      bytes,
    );
    assert.deepEqual((await rig.infer("id-fp32", body, headers)).json.outputs[0].data, [null, null, 1]);
  });
});

describe("forms of a request", () => {
  const a = bytesOf(Float32Array.of(1.5, 2.5));
  const b = bytesOf(BigInt64Array.of(7n));
  const binary = (bytes: Buffer): object => ({ parameters: { binary_data_size: bytes.length } });

  test("two binary inputs lie one behind the other, in the order of the JSON, at whatever alignment", async () => {
    const inputs = [
      { name: "b", datatype: "INT64", shape: [1], ...binary(b) },
      { name: "a", datatype: "FP32", shape: [2], ...binary(a) },
    ];
    for (const id of ["", "x", "xx", "xxx", "xxxx"]) {
      const { body, headers } = binaryBody({ id, inputs, parameters: { binary_data_output: true } }, b, a);
      const answer = await rig.infer("pair", body, headers);
      assert.equal(answer.status, 200, answer.jsonText);
      assert.equal(answer.json.id, id === "" ? undefined : id);
      assert.deepEqual(answer.binary, Buffer.concat([a, b]));
    }
  });

  test("JSON and bytes mix, in the request and in the answer, which keeps the order that was asked for", async () => {
    const inputs = [
      { name: "a", datatype: "FP32", shape: [2], data: [1.5, 2.5] },
      { name: "b", datatype: "INT64", shape: [1], ...binary(b) },
    ];
    const outputs = [{ name: "q" }, { name: "p", parameters: { binary_data: true } }];
    const { body, headers } = binaryBody({ inputs, outputs }, b);
    const answer = await rig.infer("pair", body, headers);
    assert.deepEqual(answer.json.outputs, [
      { name: "q", datatype: "INT64", shape: [1], data: [7] },
      { name: "p", datatype: "FP32", shape: [2], parameters: { binary_data_size: 8 } },
    ]);
    assert.deepEqual(answer.binary, a);
  });

  test("an output's own wish goes before the request's", async () => {
    const inputs = [
      { name: "a", datatype: "FP32", shape: [2], data: [1.5, 2.5] },
      { name: "b", datatype: "INT64", shape: [1], data: [7] },
    ];
    const outputs = [{ name: "p", parameters: { binary_data: false } }, { name: "q" }];
    const answer = await rig.infer("pair", { inputs, outputs, parameters: { binary_data_output: true } });
    assert.deepEqual(answer.json.outputs[0].data, [1.5, 2.5]);
    assert.deepEqual(answer.binary, b);
  });

  test("only the outputs that were asked for come", async () => {
    const inputs = [
      { name: "a", datatype: "FP32", shape: [2], data: [1.5, 2.5] },
      { name: "b", datatype: "INT64", shape: [1], data: [7] },
    ];
    const answer = await rig.infer("pair", { inputs, outputs: [{ name: "q" }] });
    assert.deepEqual(
      answer.json.outputs.map(({ name }: { name: string }) => name),
      ["q"],
    );
  });

  test("a header length of the whole body, and null for what is not given, are as some clients write them", async () => {
    const inputs = [{ name: "x", datatype: "FP32", shape: [1], data: [2], parameters: null }];
    const { body, headers } = binaryBody({ id: null, parameters: null, outputs: null, inputs });
    assert.deepEqual((await rig.infer("id-fp32", body, headers)).json.outputs[0].data, [2]);
  });

  test("a raw body is the one input, and its size tells the free dimension", async () => {
    const raw = { "inference-header-content-length": "0" };
    const rows = bytesOf(Float32Array.of(1, 2, 3, 4, 5, 6));
    const answer = await rig.infer("id-rows", rows, raw);
    assert.equal(answer.status, 200, answer.jsonText);
    assert.deepEqual(answer.json.outputs[0].shape, [2, 3]);
    assert.deepEqual(answer.binary, rows);
    const text = await rig.infer("id-text", Buffer.from("ein Satz"), raw);
    assert.deepEqual(text.binary, texts("ein Satz"), text.jsonText);
  });

  for (const [coding, pack] of [
    ["gzip", gzipSync],
    ["deflate", deflateSync],
  ] as const) {
    test(`a body in ${coding} counts its JSON part uncompressed, and so does the answer`, async () => {
      const bytes = bytesOf(new Float32Array(3000).fill(0.25));
      const header = {
        inputs: [{ name: "x", datatype: "FP32", shape: [3000], parameters: { binary_data_size: 12_000 } }],
        parameters: { binary_data_output: true },
      };
      const { body, headers } = binaryBody(header, bytes);
      const answer = await rig.infer("id-fp32", pack(body), {
        ...headers,
        "content-encoding": coding,
        "accept-encoding": `${coding};q=0.8, identity;q=0.1`,
      });
      assert.equal(answer.status, 200, answer.jsonText);
      assert.equal(answer.headers.get("content-encoding"), coding);
      assert.ok(Number(answer.headers.get("content-length")) < 2000);
      // The client has inflated it, as theirs do.
      assert.deepEqual(answer.binary, bytes);
    });
  }

  test("a body that comes in many pieces is one body", async () => {
    const values = Float32Array.from({ length: 20_000 }, (_, index) => index);
    const header = {
      inputs: [{ name: "x", datatype: "FP32", shape: [20_000], parameters: { binary_data_size: 80_000 } }],
      parameters: { binary_data_output: true },
    };
    const { body, headers } = binaryBody(header, bytesOf(values));
    const answer = await inPieces(body, headers, [1, 2, 100, 101, 5_000, 5_001, 60_000, 79_999]);
    assert.ok(answer.subarray(-80_000).equals(bytesOf(values)));
  });
});

/** Each piece is a TLS record of its own. */
function inPieces(body: Buffer, headers: Readonly<Record<string, string>>, cuts: number[]): Promise<Buffer> {
  const { hostname, port } = new URL(rig.gateway.url);
  const head = [
    "POST /v2/models/id-fp32/infer HTTP/1.1",
    `Host: ${hostname}`,
    `Authorization: Bearer ${rig.gateway.adminKey}`,
    `Content-Length: ${body.length}`,
    "Connection: close",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ].join("\r\n");
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const ca = rig.gateway.gateway.caPem;
    const socket = connect({ host: "127.0.0.1", port: Number(port), servername: hostname, ca }, async () => {
      socket.setNoDelay(true);
      socket.write(`${head}\r\n\r\n`);
      for (const [index, from] of [0, ...cuts].entries()) {
        socket.write(body.subarray(from, cuts[index] ?? body.length));
        await new Promise((next) => setImmediate(next));
      }
    });
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("end", () => resolve(Buffer.concat(chunks)));
    socket.on("error", reject);
  });
}

test("a model that ranks classes gives its scores as well, named or not", async () => {
  await rig.gateway.pushDigits();
  const input = {
    name: "image",
    datatype: "FP32",
    shape: [1, 3, 48, 48],
    data: new Array(3 * 48 * 48).fill(0),
  };
  for (const outputs of [undefined, [{ name: "logits" }]]) {
    const json = { inputs: [input], ...(outputs && { outputs }) };
    const { status, body } = await rig.gateway.call("POST", "/v2/models/digits/infer", { json });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual([body.outputs[0].name, body.outputs[0].data.length], ["logits", 10]);
    assert.ok(body.predictions.length > 0);
  }
});
