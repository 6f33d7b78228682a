/** Every error of every path of the protocol: its status, its text, and the field that the clients read. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";
import { GraphBuilder } from "../../../models/onnx/graph-builder.ts";
import type { Answer } from "../../support/gateway-rig.ts";
import { until } from "../../support/until.ts";
import { binaryBody, bytesOf, type Headers, type InferAnswer, ProtocolRig, texts } from "./protocol-rig.ts";

const LIMIT_BYTES = 200_000;
let rig: ProtocolRig;

before(async () => {
  rig = await ProtocolRig.start({
    maxBodyBytes: LIMIT_BYTES,
    queueLimits: { maxTasks: 2, maxTasksPerKey: 1, maxBytes: 2 ** 30, maxBytesPerKey: 2 ** 30 },
  });
  await rig.pushIdentity("fp32", "FP32", ["N"]);
  await rig.pushIdentity("fp16", "FP16", ["N"]);
  await rig.pushIdentity("bool", "BOOL", ["N"]);
  await rig.pushIdentity("text", "BYTES", ["N"]);
  await rig.pushIdentity("plane", "FP32", ["H", "W"]);
  await rig.pushIdentity("rows", "FP32", ["N", 3]);
  const pair = new GraphBuilder("pair");
  pair.output("p", "FP32", ["N", 2], pair.input("a", "FP32", ["N", 2]));
  pair.output("q", "FP32", ["N", 2], pair.input("b", "FP32", ["N", 2]));
  const pushed = await rig.gateway.push("pair", pair.encode(), {
    batching: { max_size: 8, max_delay_ms: 0 },
  });
  assert.equal(pushed.status, 201, JSON.stringify(pushed.body));
});
after(() => rig.close());

type Refused = Pick<InferAnswer, "status" | "json" | "jsonText">;

function assertError({ status, json, jsonText }: Refused, expected: number, text: RegExp | string): void {
  assert.equal(status, expected, jsonText);
  assert.equal(typeof json.error, "string", jsonText);
  if (typeof text === "string") assert.ok(json.error.includes(text), `${json.error} has not: ${text}`);
  else assert.match(json.error, text);
}

const asRefused = ({ status, body }: Answer): Refused => ({
  status,
  json: body,
  jsonText: JSON.stringify(body),
});
const x = (more: object): object => ({ inputs: [{ name: "x", ...more }] });
const two = bytesOf(Float32Array.of(1, 2));

describe("the JSON of a request", () => {
  const cases: [what: string, model: string, body: object | Buffer, status: number, text: RegExp | string][] =
    [
      ["nothing", "fp32", Buffer.alloc(0), 400, /empty/],
      ["no JSON", "fp32", Buffer.from("{"), 400, /Malformed JSON/],
      ["no inputs", "fp32", {}, 400, /inputs/],
      ["an unknown model", "none", {}, 404, "Request for unknown model: 'none' is not found"],
      [
        "an unknown version",
        "fp32/versions/3",
        {},
        404,
        "Request for unknown model: 'fp32' version 3 is not found",
      ],
      [
        "an unknown input",
        "fp32",
        { inputs: [{ name: "z", datatype: "FP32", shape: [1], data: [1] }] },
        400,
        "unexpected inference input 'z' for model 'fp32'",
      ],
      [
        "too few inputs",
        "pair",
        { inputs: [{ name: "a", datatype: "FP32", shape: [1, 2], data: [1, 2] }] },
        400,
        "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) ['a'], but missing required input(s) ['b']",
      ],
      [
        "another datatype",
        "fp32",
        x({ datatype: "INT64", shape: [1], data: [1] }),
        400,
        "inference input 'x' data-type is 'INT64', but model 'fp32' expects 'FP32'",
      ],
      [
        "a datatype that there is not",
        "fp32",
        x({ datatype: "FP8", shape: [1], data: [1] }),
        400,
        /datatype/,
      ],
      ["BF16", "fp32", x({ datatype: "BF16", shape: [1], data: [1] }), 501, /BF16 is not supported/],
      [
        "another shape",
        "rows",
        x({ datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }),
        400,
        "unexpected shape for input 'x' for model 'rows'. Expected [-1,3], got [1,4]",
      ],
      ["a negative dimension", "fp32", x({ datatype: "FP32", shape: [-1], data: [] }), 400, /shape/],
      [
        "more elements than a machine can count",
        "plane",
        x({ datatype: "FP32", shape: [2 ** 52, 2 ** 52], data: [1] }),
        400,
        /got 1/,
      ],
      ["too few elements", "fp32", x({ datatype: "FP32", shape: [2], data: [1] }), 400, /needs 2.*got 1/],
      [
        "FP16 in JSON",
        "fp16",
        x({ datatype: "FP16", shape: [1], data: [1] }),
        400,
        /FP16 data via JSON is not/,
      ],
      ["neither data nor bytes", "fp32", x({ datatype: "FP32", shape: [1] }), 400, /must set only one of/],
      [
        "data and bytes",
        "fp32",
        x({ datatype: "FP32", shape: [1], data: [1], parameters: { binary_data_size: 4 } }),
        400,
        /must set only one of/,
      ],
      [
        "a size that is none",
        "fp32",
        x({ datatype: "FP32", shape: [1], parameters: { binary_data_size: -4 } }),
        400,
        "Unable to parse 'binary_data_size'",
      ],
      [
        "shared memory",
        "fp32",
        x({ datatype: "FP32", shape: [1], parameters: { shared_memory_region: "r" } }),
        501,
        /shared memory/,
      ],
      [
        "a batch that is too large",
        "pair",
        {
          inputs: ["a", "b"].map((name) => ({
            name,
            datatype: "FP32",
            shape: [9, 2],
            data: new Array(18).fill(0),
          })),
        },
        400,
        "inference request batch-size must be <= 8 for 'pair'",
      ],
      [
        "batches that differ",
        "pair",
        {
          inputs: ["a", "b"].map((name, index) => ({
            name,
            datatype: "FP32",
            shape: [1 + index, 2],
            data: new Array(2 + 2 * index).fill(0),
          })),
        },
        400,
        /batch size does not match/,
      ],
    ];
  for (const [what, model, body, status, text] of cases)
    test(what, async () => assertError(await rig.infer(model, body), status, text));

  const good = { datatype: "FP32", shape: [1], data: [1] };
  for (const [what, outputs, text] of [
    ["an unknown output", [{ name: "z" }], "unexpected inference output 'z' for model 'fp32'"],
    ["one output twice", [{ name: "y" }, { name: "y" }], /twice/],
    ["a wish that is none", [{ name: "y", parameters: { binary_data: 1 } }], "Unable to parse 'binary_data'"],
    ["a negative number of classes", [{ name: "y", parameters: { classification: -1 } }], /'classification'/],
  ] as const)
    test(what, async () => assertError(await rig.infer("fp32", { ...x(good), outputs }), 400, text));

  for (const [name, value, text] of [
    ["priority", "high", "Unable to parse 'priority'"],
    ["priority", -1, "Unable to parse 'priority'"],
    ["timeout", "soon", "Unable to parse 'timeout'"],
    ["binary_data_output", 1, "Unable to parse 'binary_data_output'"],
    ["sequence_start", 1, "Unable to parse 'sequence_start'"],
    ["sequence_id", 7, "sequences are not supported"],
    ["sequence_id", "s", "sequences are not supported"],
    ["triton_enable_empty_final_response", true, "beginning with 'triton_' are reserved"],
    ["mine", { nested: 1 }, "Unable to parse 'mine'"],
  ] as const)
    test(`the parameter ${name}: ${JSON.stringify(value)}`, async () => {
      const answer = await rig.infer("fp32", { ...x(good), parameters: { [name]: value } });
      assertError(answer, 400, text);
    });
});

describe("FP16 that JSON cannot say", () => {
  test("is refused before the model runs, with what to do", async () => {
    const bytes = bytesOf(Uint16Array.of(0x3c00));
    const { body, headers } = binaryBody(
      x({ datatype: "FP16", shape: [1], parameters: { binary_data_size: 2 } }),
      bytes,
    );
    const text =
      "sending FP16 data via JSON is not supported. Please use the binary data format for output 'y'";
    assertError(await rig.infer("fp16", body, headers), 400, text);
  });
});

describe("the bytes of a request", () => {
  const header = (bytes: number, datatype = "FP32", shape = [2]): object =>
    x({ datatype, shape, parameters: { binary_data_size: bytes } });
  const refuse = (
    what: string,
    model: string,
    request: { body: Buffer; headers: Headers },
    text: string | RegExp,
  ): void => {
    test(what, async () => assertError(await rig.infer(model, request.body, request.headers), 400, text));
  };
  const { body, headers } = binaryBody(header(8), two);
  const saying = (length: string): { body: Buffer; headers: Headers } => ({
    body,
    headers: { ...headers, "inference-header-content-length": length },
  });
  for (const length of ["x", "-1", "1.5", "0x10", "99999999999999999999"])
    refuse(
      `a JSON length of ${length}`,
      "fp32",
      saying(length),
      `Unable to parse Inference-Header-Content-Length, got: ${length}`,
    );
  refuse(
    "a JSON length beyond the body",
    "fp32",
    saying(String(body.length + 1)),
    `inference header size should be in range (0, ${body.length}), got: ${body.length + 1}`,
  );
  refuse("a JSON length that cuts the JSON", "fp32", saying("10"), /Malformed JSON/);
  refuse(
    "too little",
    "fp32",
    binaryBody(header(8), two.subarray(0, 5)),
    "unexpected size for input 'x', expecting 3 additional bytes for model 'fp32'",
  );
  refuse(
    "too much",
    "fp32",
    binaryBody(header(8), two, Buffer.of(0)),
    "unexpected additional input data for model 'fp32'",
  );
  refuse(
    "another size than the shape's",
    "fp32",
    binaryBody(header(4), two.subarray(0, 4)),
    "input byte size mismatch for input 'x' for model 'fp32'. Expected 8, got 4",
  );
  refuse("a BOOL that is 2", "bool", binaryBody(header(2, "BOOL"), Buffer.of(0, 2)), /neither 0 nor 1/);
  const short = texts("a");
  refuse("too few texts", "text", binaryBody(header(5, "BYTES"), short), /expected 2 string elements.*got 1/);
  const cut = Buffer.concat([texts("a"), Buffer.of(9, 0, 0, 0, 1)]);
  refuse("a text beyond the end", "text", binaryBody(header(cut.length, "BYTES"), cut), /incomplete string/);
  const half = Buffer.concat([texts("a"), Buffer.of(9, 0)]);
  refuse("half a length", "text", binaryBody(header(half.length, "BYTES"), half), /incomplete string/);
  const foreign = texts("a", Buffer.of(0xff, 0xfe));
  refuse("what is no text", "text", binaryBody(header(foreign.length, "BYTES"), foreign), /not UTF-8/);

  const raw = { "inference-header-content-length": "0" };
  refuse(
    "raw bytes for two inputs",
    "pair",
    { body: two, headers: raw },
    /only valid for a model with one input/,
  );
  refuse("raw bytes for two free dimensions", "plane", { body: two, headers: raw }, /cannot be deduced/);
  refuse("raw bytes that fill no row", "rows", { body: two, headers: raw }, /8 bytes.* no multiple of 12/);
});

describe("compression", () => {
  test("a coding that is not known is 501 and says which are", async () => {
    const answer = await rig.infer("fp32", Buffer.from("{}"), { "content-encoding": "br" });
    assertError(answer, 501, /gzip or deflate/);
    assert.equal(answer.headers.get("accept-encoding"), "gzip, deflate");
  });
  test("what is not compressed as it says is 400", async () => {
    for (const coding of ["gzip", "deflate"])
      assertError(
        await rig.infer("fp32", Buffer.from("{}"), { "content-encoding": coding }),
        400,
        new RegExp(`not ${coding}`),
      );
    const cut = gzipSync(Buffer.from(JSON.stringify(x({})))).subarray(0, 20);
    assertError(await rig.infer("fp32", cut, { "content-encoding": "gzip" }), 400, /not gzip/);
  });
  test("a bomb goes off at the limit of a body", async () => {
    const bomb = Buffer.alloc(LIMIT_BYTES * 100);
    for (const [coding, packed] of [
      ["gzip", gzipSync(bomb)],
      ["deflate", deflateSync(bomb)],
    ] as const) {
      assert.ok(packed.length < LIMIT_BYTES);
      const answer = await rig.infer("fp32", packed, { "content-encoding": coding });
      assertError(answer, 413, /over the limit of 200000 bytes/);
    }
  });
});

describe("what the server itself refuses", () => {
  const call = async (method: string, path: string, init = {}): Promise<Refused> =>
    asRefused(await rig.gateway.call(method, path, init));
  const as = (key: string): object => ({ headers: { authorization: `Bearer ${key}` } });

  test("no credential, a wrong one, and one that does not permit it", async () => {
    assertError(await call("POST", "/v2/models/fp32/infer", as("")), 401, /Authorization/);
    assertError(await call("POST", "/v2/models/fp32/infer", as("lgk_wrong")), 401, /not valid/);
    assertError(
      await call("POST", "/v2/models/fp32/infer", as(await rig.gateway.key("read"))),
      403,
      /submit/,
    );
  });
  test("addresses and methods that there are not", async () => {
    for (const path of [
      "/v2/nothing",
      "/v2/models",
      "/v2/models/fp32/trace/setting",
      "/v2/repository/r/index",
    ])
      assertError(await call("GET", path), 404, /./);
    assertError(await call("PUT", "/v2/models/fp32/infer"), 405, /PUT/);
    assertError(await call("GET", "/v2/repository/index"), 405, /GET/);
  });
  test("models that there are not, everywhere", async () => {
    for (const path of ["", "/ready", "/config", "/stats"]) {
      assertError(await call("GET", `/v2/models/none${path}`), 404, "'none' is not found");
      assertError(await call("GET", `/v2/models/fp32/versions/9${path}`), 404, "version 9 is not found");
    }
    assertError(await call("POST", "/v2/repository/models/none/load"), 404, "'none' is not found");
    assertError(await call("POST", "/v2/repository/models/none/unload"), 404, "'none' is not found");
    assertError(await call("GET", "/v2/models/a%2Fb"), 404, "'a/b' is not found");
    assertError(await call("GET", "/v2/models/%ff"), 400, /percent-encoding/);
  });
  test("a model that no worker has loaded is not ready, and says what to do", async () => {
    const answer = await rig.gateway.call("GET", "/v2/models/fp32/ready");
    assertError(asRefused(answer), 503, /'fp32' version 1 is not at ready state.*load/);
    assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/);
    assertError(await call("GET", "/v2/health/ready"), 503, /no worker/);
  });
  test("a body over the limit, announced or not", async () => {
    const large = Buffer.alloc(LIMIT_BYTES + 1, " ");
    assertError(await rig.infer("fp32", large), 413, /over the limit/);
  });
  test("a head that is out of all proportion", async () => {
    assertError(await call("GET", "/v2", as("k".repeat(9_000))), 431, /limit/);
  });
  test("load with what belongs to another server, and bodies that are wrong", async () => {
    const load = "/v2/repository/models/fp32/load";
    assertError(await call("POST", load, { json: { parameters: { config: "{}" } } }), 501, /'config'/);
    assertError(await call("POST", load, { json: { parameters: { config: 1 } } }), 400, /config/);
    assertError(await call("POST", load), 503, /no worker that could run 'fp32' is connected/);
    assertError(await call("POST", "/v2/repository/index", { json: { ready: 1 } }), 400, /ready/);
  });
  test("shared memory", async () => {
    for (const kind of ["system", "cuda"]) {
      assertError(await call("GET", `/v2/${kind}sharedmemory/status`), 501, /not supported/);
      assertError(await call("GET", `/v2/${kind}sharedmemory/region/r/status`), 501, /not supported/);
      for (const path of ["region/r/register", "region/r/unregister", "unregister"])
        assertError(
          await call("POST", `/v2/${kind}sharedmemory/${path}`, { json: {} }),
          501,
          /not supported/,
        );
    }
  });
  test("more than one key may have waiting is 429, more than all may have is 503, and a queue timeout is 504", async () => {
    const request = {
      ...x({ datatype: "FP32", shape: [1], data: [1] }),
      parameters: { timeout: 60_000_000 },
    };
    const gone = new AbortController();
    const url = "/v2/models/fp32/infer";
    const waits = (key: string): Promise<unknown> =>
      rig.gateway
        .call("POST", url, { json: request, ...as(key), signal: gone.signal })
        .then(undefined, () => undefined);
    const [first, second] = [await rig.gateway.key("submit"), await rig.gateway.key("submit")];
    const waiting = [waits(first)];
    const pending = async (): Promise<number> =>
      (await rig.gateway.call("GET", "/cluster/health")).body.pending_tasks;
    await until("the first to wait", async () => (await pending()) === 1);
    const limited = await rig.gateway.call("POST", url, { json: request, ...as(first) });
    assertError(asRefused(limited), 429, /./);
    assert.match(limited.headers.get("retry-after") ?? "", /^\d+$/);
    waiting.push(waits(second));
    await until("the second to wait", async () => (await pending()) === 2);
    const full = await rig.gateway.call("POST", url, { json: request });
    assertError(asRefused(full), 503, /queue/);
    assert.match(full.headers.get("retry-after") ?? "", /^\d+$/);
    gone.abort();
    await Promise.all(waiting);
    await until("a hang-up to cancel what waited", async () => (await pending()) === 0);
    const late = await rig.infer("fp32", { ...request, parameters: { timeout: 1000 } });
    assertError(late, 504, /deadline/i);
  });
  test("a key for other models gets nowhere near this one", async () => {
    const { body } = await rig.gateway.call("POST", "/keys", {
      json: { name: "others", scopes: ["read", "submit", "models"], models: ["text"] },
    });
    for (const path of ["", "/ready", "/config", "/stats"])
      assertError(await call("GET", `/v2/models/fp32${path}`, as(body.key)), 403, /model fp32/);
    for (const path of ["load", "unload"])
      assertError(await call("POST", `/v2/repository/models/fp32/${path}`, as(body.key)), 403, /model fp32/);
    assertError(
      await call("POST", "/v2/models/fp32/infer", { json: {}, ...as(body.key) }),
      403,
      /model fp32/,
    );
    const stats = await rig.gateway.call("GET", "/v2/models/stats", as(body.key));
    assert.deepEqual(
      stats.body.model_stats.map(({ name }: { name: string }) => name),
      ["text"],
    );
    const index = await rig.gateway.call("POST", "/v2/repository/index", as(body.key));
    assert.deepEqual(index.body, [{ name: "text" }]);
  });
});
