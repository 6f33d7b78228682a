import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { type Answer, GatewayRig } from "../support/gateway-rig.ts";

let rig: GatewayRig;

before(async () => {
  rig = await GatewayRig.start({ maxBodyBytes: 100_000 });
  const pushed = await rig.push("identity", buildIdentity());
  assert.equal(pushed.status, 201, JSON.stringify(pushed.body));
});
after(() => rig.close());

function assertProblem(answer: Answer, status: number, code: string, text: RegExp): void {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.match(answer.headers.get("content-type") ?? "", /application\/problem\+json/);
  assert.equal(answer.body.code, code);
  assert.equal(answer.body.status, status);
  assert.equal(answer.body.error, answer.body.detail);
  assert.match(answer.body.detail, text);
  assert.equal(answer.body.request_id, answer.headers.get("x-request-id"));
}

const input = (more: object = {}): object => ({
  name: "input",
  datatype: "FP32",
  shape: [1, 16],
  data: new Array(16).fill(0),
  ...more,
});
const infer = (body: unknown): Promise<Answer> =>
  rig.call("POST", "/v2/models/identity/infer", { json: body });

describe("inference refuses, with the path of the field", () => {
  test("an unknown model", async () => {
    const answer = await rig.call("POST", "/v2/models/nothing/infer", { json: { inputs: [input()] } });
    assertProblem(answer, 404, "model_not_found", /Request for unknown model: 'nothing' is not found/);
  });
  test("an unknown version, naming what there is", async () => {
    const answer = await rig.call("POST", "/v2/models/identity/versions/9/infer", {
      json: { inputs: [input()] },
    });
    assertProblem(answer, 404, "model_not_found", /version 9 is not found/);
    assert.deepEqual(answer.body.details.versions, ["1"]);
  });
  const cases: [string, unknown, string, string, RegExp][] = [
    [
      "a wrong tensor name",
      { inputs: [input({ name: "x" })] },
      "input_invalid",
      "inputs[0].name",
      /unexpected inference input 'x'.*it has 'input'/,
    ],
    [
      "a wrong shape",
      { inputs: [input({ shape: [1, 4], data: [1, 2, 3, 4] })] },
      "input_invalid",
      "inputs[0].shape",
      /Expected \[-1,16\], got \[1,4\]/,
    ],
    [
      "a wrong type",
      { inputs: [input({ datatype: "INT64" })] },
      "input_invalid",
      "inputs[0].datatype",
      /'INT64'.*expects 'FP32'/,
    ],
    [
      "too few elements",
      { inputs: [input({ data: [1] })] },
      "input_invalid",
      "inputs[0].data",
      /needs 16 elements.*got 1/,
    ],
    [
      "too many elements",
      { inputs: [input({ data: new Array(17).fill(0) })] },
      "input_invalid",
      "inputs[0].data",
      /more than 16/,
    ],
    [
      "an element of another type",
      { inputs: [input({ data: [..."123456789012345", 1] })] },
      "input_invalid",
      "inputs[0].data[0]",
      /element 0 .* "1", not a number/,
    ],
    [
      "an unknown output",
      { inputs: [input()], outputs: [{ name: "y2" }] },
      "input_invalid",
      "outputs[0].name",
      /unexpected inference output 'y2'/,
    ],
    ["no input at all", { inputs: [] }, "request_invalid", "inputs", /inputs/],
    [
      "a missing shape",
      { inputs: [{ name: "input", datatype: "FP32", data: [] }] },
      "request_invalid",
      "inputs[0].shape",
      /inputs\[0\]\.shape/,
    ],
    ["an unknown field", { inputs: [input()], model: "identity" }, "request_invalid", "", /"model"/],
    [
      "a bad priority",
      { inputs: [input()], parameters: { priority: "high" } },
      "request_invalid",
      "parameters.priority",
      /priority/,
    ],
  ];
  for (const [name, body, code, path, text] of cases) {
    test(name, async () => {
      const answer = await infer(body);
      assertProblem(answer, 400, code, text);
      assert.equal(answer.body.details.path, path);
    });
  }
});

describe("tasks refuse", () => {
  test("malformed JSON, saying where", async () => {
    const answer = await rig.call("POST", "/tasks", {
      body: '{"model": ',
      headers: { "content-type": "application/json" },
    });
    assertProblem(answer, 400, "request_malformed", /Malformed JSON/);
  });
  test("an unknown field, naming it", async () => {
    const answer = await rig.call("POST", "/tasks", {
      json: { model: "identity", input: { inputs: [input()] }, colour: 1 },
    });
    assertProblem(answer, 400, "request_invalid", /colour/);
  });
  test("an unknown priority, naming the four", async () => {
    const answer = await rig.call("POST", "/tasks", {
      json: { model: "identity", input: { inputs: [input()] }, priority: "SOON" },
    });
    assertProblem(answer, 400, "request_invalid", /priority.*CRITICAL.*HIGH.*NORMAL.*LOW/);
  });
  test("a picture for a model that takes tensors", async () => {
    const answer = await rig.call("POST", "/tasks?model=identity", {
      body: Buffer.from("\x89PNG"),
      headers: { "content-type": "image/png" },
    });
    assertProblem(answer, 400, "input_invalid", /takes tensors/);
  });
  test("a content type that is neither JSON nor a picture", async () => {
    const answer = await rig.call("POST", "/tasks", {
      body: "a=b",
      headers: { "content-type": "text/plain" },
    });
    assertProblem(answer, 415, "media_type_unsupported", /text\/plain/);
  });
  test("a body over the limit, naming the limit", async () => {
    const answer = await rig.call("POST", "/tasks", {
      json: { model: "identity", pad: "x".repeat(200_000) },
    });
    assertProblem(answer, 413, "body_too_large", /100000|100,000/);
    assert.equal(answer.body.details.limitBytes, 100_000);
  });
  test("a task that does not exist", async () => {
    assertProblem(await rig.call("GET", "/tasks/task_none"), 404, "task_not_found", /task_none/);
  });
  test("a bad query", async () => {
    assertProblem(await rig.call("GET", "/tasks?state=DONE"), 400, "request_invalid", /state.*PENDING/);
  });
});

describe("the cluster refuses", () => {
  test("an unknown strategy, naming the five", async () => {
    const answer = await rig.call("PUT", "/cluster/config/balancing", { json: { strategy: "FASTEST" } });
    assertProblem(answer, 400, "strategy_unknown", /ROUND_ROBIN, LEAST_LOADED, GPU_MATCH, LATENCY, ADAPTIVE/);
  });
  test("an address that does not exist, and a method that an address does not know", async () => {
    assertProblem(await rig.call("GET", "/nothing"), 404, "route_not_found", /./);
    assertProblem(await rig.call("DELETE", "/tasks"), 405, "method_not_allowed", /./);
  });
});

describe("credentials", () => {
  const as = (key: string | undefined): Record<string, string> => ({
    authorization: key === undefined ? "" : `Bearer ${key}`,
  });
  test("missing, malformed and wrong keys get 401, the last two with one and the same body", async () => {
    assertProblem(
      await rig.call("GET", "/tasks", { headers: as(undefined) }),
      401,
      "auth_missing",
      /Authorization: Bearer/,
    );
    const malformed = await rig.call("GET", "/tasks", { headers: as("lgk_nonsense") });
    const swapped = rig.adminKey.replace(/_..(?=[^_]*$)/, "_zz");
    const wrong = await rig.call("GET", "/tasks", { headers: as(swapped) });
    assertProblem(malformed, 401, "auth_invalid", /not valid/);
    assertProblem(wrong, 401, "auth_invalid", /not valid/);
    assert.equal(malformed.body.detail, wrong.body.detail);
    assert.match(wrong.headers.get("www-authenticate") ?? "", /Bearer/);
  });
  test("a key without the permission gets 403, naming the scope", async () => {
    const key = await rig.key("read");
    const answer = await rig.call("POST", "/tasks", { json: {}, headers: as(key) });
    assertProblem(answer, 403, "auth_forbidden", /`submit`/);
  });
  test("a revoked key gets 401 from then on", async () => {
    const created = await rig.call("POST", "/keys", { json: { name: "temporary", scopes: ["read"] } });
    assert.equal((await rig.call("GET", "/tasks", { headers: as(created.body.key) })).status, 200);
    const revoked = await rig.call("DELETE", `/keys/${created.body.id}`);
    assert.ok(revoked.body.revoked_at);
    assertProblem(
      await rig.call("GET", "/tasks", { headers: as(created.body.key) }),
      401,
      "auth_invalid",
      /not valid/,
    );
  });
  test("a person's key cannot connect as a worker, not even an administrator's", async () => {
    assertProblem(await rig.call("GET", "/agent/blobs/sha256:00"), 403, "auth_forbidden", /`worker`/);
  });
  test("another key's tasks are not to be seen", async () => {
    const [one, other] = [await rig.key("submit", "read"), await rig.key("submit", "read")];
    const task = await rig.call("POST", "/tasks", {
      json: { model: "identity", input: { inputs: [input()] } },
      headers: as(one),
    });
    assert.equal(task.status, 202);
    assertProblem(
      await rig.call("GET", `/tasks/${task.body.id}`, { headers: as(other) }),
      404,
      "task_not_found",
      /./,
    );
    assert.deepEqual((await rig.call("GET", "/tasks", { headers: as(other) })).body.tasks, []);
    assert.equal((await rig.call("GET", "/tasks", { headers: as(one) })).body.tasks.length, 1);
    assert.equal(
      (await rig.call("POST", `/tasks/${task.body.id}/cancel`, { headers: as(one) })).body.status,
      "CANCELLED",
    );
  });
});

describe("models", () => {
  test("a file that is no ONNX model is refused", async () => {
    assertProblem(
      await rig.push("junk", Buffer.from("this is not a model")),
      400,
      "model_invalid",
      /not an ONNX model/,
    );
  });
  test("bytes that do not match their digest are refused", async () => {
    const answer = await rig.call("PUT", `/blobs/sha256:${"0".repeat(64)}`, { body: Buffer.from("x") });
    assertProblem(answer, 400, "digest_mismatch", /Announced was/);
  });
  test("a version never changes", async () => {
    const same = await rig.push("identity", buildIdentity());
    assert.equal(same.status, 200);
    assertProblem(
      await rig.push("identity", buildIdentity({ size: 8 })),
      409,
      "model_version_exists",
      /other contents/,
    );
  });
  test("a manifest that contradicts the model is refused", async () => {
    const manifest = {
      postprocess: { kind: "classification" as const, softmax: true, top_k: 1, labels: ["only one"] },
    };
    assertProblem(
      await rig.push("labelled", buildIdentity(), manifest),
      400,
      "model_invalid",
      /1 labels.*16 classes/,
    );
  });
  test("a name that is no safe path segment is refused", async () => {
    assertProblem(await rig.push("..%2fetc", buildIdentity()), 400, "request_invalid", /name/);
  });
});

test("a task without a worker waits, with a reason that a person understands", async () => {
  const task = await rig.call("POST", "/tasks", {
    json: { model: "identity", input: { inputs: [input()] } },
  });
  assert.equal(task.status, 202);
  assert.equal(task.headers.get("location"), `/tasks/${task.body.id}`);
  const seen = await rig.call("GET", `/tasks/${task.body.id}`);
  assert.equal(seen.body.status, "PENDING");
  assert.match(seen.body.reason, /No worker is connected; start one with `legacygpu worker start`/);
  const health = await rig.call("GET", "/cluster/health");
  assert.deepEqual(Object.keys(health.body), [
    "status",
    "total_workers",
    "healthy_workers",
    "pending_tasks",
    "running_tasks",
  ]);
  const cancelled = await rig.call("POST", `/tasks/${task.body.id}/cancel`);
  assert.equal(cancelled.body.status, "CANCELLED");
  assert.equal((await rig.call("POST", `/tasks/${task.body.id}/cancel`)).body.status, "CANCELLED");
});
