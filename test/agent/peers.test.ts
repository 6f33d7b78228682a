/** Model files from neighbours: over real TLS, with real files, against neighbours that refuse, lie, stall and vanish. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { mintBlobToken } from "@legacygpu/shared/protocol/blob-token";
import type {
  AgentMessage,
  BlobSource,
  GatewayMessage,
  MessageOf,
} from "@legacygpu/shared/protocol/messages";
import { workerKey } from "../../agent/link/credentials.ts";
import { LinkGate } from "../../agent/link/gate.ts";
import { Network } from "../../agent/link/network.ts";
import { BlobCache } from "../../agent/models/blob-cache.ts";
import { ownAddresses } from "../../agent/peers/addresses.ts";
import { BlobServer } from "../../agent/peers/blob-server.ts";
import { BlobSharing } from "../../agent/peers/blob-sharing.ts";
import { newPeerCertificate } from "../../agent/peers/certificate.ts";
import { connectNeighbour } from "../../agent/peers/neighbour.ts";
import { FakeGateway } from "../support/fake-gateway.ts";
import { until } from "../support/until.ts";

type BlobSources = MessageOf<GatewayMessage, "blob_sources">;
type BlobState = MessageOf<AgentMessage, "blob_state">;

const SIZE = 3_000_000;
const log = createLogger("peers", "silent");
const FAR = Date.now() + 600_000;

describe("model files from neighbours", () => {
  let gateway: FakeGateway;
  let network: Network;
  let folder: string;
  let bytes: Buffer;
  let digest: string;
  let server: BlobServer;
  let gate: LinkGate;
  let cache: BlobCache;
  let sharing: BlobSharing;
  let sent: AgentMessage[];
  const closers: (() => unknown)[] = [];

  before(async () => {
    gateway = await FakeGateway.start();
    const { key, caPem } = gateway;
    const url = new URL(gateway.url.replace("wss:", "https:"));
    network = new Network({ gateway: url, credentials: workerKey(key), caPem, env: {}, clock: systemClock });
  });
  after(async () => {
    await network.close();
    await gateway.close();
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "legacygpu-peers-"));
    bytes = randomBytes(SIZE);
    digest = gateway.addBlob(bytes);
    gateway.requests.length = 0;
    server = await serve(bytes);
    sent = [];
    sharing = new BlobSharing({ clock: systemClock, send: (message) => void sent.push(message) });
    sharing.onWelcome(welcome(true));
    gate = new LinkGate();
    gate.open();
    cache = newCache();
  });
  afterEach(async () => {
    await cache.close();
    for (const close of closers.splice(0)) await close();
    await server.close();
    await rm(folder, { recursive: true });
  });

  function newCache(): BlobCache {
    const request = network.request.bind(network);
    const directory = join(folder, "cache");
    return new BlobCache({
      directory,
      request,
      gate,
      clock: systemClock,
      random: () => 0,
      neighbourhood: sharing,
    });
  }

  async function serve(contents: Uint8Array): Promise<BlobServer> {
    const path = join(folder, `served-${randomBytes(4).toString("hex")}`);
    await writeFile(path, contents);
    const find = (asked: string) => Promise.resolve(asked === digest ? path : undefined);
    const started = await BlobServer.start({ host: "127.0.0.1", clock: systemClock, log, find });
    started.gatewayTimeIs(Date.now());
    return started;
  }

  function welcome(sharesBlobs: boolean): MessageOf<GatewayMessage, "welcome"> {
    return {
      type: "welcome",
      protocol: 1,
      sessionId: "s",
      serverTimeMs: Date.now(),
      heartbeatIntervalMs: 500,
      heartbeatTimeoutMs: 5000,
      keep: [],
      sharesBlobs,
    };
  }

  function sourceAt(at: BlobServer, more: Partial<BlobSource> = {}): BlobSource {
    const { port, certificatePem: certificate, tokenKey } = at;
    return { address: "127.0.0.1", port, certificate, token: mintBlobToken(tokenKey, digest, FAR), ...more };
  }

  const states = (): string[] =>
    sent.filter((message): message is BlobState => message.type === "blob_state").map(({ state }) => state);

  /** Fetches the blob with what the gateway answers, one answer for each time that it is asked. */
  async function fetchWith(...answers: Omit<BlobSources, "type" | "digest">[]): Promise<Buffer> {
    const path = cache.ensure({ digest, extension: ".onnx", maxBytes: SIZE, sizeBytes: SIZE });
    path.catch(() => {});
    for (const [index, answer] of answers.entries()) {
      const asked = (): boolean => states().filter((state) => state === "wanted").length > index;
      await until(`question ${index + 1}`, asked);
      sharing.onSources({ type: "blob_sources", digest, ...answer });
    }
    return readFile(await path);
  }
  const from = (...sources: BlobSource[]) => ({ decision: "neighbours", sources }) as const;

  test("a neighbour serves the file, and the gateway is not asked for a byte of it", async () => {
    assert.deepEqual(await fetchWith(from(sourceAt(server))), bytes);
    assert.deepEqual(gateway.requests, []);
    assert.deepEqual(states().at(0), "wanted");
    assert.deepEqual(states().at(-1), "held");
  });

  test("one that must wait is told to, and goes on when it is told where", async () => {
    const fetched = fetchWith({ decision: "wait", sources: [] });
    await until("the question", () => states().includes("wanted"));
    await new Promise(setImmediate);
    assert.deepEqual(gateway.requests, []);
    sharing.onSources({ type: "blob_sources", digest, ...from(sourceAt(server)) });
    assert.deepEqual(await fetched, bytes);
    assert.deepEqual(gateway.requests, []);
  });

  test("another certificate than the announced one is not trusted, and nothing is sent to it", async () => {
    let requests = 0;
    const { keyPem, certificatePem } = newPeerCertificate();
    const impostor = createHttpsServer({ key: keyPem, cert: certificatePem }, (_, response) => {
      requests += 1;
      response.end(bytes);
    });
    await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
    closers.push(() => new Promise((resolve) => impostor.close(resolve)));
    const { port } = impostor.address() as AddressInfo;
    assert.deepEqual(
      await fetchWith(from(sourceAt(server, { port })), from(sourceAt(server, { port }))),
      bytes,
    );
    assert.equal(requests, 0);
    assert.equal(gateway.requests.length, 1);
  });

  test("wrong bytes from a neighbour are thrown away, and the gateway is asked once for all of it", async () => {
    const lying = await serve(randomBytes(SIZE));
    closers.push(() => lying.close());
    assert.deepEqual(await fetchWith(from(sourceAt(lying))), bytes);
    assert.deepEqual(gateway.requests, [`/agent/blobs/${digest}`]);
  });

  test("a neighbour that cannot be reached is followed by the next, and by what the gateway names then", async () => {
    const gone = await serve(bytes);
    const dead = sourceAt(gone);
    await gone.close();
    assert.deepEqual(await fetchWith(from(dead, sourceAt(server))), bytes);
    assert.deepEqual(gateway.requests, []);
  });

  test("a neighbour that accepts and says nothing is given up within seconds", async () => {
    const sockets = new Set<{ destroy(): void }>();
    const mute = createTcpServer((socket) => void sockets.add(socket.on("error", () => {})));
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    closers.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => mute.close(resolve));
    });
    const { port } = mute.address() as AddressInfo;
    assert.deepEqual(await fetchWith(from(sourceAt(server, { port }), sourceAt(server))), bytes);
    assert.deepEqual(gateway.requests, []);
  });

  test("a neighbour that ends in the middle leaves a part, and the gateway gives the rest", async () => {
    const half = SIZE / 2;
    const { keyPem, certificatePem } = newPeerCertificate();
    const breaking = createHttpsServer({ key: keyPem, cert: certificatePem }, (_, response) => {
      response.writeHead(200, { "content-length": SIZE });
      response.write(bytes.subarray(0, half), () => setTimeout(() => response.destroy(), 50));
    });
    await new Promise<void>((resolve) => breaking.listen(0, "127.0.0.1", resolve));
    closers.push(() => new Promise((resolve) => breaking.close(resolve)));
    const { port } = breaking.address() as AddressInfo;
    const source = { address: "127.0.0.1", port, certificate: certificatePem, token: "t" };
    assert.deepEqual(await fetchWith(from(source), { decision: "fetch", sources: [] }), bytes);
    assert.equal(gateway.requests.length, 1);
    const [, first] = / bytes=(\d+)-$/.exec(gateway.requests[0] ?? "") ?? [];
    assert.ok(Number(first) > 0 && Number(first) <= half, gateway.requests[0]);
  });

  test("a gateway that does not answer, or knows nothing of neighbours, is asked for the file itself", async () => {
    sharing.onWelcome(welcome(false));
    assert.deepEqual(await fetchWith(), bytes);
    assert.deepEqual(states(), []);
    assert.equal(gateway.requests.length, 1);
  });

  test("a link that is lost while one waits is no failure: it asks again on the next", async () => {
    const fetched = fetchWith({ decision: "wait", sources: [] }, from(sourceAt(server)));
    await until("the question", () => states().includes("wanted"));
    await new Promise(setImmediate);
    gate.shut();
    sharing.onLinkLost();
    sharing.onWelcome(welcome(true));
    gate.open();
    assert.deepEqual(await fetched, bytes);
    assert.deepEqual(gateway.requests, []);
  });

  test("small files are not asked around for", async () => {
    const small = randomBytes(1000);
    const request = { digest: gateway.addBlob(small), extension: ".onnx", maxBytes: 1000, sizeBytes: 1000 };
    assert.deepEqual(await readFile(await cache.ensure(request)), small);
    assert.deepEqual(states(), []);
  });

  describe("the blob server", () => {
    async function ask(
      token: string,
      { headers = {}, path = digest }: { headers?: Record<string, string>; path?: string } = {},
    ): Promise<{ status: number; body: Buffer; headers: Record<string, unknown> }> {
      const origin = connectNeighbour(sourceAt(server, { token }));
      try {
        const reply = await origin.open(path, headers, new AbortController().signal);
        const body = Buffer.from(await reply.body.arrayBuffer());
        return { status: reply.status, body, headers: { ...reply.headers } };
      } finally {
        await origin.close?.();
      }
    }
    const token = (of = digest, until = FAR): string => mintBlobToken(server.tokenKey, of, until);

    test("serves whoever holds a token for this very file, all or a part", async () => {
      assert.deepEqual((await ask(token())).body, bytes);
      const part = await ask(token(), { headers: { range: "bytes=100-199" } });
      assert.deepEqual([part.status, part.headers["content-range"]], [206, `bytes 100-199/${SIZE}`]);
      assert.deepEqual(part.body, bytes.subarray(100, 200));
      assert.equal((await ask(token(), { headers: { range: `bytes=${SIZE}-` } })).status, 416);
    });

    test("serves nobody else", async () => {
      const other = `sha256:${"b".repeat(64)}`;
      for (const wrong of [
        "x",
        token(other),
        token(digest, Date.now() - 1000),
        mintBlobToken(randomBytes(32), digest, FAR),
        token().replace(/^\d/, "9"),
        `${token()}A`,
      ])
        assert.equal((await ask(wrong)).status, 403, wrong);
      assert.equal((await ask(token(other), { path: other })).status, 404);
      for (const path of ["../identity.key", `${digest}/..`, "sha256:xyz", digest.toUpperCase()])
        assert.equal((await ask(token(), { path })).status, 404, path);
    });

    test("serves a few at a time, and the others go elsewhere", async () => {
      // More than what the system takes for a reader that does not read.
      const large = join(folder, "large");
      await writeFile(large, "");
      await truncate(large, 256 * 1024 * 1024);
      const find = (): Promise<string> => Promise.resolve(large);
      const busy = await BlobServer.start({ host: "127.0.0.1", clock: systemClock, log, find });
      busy.gatewayTimeIs(Date.now());
      const origins = Array.from({ length: 17 }, () => connectNeighbour(sourceAt(busy)));
      const { signal } = new AbortController();
      try {
        const statuses: number[] = [];
        for (const origin of origins) statuses.push((await origin.open(digest, {}, signal)).status);
        assert.deepEqual(statuses, [...Array(16).fill(200), 503]);
      } finally {
        await Promise.all(origins.map((origin) => origin.close?.()));
        await busy.close();
      }
    });
  });

  test("addresses that nobody else can reach are not announced", () => {
    const info = (address: string, internal = false, family: "IPv4" | "IPv6" = "IPv4") => ({
      address,
      netmask: "255.255.255.0",
      mac: "00:00:00:00:00:01",
      internal,
      cidr: `${address}/24`,
      ...(family === "IPv6" ? { family, scopeid: 0 } : { family }),
    });
    const interfaces = {
      lo: [info("127.0.0.1", true)],
      docker0: [info("172.17.0.1")],
      eth0: [info("fe80::1", false, "IPv6"), info("fd00::5", false, "IPv6"), info("10.0.0.5")],
      eth1: [info("169.254.3.4")],
    };
    assert.deepEqual(ownAddresses(interfaces), ["10.0.0.5", "fd00::5"]);
  });
});
