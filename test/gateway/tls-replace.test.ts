/** Certificates that are replaced while a server runs, as its clients see it. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { Agent } from "undici";
import { finishCaChange, startCaChange } from "../../certs/index.ts";
import { pinnedFetch } from "../../client/pinned-fetch.ts";
import type { Socket, SocketHandler, SocketRoute } from "../../gateway/http/exchange.ts";
import { type Certificate, makeCertificate } from "../support/certificate.ts";
import { presentedFingerprint, SteadyLoad } from "../support/steady-load.ts";
import { until } from "../support/until.ts";
import { gate, RawClient, route, startGateway } from "./http-server-fixture.ts";

let root = "";
let serial = 0;

before(async () => {
  root = await mkdtemp(join(tmpdir(), "legacygpu-tls-"));
});
after(() => rm(root, { recursive: true }));

/** A certificate under a CA of its own. */
async function anotherCertificate(): Promise<Certificate> {
  serial += 1;
  return makeCertificate(join(root, String(serial)));
}

async function fingerprintOf({ certFile }: Pick<Certificate, "certFile">): Promise<string> {
  return new X509Certificate(await readFile(certFile)).fingerprint256;
}

class Echo implements SocketHandler {
  readonly #socket: Socket;
  #waiting: Uint8Array[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
  }
  message(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#socket.wake();
  }
  pong(): void {}
  flush(write: (frame: Uint8Array) => unknown): void {
    for (const frame of this.#waiting.splice(0)) write(frame);
  }
  writable(): void {}
  closed(): void {}
}

const echoRoute: SocketRoute = {
  pattern: "/echo",
  subprotocol: "legacygpu.test",
  maxFrameBytes: 65_536,
  guard: () => undefined,
  open: (socket) => new Echo(socket),
};

test("certificates are replaced under load: no request fails, no connection ends, new ones get the new certificate", async (t) => {
  const gateway = await startGateway(t, { routes: [route()], sockets: [echoRoute] });
  const successors = [await anotherCertificate(), await anotherCertificate(), await anotherCertificate()];
  const caPem = [gateway, ...successors].map((each) => each.caPem).join("");
  const { port } = gateway.server;
  const load = await SteadyLoad.start({
    host: "127.0.0.1",
    port,
    caPem,
    path: "/",
    socketPath: "/echo",
    subprotocol: "legacygpu.test",
    keptConnections: 6,
    sockets: 4,
    dialers: 2,
  });
  try {
    for (const next of successors) {
      const before = { ...load.counts };
      const hasMoved = (): boolean =>
        load.counts.requests > before.requests + 30 &&
        load.counts.frames > before.frames + 30 &&
        load.counts.dials > before.dials + 4;
      await until("every kind of client to be answered", () => load.failures.length > 0 || hasMoved());
      gateway.server.replaceCertificate(next);
      assert.equal(await presentedFingerprint(port, caPem), await fingerprintOf(next), "by address");
      assert.equal(
        await presentedFingerprint(port, caPem, "localhost"),
        await fingerprintOf(next),
        "by name",
      );
    }
    const before = { ...load.counts };
    const goesOn = (): boolean =>
      load.counts.requests > before.requests + 30 && load.counts.frames > before.frames + 30;
    await until("the kept connections to go on", () => load.failures.length > 0 || goesOn());
    assert.deepEqual(load.failures, []);
  } finally {
    await load.stop();
  }
  assert.deepEqual(gateway.faults, []);
});

test("a request that was under way when the certificate was replaced is answered, and so is the next one on its connection", async (t) => {
  const { promise, open } = gate();
  const slow = route({
    pattern: "/slow",
    handle: async ({ remoteAddress }) => {
      await promise;
      return { status: 200, body: `slow for ${remoteAddress}` };
    },
  });
  const gateway = await startGateway(t, { routes: [route(), slow] });
  const client = await gateway.dial();
  client.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  gateway.server.replaceCertificate(await anotherCertificate());
  open();
  await client.until(/slow for 127\.0\.0\.1$/);
  client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await client.until(/ok$/);
});

test("routes, unknown paths and refusals are the same under the second certificate", async (t) => {
  const second = await anotherCertificate();
  const upload = route({
    method: "POST",
    pattern: "/uploads/:name",
    body: { kind: "buffer", limitBytes: 1000 },
    handle: ({ params, body, remoteAddress }) => ({
      status: 200,
      body: `${params.name} ${body.length} ${remoteAddress}`,
    }),
  });
  const gateway = await startGateway(t, { routes: [upload] });
  gateway.server.replaceCertificate(second);
  const dispatcher = new Agent({ connect: { ca: second.caPem } });
  t.after(() => dispatcher.destroy());
  const answer = async (path: string, body: string): Promise<[number, string]> => {
    const reply = await gateway.fetch(path, { dispatcher, method: "POST", body });
    return [reply.status, reply.text];
  };
  assert.deepEqual(await answer("/uploads/a", "12345"), [200, "a 5 127.0.0.1"]);
  assert.equal((await answer("/uploads/a", "x".repeat(1001)))[0], 413);
  assert.equal((await answer("/elsewhere", ""))[0], 404);
});

test("closing ends the connections of every certificate, old and new", async (t) => {
  const gateway = await startGateway(t, { routes: [route()], sockets: [echoRoute] });
  const old = await gateway.dial();
  const second = await anotherCertificate();
  gateway.server.replaceCertificate(second);
  const young = await RawClient.dial(gateway.server.port, second.caPem);
  for (const client of [old, young]) {
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await client.until(/ok$/);
  }
  await gateway.server.close(0);
  await Promise.all([old.untilClosed(), young.untilClosed()]);
  await assert.rejects(RawClient.dial(gateway.server.port, second.caPem), { code: "ECONNREFUSED" });
});

test("a session of the earlier certificate is not resumed past the new one", async (t) => {
  const gateway = await startGateway(t, { routes: [route()] });
  const { port } = gateway.server;
  const ca = gateway.caPem;
  const session = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca, servername: "localhost" }, () => {
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    });
    socket.once("error", reject);
    socket.once("session", (ticket: Buffer) => {
      socket.destroy();
      resolve(ticket);
    });
  });
  const resume = async (caPem: string): Promise<{ isResumed: boolean; fingerprint: string | undefined }> => {
    const socket = connect({ host: "127.0.0.1", port, ca: caPem, servername: "localhost", session });
    await once(socket, "secureConnect");
    const fingerprint = socket.getPeerX509Certificate()?.fingerprint256;
    const isResumed = socket.isSessionReused();
    socket.destroy();
    return { isResumed, fingerprint };
  };
  assert.equal((await resume(gateway.caPem)).isResumed, true);
  const second = await anotherCertificate();
  gateway.server.replaceCertificate(second);
  const fingerprint = await fingerprintOf(second);
  assert.deepEqual(await resume(second.caPem), { isResumed: false, fingerprint });
});

test("files that cannot be used change nothing and are named", async (t) => {
  const gateway = await startGateway(t, { routes: [route()] });
  const before = await presentedFingerprint(gateway.server.port, gateway.caPem);
  const one = await anotherCertificate();
  const other = await anotherCertificate();
  const junk = join(root, "junk.pem");
  await writeFile(junk, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const bad: [keyFile: string, certFile: string, named: string][] = [
    [one.keyFile, other.certFile, other.certFile],
    [one.keyFile, junk, junk],
    [junk, one.certFile, junk],
    [join(root, "none"), one.certFile, join(root, "none")],
  ];
  for (const [keyFile, certFile, named] of bad) {
    assert.throws(
      () => gateway.server.replaceCertificate({ keyFile, certFile }),
      (error: LegacyGpuError) => error.code === "certificate_invalid" && error.message.includes(named),
    );
  }
  assert.equal(await presentedFingerprint(gateway.server.port, gateway.caPem), before);
});

test("without TLS there is nothing to replace", async (t) => {
  const gateway = await startGateway(t, { tls: undefined });
  const certificate = await anotherCertificate();
  assert.throws(() => gateway.server.replaceCertificate(certificate), { code: "config_invalid" });
});

test("a client that pins two CAs goes on through a change of the CA, one that pins only the old until its end", async (t) => {
  const dir = join(root, "changing");
  const clock = { now: () => Date.now() };
  const { keyFile, certFile, caPem: oldCa } = await makeCertificate(dir);
  const gateway = await startGateway(t, { tls: { keyFile, certFile }, routes: [route()] });
  const get = async (caPem: string): Promise<string> => {
    const fetch = pinnedFetch({ caPem });
    try {
      return await (
        await fetch(gateway.origin, { method: "GET", headers: {}, signal: AbortSignal.timeout(10_000) })
      ).text();
    } catch (error) {
      return String((error as { cause?: { code?: string } }).cause?.code);
    } finally {
      await fetch.close();
    }
  };
  await startCaChange({ dir, clock });
  const both = await readFile(join(dir, "ca.pem"), "utf8");
  gateway.server.replaceCertificate({ keyFile, certFile });
  assert.deepEqual([await get(oldCa), await get(both)], ["ok", "ok"]);
  await finishCaChange({ dir, clock });
  gateway.server.replaceCertificate({ keyFile, certFile });
  const newCa = await readFile(join(dir, "ca.pem"), "utf8");
  assert.notEqual(newCa, oldCa);
  assert.deepEqual([await get(both), await get(newCa)], ["ok", "ok"]);
  assert.equal(await get(oldCa), "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
});

test("a pinned bundle is named in full, and refused when any part of it is damaged", async () => {
  const [one, other] = [await anotherCertificate(), await anotherCertificate()];
  const fetch = pinnedFetch({ caPem: one.caPem + other.caPem, caFile: "ca.pem" });
  assert.match(fetch.trust, /^only CN=\S.* or CN=\S.* \(ca\.pem\)$/);
  await fetch.close();
  const half = other.caPem.slice(0, other.caPem.length / 2);
  for (const caPem of [one.caPem + half, half, "", "nothing"]) {
    assert.throws(() => pinnedFetch({ caPem }), { code: "certificate_invalid" });
  }
});
