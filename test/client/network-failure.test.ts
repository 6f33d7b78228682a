/** What the SDK says when the gateway cannot be reached or not be trusted: with real sockets. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { ensureCertificates } from "../../certs/index.ts";
import { LegacyGpuClient, LegacyGpuError } from "../../client/index.ts";
import { pinnedFetch } from "../../client/pinned-fetch.ts";
import { sampleHealth } from "../support/api-samples.ts";
import { FakeApi } from "../support/fake-api.ts";

let api: FakeApi;
before(async () => {
  api = await FakeApi.start();
});
afterEach(() => api.reset());
after(() => api.close());

interface Target {
  readonly url?: string;
  readonly caPem?: string | undefined;
  readonly caFile?: string;
}

async function failure({ url = api.url, caPem = api.caPem, caFile }: Target): Promise<LegacyGpuError> {
  const fetch = pinnedFetch({ caPem, ...(caFile === undefined ? {} : { caFile }) });
  const client = new LegacyGpuClient({ url, fetch, retry: { maxTries: 1 } });
  try {
    await client.health();
  } catch (error) {
    assert.ok(error instanceof LegacyGpuError, String(error));
    return error;
  } finally {
    await fetch.close();
  }
  assert.fail("the request succeeded");
}

async function listen(): Promise<{ url: string; close(): Promise<unknown> }> {
  const server = createServer((socket) =>
    socket.on("error", () => {}).once("data", () => socket.end("HTTP/1.1 400 No\r\n\r\n")),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `https://127.0.0.1:${port}`, close: () => new Promise((resolve) => server.close(resolve)) };
}

test("a client that pins the right CA is let in, by name and by address", async () => {
  api.on("GET /cluster/health", { json: sampleHealth });
  const fetch = pinnedFetch({ caPem: api.caPem });
  for (const url of [api.url, `https://127.0.0.1:${api.port}`]) {
    assert.deepEqual(await new LegacyGpuClient({ url, fetch }).health(), sampleHealth);
  }
  await fetch.close();
});

test("nobody listens: the address, the cause, and that nothing was sent", async () => {
  const { url, close } = await listen();
  await close();
  const error = await failure({ url });
  assert.equal(error.code, "gateway_unreachable");
  assert.equal(error.retryable, true);
  assert.deepEqual(error.details, { address: url, cause: "ECONNREFUSED", request_sent: false });
  assert.match(error.message, /cannot be reached: nothing listens there/);
});

test("no such host", async () => {
  const error = await failure({ url: "https://gateway.invalid:8000" });
  assert.equal(error.code, "gateway_unreachable");
  assert.match(error.message, /https:\/\/gateway\.invalid:8000 .*(no such host name|name server)/);
});

test("another CA: which one was trusted, and what to do", async () => {
  const clock = { now: () => Date.now() };
  const other = await ensureCertificates({ dir: join(api.dir, "other"), hosts: [], clock });
  const error = await failure({ caPem: other.caPem, caFile: other.caFile });
  assert.equal(error.code, "certificate_invalid");
  assert.equal(error.retryable, false);
  assert.match(error.message, /issued by a CA that is not trusted/);
  assert.ok(
    error.message.includes(`only CN=legacygpu development CA`) && error.message.includes(other.caFile),
  );
  assert.match(error.message, /name it with --ca/);
  assert.equal(api.requests.length, 0);
});

test("no CA pinned: a private CA is not trusted", async () => {
  const fetch = pinnedFetch();
  const client = new LegacyGpuClient({ url: api.url, fetch });
  await assert.rejects(client.health(), {
    code: "certificate_invalid",
    message: /Trusted here: the CAs that Node trusts/,
  });
  await fetch.close();
});

test("another name: which names the certificate has", async () => {
  // All of 127.0.0.0/8 is this machine, but only 127.0.0.1 is in the certificate.
  const server = await relayed("127.0.0.2");
  const error = await failure({ url: server.url });
  await server.close();
  assert.equal(error.code, "certificate_invalid");
  assert.match(error.message, /It is valid for localhost, 127\.0\.0\.1, 0:0:0:0:0:0:0:1\./);
  assert.match(error.message, /--cert-host/);
});

async function relayed(address: string): Promise<{ url: string; close(): Promise<unknown> }> {
  const server = createServer((socket) => {
    const upstream = connect(api.port, "127.0.0.1");
    for (const end of [socket, upstream]) end.on("error", () => {});
    socket.pipe(upstream).pipe(socket);
  });
  server.listen(0, address);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `https://${address}:${port}`, close: () => new Promise((resolve) => server.close(resolve)) };
}

test("a port that speaks no TLS", async () => {
  const { url, close } = await listen();
  const error = await failure({ url });
  await close();
  assert.equal(error.code, "gateway_unreachable");
  assert.match(error.message, /does not speak TLS/);
  assert.equal(error.details.request_sent, false);
});

test("a connection that is cut after the request was sent", async () => {
  api.on("GET /cluster/health", "drop");
  const error = await failure({});
  assert.equal(error.code, "gateway_unreachable");
  assert.equal(error.details.request_sent, true);
});

test("an egress proxy is used, with the CA pinned through it; NO_PROXY goes round it", async () => {
  api.on("GET /cluster/health", { json: sampleHealth });
  const targets: string[] = [];
  const proxy = createHttpServer().on("connect", (request, socket) => {
    targets.push(request.url ?? "");
    const upstream = connect(api.port, "127.0.0.1", () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
    for (const end of [socket, upstream]) end.on("error", () => {});
    socket.pipe(upstream).pipe(socket);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const httpsProxy = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  for (const noProxy of ["", "localhost"]) {
    const fetch = pinnedFetch({ caPem: api.caPem, proxy: { httpsProxy, noProxy } });
    assert.deepEqual(await new LegacyGpuClient({ url: api.url, fetch }).health(), sampleHealth);
    await fetch.close();
  }
  assert.deepEqual(targets, [`localhost:${api.port}`]);
  proxy.closeAllConnections();
  await new Promise((resolve) => proxy.close(resolve));
});

test("a CA file that is no certificate is named", () => {
  assert.throws(() => pinnedFetch({ caPem: "nonsense", caFile: "/x/ca.pem" }), {
    code: "certificate_invalid",
    message: /^\/x\/ca\.pem is not a certificate/,
  });
});

test("an address that is none", () => {
  for (const url of ["gateway:8000", "wss://gateway:8000", "http://gateway:8000", ""]) {
    assert.throws(() => new LegacyGpuClient({ url }), {
      code: "config_invalid",
      message: /write https:\/\/HOST:PORT/,
    });
  }
});
