/** Sites that let nothing out but through a proxy. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { IdentityStore } from "../../agent/enrolment/identity-store.ts";
import { joinGateway } from "../../agent/enrolment/join.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { EnrolmentGateway } from "../support/enrolment-gateway.ts";
import { fakeTask } from "../support/fake-gateway.ts";

async function startProxy() {
  const tunnels: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on("connect", (request, client: Socket) => {
    tunnels.push(request.url ?? "");
    const port = Number(request.url?.split(":")[1]);
    const upstream = connect(port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    for (const socket of [client, upstream]) sockets.add(socket.on("error", () => {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, tunnels, close };
}

test("link and downloads go through HTTPS_PROXY, with the gateway's own certificate checked", async () => {
  const proxy = await startProxy();
  const rig = await AgentRig.start({ agent: { env: { HTTPS_PROXY: proxy.url } } });
  await rig.gateway.next("hello");
  const model = rig.gateway.addModel("identity", buildIdentity());
  const task = fakeTask(model);
  rig.gateway.send({ type: "load_model", model, preload: false }, task);
  await rig.gateway.result(task.token);
  const target = new URL(rig.gateway.url).host;
  assert.ok(proxy.tunnels.length >= 2);
  assert.deepEqual(new Set(proxy.tunnels), new Set([target]));
  await rig.close();
  await proxy.close();
});

test("joining goes through HTTPS_PROXY too, which sees nothing of it", async () => {
  const proxy = await startProxy();
  const gateway = await EnrolmentGateway.start();
  const stateDir = await mkdtemp(join(tmpdir(), "legacygpu-proxy-"));
  const { workerId } = await joinGateway({
    token: gateway.token(),
    workerId: "box-1",
    store: new IdentityStore(stateDir),
    env: { HTTPS_PROXY: proxy.url },
    clock: systemClock,
    random: Math.random,
    log: createLogger("test", "silent"),
  });
  assert.equal(workerId, "box-1");
  // One connection without trust, and another with.
  const target = new URL(gateway.url).host;
  assert.deepEqual(proxy.tunnels, [target, target]);
  await gateway.close();
  await proxy.close();
  await rm(stateDir, { recursive: true });
});

test("NO_PROXY is honoured", async () => {
  const proxy = await startProxy();
  const rig = await AgentRig.start({ agent: { env: { HTTPS_PROXY: proxy.url, NO_PROXY: "localhost" } } });
  await rig.gateway.next("hello");
  assert.deepEqual(proxy.tunnels, []);
  await rig.close();
  await proxy.close();
});
