/** The link of a real agent to a gateway that comes, goes, falls silent and refuses. */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createServer, type TLSSocket } from "node:tls";
import { systemClock } from "@legacygpu/shared/clock";
import { LegacyGpuError } from "@legacygpu/shared/errors";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { workerKey } from "../../agent/link/credentials.ts";
import { Network, type SocketClosure } from "../../agent/link/network.ts";
import { buildSlow } from "../../models/onnx/hostile.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig, type AgentRigOptions } from "../support/agent-rig.ts";
import { makeCertificate } from "../support/certificate.ts";
import { FakeGateway, fakeTask, floats } from "../support/fake-gateway.ts";
import { until } from "../support/until.ts";

async function withRig(options: AgentRigOptions, run: (rig: AgentRig) => Promise<void>): Promise<void> {
  const rig = await AgentRig.start(options);
  try {
    await run(rig);
  } finally {
    await rig.close();
  }
}

/** A good part of a second of computing. */
const slow = (): Uint8Array => buildSlow({ rounds: 100, size: 384 });
const slowInput = { kind: "tensors" as const, tensors: [floats("input", [1, 384], 1)] };

test("computes on while the link is down, reconnects, and delivers", async () => {
  await withRig({}, async ({ gateway, agent }) => {
    const model = gateway.addModel("slow", slow());
    await gateway.next("hello");
    const task = fakeTask(model, { input: slowInput });
    gateway.send({ type: "load_model", model, preload: true }, task);
    await gateway.next("accepted");
    gateway.refuseWith = "503 Away";
    gateway.cut();
    await until("the result to wait for a link", () => agent.status().runner.running === 0);
    assert.equal(agent.status().held, 1);
    gateway.refuseWith = undefined;
    await gateway.result(task.token);
    const second = gateway.all("hello")[1];
    assert.deepEqual(second?.held, [{ taskId: task.taskId, token: task.token }]);
    assert.deepEqual(
      second.models.map(({ name }) => name),
      ["slow"],
    );
    await until("the delivery to be confirmed", () => agent.status().held === 0);
  });
});

test("a result that was never acknowledged is delivered again", async () => {
  await withRig({}, async ({ gateway, agent }) => {
    const model = gateway.addModel("identity", buildIdentity());
    await gateway.next("hello");
    gateway.send({ type: "load_model", model, preload: true });
    await gateway.next("model_state", ({ state }) => state === "ready");
    gateway.isTalking = false;
    const task = fakeTask(model);
    gateway.send(task);
    await gateway.result(task.token);
    gateway.isTalking = true;
    gateway.cut();
    await until("the second delivery", () => gateway.all("result").length === 2);
    await until("its confirmation", () => agent.status().held === 0);
  });
});

test("drops what the gateway has given up, stale ones it has finished included", async () => {
  await withRig({}, async ({ gateway, agent }) => {
    const model = gateway.addModel("slow", slow());
    await gateway.next("hello");
    const [finished, running, waiting] = [1, 2, 3].map(() => fakeTask(model, { input: slowInput }));
    assert.ok(finished && running && waiting);
    gateway.isTalking = false;
    gateway.send({ type: "load_model", model, preload: false }, finished, running, waiting);
    await gateway.result(finished.token);
    gateway.keep = () => [waiting.token];
    gateway.isTalking = true;
    gateway.cut();
    await until("the second hello", () => gateway.all("hello").length === 2);
    await gateway.result(waiting.token);
    await until("nothing to be held", () => agent.status().held === 0);
    const results = gateway.all("result").map(({ token }) => token);
    assert.deepEqual(results, [finished.token, waiting.token]);
  });
});

test("a silent gateway is given up after the heartbeat timeout", async () => {
  await withRig({ heartbeatIntervalMs: 100, heartbeatTimeoutMs: 400 }, async ({ gateway, lines }) => {
    await gateway.next("hello");
    gateway.isTalking = false;
    await until("a line about the silence", () => lines.some((line) => line.includes("Nothing was heard")));
    gateway.isTalking = true;
    await until("a second hello", () => gateway.all("hello").length >= 2);
  });
});

test("stops for good when its key is refused, and says so", async () => {
  await withRig({ agent: { key: "lgw_wrong" } }, async ({ agent }) => {
    const error = await agent.closed;
    assert.ok(error instanceof LegacyGpuError);
    assert.equal(error.code, "auth_invalid");
    assert.match(error.message, /does not accept this worker key/);
    assert.equal(agent.status().link, "closed");
  });
});

test("stops for good when versions share nothing", async () => {
  await withRig({}, async ({ gateway, agent }) => {
    await gateway.next("hello");
    gateway.end(CLOSE.protocolUnsupported, "too old");
    const error = await agent.closed;
    assert.ok(error instanceof LegacyGpuError && error.code === "protocol_unsupported");
  });
});

test("a certificate of another CA: says which CA is pinned and what to do, once", async () => {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-other-ca-"));
  const { caPem } = await makeCertificate(dir);
  await withRig({ agent: { caPem } }, async ({ agent, lines }) => {
    const error = await until("an error", () => agent.status().lastError);
    assert.equal(error.code, "certificate_invalid");
    assert.match(error.message, /not signed by the pinned CA "CN=.*" \(SHA-256 /);
    assert.match(error.message, /Copy the CA certificate from the gateway again/);
    assert.equal(lines.filter((line) => line.includes("pinned CA")).length, 1);
    assert.equal(agent.status().link, "waiting");
  });
  await rm(dir, { recursive: true });
});

test("a certificate for another name: says for which names it is", async () => {
  await withRig({ host: "127.0.0.2" }, async ({ agent }) => {
    const error = await until("an error", () => agent.status().lastError);
    assert.equal(error.code, "certificate_invalid");
    assert.match(error.message, /not for `127\.0\.0\.2`.*127\.0\.0\.1/);
  });
});

test("a dial that is given up leaves no connection behind, whatever the other side has answered", async () => {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-mute-"));
  const { keyFile, certFile, caPem } = await makeCertificate(dir);
  const taken: TLSSocket[] = [];
  const mute = createServer({ key: await readFile(keyFile), cert: await readFile(certFile) }, (socket) => {
    taken.push(socket.on("error", () => {}).resume());
  });
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  const gateway = new URL(`https://localhost:${(mute.address() as AddressInfo).port}`);
  const network = new Network({
    gateway,
    credentials: workerKey("lgw_x"),
    caPem,
    env: {},
    clock: systemClock,
  });
  let closure: SocketClosure | undefined;
  const socket = network.openSocket({
    onOpen: () => assert.fail("nobody answered"),
    onFrame: () => {},
    onClosed: (each) => {
      closure = each;
    },
  });
  const connection = await until("a connection", () => taken[0]);
  socket.destroy();
  await until("its end on both sides", () => closure !== undefined && connection.destroyed);
  await network.close();
  mute.close();
  await rm(dir, { recursive: true });
});

test("a gateway that is not there is named", async () => {
  const gateway = await FakeGateway.start();
  const { url } = gateway;
  await gateway.close();
  await withRig({ agent: { url } }, async ({ agent }) => {
    const error = await until("an error", () => agent.status().lastError);
    assert.equal(error.code, "gateway_unreachable");
    assert.ok(error.message.includes(`${new URL(url).host}: ECONNREFUSED`), error.message);
  });
});

test("tcp:// is answered with what to write instead", async () => {
  await assert.rejects(
    AgentRig.start({ agent: { url: "tcp://gpu.example.org:8000" } }),
    (error: LegacyGpuError) =>
      error.code === "config_invalid" && error.message.includes("wss://gpu.example.org:8000"),
  );
});

test("keeps its worker id from start to start, and is a new instance each time", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "legacygpu-agent-"));
  await withRig({ agent: { stateDir } }, async ({ agent, gateway }) => {
    const first = await gateway.next("hello");
    assert.match(first.workerId, /-[0-9a-z]{4}$/);
    await agent.close();
    const { url, key, caPem } = gateway;
    const second = await AgentRig.start({ agent: { url, key, caPem, stateDir } });
    await until("the second hello", () => gateway.all("hello").length === 2);
    assert.equal(second.agent.workerId, first.workerId);
    assert.notEqual(gateway.all("hello")[1]?.instanceId, first.instanceId);
    await second.close();
  });
});
