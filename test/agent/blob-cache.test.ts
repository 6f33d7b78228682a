/** The blob cache against a server that breaks off, lies and refuses. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { blobPath } from "@legacygpu/shared/protocol/version";
import { workerKey } from "../../agent/link/credentials.ts";
import { LinkGate } from "../../agent/link/gate.ts";
import { Network } from "../../agent/link/network.ts";
import { BlobCache } from "../../agent/models/blob-cache.ts";
import { FakeGateway } from "../support/fake-gateway.ts";

describe("the blob cache", () => {
  let gateway: FakeGateway;
  let network: Network;
  let directory: string;
  let cache: BlobCache;
  let gate: LinkGate;
  before(async () => {
    gateway = await FakeGateway.start();
    const { key, caPem } = gateway;
    const url = new URL(gateway.url.replace("wss:", "https:"));
    network = new Network({ gateway: url, credentials: workerKey(key), caPem, env: {}, clock: systemClock });
  });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "legacygpu-blobs-"));
    const request = network.request.bind(network);
    gate = new LinkGate();
    gate.open();
    cache = new BlobCache({ directory, request, gate, clock: systemClock, random: () => 0 });
    gateway.requests.length = 0;
  });
  after(async () => {
    await network.close();
    await gateway.close();
  });

  const want = (digest: string, sizeBytes: number) => ({
    digest,
    extension: ".onnx",
    maxBytes: sizeBytes,
    sizeBytes,
  });
  const isCode = (code: string) => (error: LegacyGpuError) => error.code === code;
  async function cleanUp(): Promise<void> {
    await cache.close();
    await rm(directory, { recursive: true });
  }

  test("fetches once for all who ask at one time, and never again", async () => {
    const bytes = randomBytes(300_000);
    const request = want(gateway.addBlob(bytes), bytes.length);
    const paths = await Promise.all([cache.ensure(request), cache.ensure(request), cache.ensure(request)]);
    assert.equal(new Set(paths).size, 1);
    assert.deepEqual(await readFile(paths[0]), bytes);
    await cache.ensure(request);
    assert.deepEqual(gateway.requests, [blobPath(request.digest)]);
    await cleanUp();
  });

  test("goes on where a download broke off", async () => {
    const bytes = randomBytes(2_000_000);
    gateway.breakNextDownload = true;
    const path = await cache.ensure(want(gateway.addBlob(bytes), bytes.length));
    assert.deepEqual(await readFile(path), bytes);
    assert.match(gateway.requests[1] ?? "", / bytes=\d+-$/);
    await cleanUp();
  });

  test("bytes with another digest are thrown away, tried again, and refused in the end", async () => {
    const digest = `sha256:${createHash("sha256").update("what was promised").digest("hex")}`;
    gateway.blobs.set(digest, randomBytes(1000));
    await assert.rejects(cache.ensure(want(digest, 1000)), isCode("digest_mismatch"));
    assert.ok(gateway.requests.length > 1);
    assert.deepEqual(await readdir(directory), []);
    await cleanUp();
  });

  test("takes no more than was announced", async () => {
    const bytes = randomBytes(5000);
    await assert.rejects(cache.ensure(want(gateway.addBlob(bytes), 1000)), isCode("body_too_large"));
    await cleanUp();
  });

  test("rides out a gateway that is briefly unwell, and believes a 404 at once", async () => {
    const bytes = randomBytes(1000);
    gateway.failNext = { status: 503, count: 2 };
    await cache.ensure(want(gateway.addBlob(bytes), bytes.length));
    assert.equal(gateway.requests.length, 3);
    await assert.rejects(cache.ensure(want(`sha256:${"0".repeat(64)}`, 1)), isCode("blob_not_found"));
    assert.equal(gateway.requests.length, 4);
    await cleanUp();
  });

  test("waits for a link, and a download that fails as the link is lost costs no try", async () => {
    const bytes = randomBytes(1000);
    const request = want(gateway.addBlob(bytes), bytes.length);
    let outages = 0;
    const flaky = new BlobCache({
      directory,
      gate,
      clock: systemClock,
      random: () => 0,
      request: (path, options) => {
        if (outages === 10) return network.request(path, options);
        outages += 1;
        gate.shut();
        setImmediate(() => gate.open());
        return Promise.reject(new Error("the line is dead"));
      },
    });
    assert.deepEqual(await readFile(await flaky.ensure(request)), bytes);
    assert.equal(outages, 10);
    gate.shut();
    const waiting = flaky.ensure(want(gateway.addBlob(randomBytes(10)), 10));
    const requests = gateway.requests.length;
    await Promise.all([assert.rejects(waiting, isCode("transfer_failed")), flaky.close()]);
    assert.equal(gateway.requests.length, requests);
    await cleanUp();
  });
});
