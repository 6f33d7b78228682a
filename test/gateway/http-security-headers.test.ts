import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import type { Response } from "../../gateway/http/exchange.ts";
import { PAGE_POLICY } from "../../gateway/http/security-headers.ts";
import { type Reply, route, startGateway } from "./http-server-fixture.ts";

const LOCKED = "default-src 'none'; frame-ancestors 'none'";

function assertSafe({ headers }: Reply, policy = LOCKED, caching = "no-store"): void {
  assert.equal(headers["x-content-type-options"], "nosniff");
  assert.equal(headers["referrer-policy"], "no-referrer");
  assert.equal(headers["content-security-policy"], policy);
  assert.equal(headers["cache-control"], caching);
  assert.equal(headers["strict-transport-security"], undefined);
}

test("every kind of answer tells a browser that it is neither page nor script nor worth keeping", async (t) => {
  const file = new URL(import.meta.url);
  const answers: Readonly<Record<string, () => Response>> = {
    "/text": () => ({ status: 200, headers: { "content-type": "text/plain" }, body: "text" }),
    "/empty": () => ({ status: 204 }),
    "/unchanged": () => ({ status: 304, headers: { etag: '"1"' } }),
    "/file": () => ({ status: 200, body: { stream: createReadStream(file), sizeBytes: 10 } }),
    "/chunks": () => ({
      status: 200,
      body: {
        chunks: (async function* () {
          yield "chunk";
        })(),
      },
    }),
    "/fault": () => {
      throw new Error("a bug");
    },
  };
  const guard = (): never => {
    throw fail("auth_missing");
  };
  const gateway = await startGateway(t, {
    routes: [
      ...Object.entries(answers).map(([pattern, handle]) => route({ pattern, handle })),
      route({ pattern: "/secret", method: "POST", guard, body: { kind: "buffer", limitBytes: 10 } }),
    ],
  });
  for (const path of [...Object.keys(answers), "/nowhere"]) {
    assertSafe(await gateway.fetch(path));
    if (path !== "/nowhere") assertSafe(await gateway.fetch(path, { method: "HEAD" }));
  }
  // Answered before the body has come.
  assertSafe(await gateway.fetch("/secret", { method: "POST", body: Buffer.alloc(1_000_000) }));
  assertSafe(await gateway.fetch("/text", { method: "OPTIONS" }));
});

test("what an answer says itself about caching and about what it may load is left as it is", async (t) => {
  const headers = { "Cache-Control": "public, max-age=300" };
  const policy = { "content-security-policy": PAGE_POLICY };
  const gateway = await startGateway(t, {
    routes: [
      route({ pattern: "/kept", handle: () => ({ status: 200, headers }) }),
      route({ pattern: "/page", handle: () => ({ status: 200, headers: policy, body: "<p>" }) }),
      route({ pattern: "/kept-page", handle: () => ({ status: 200, headers: { ...headers, ...policy } }) }),
    ],
  });
  assertSafe(await gateway.fetch("/kept"), LOCKED, "public, max-age=300");
  assertSafe(await gateway.fetch("/page"), PAGE_POLICY);
  assertSafe(await gateway.fetch("/kept-page"), PAGE_POLICY, "public, max-age=300");
});

test("a page may load what is its own, and run no script that stands in it", () => {
  const directives = new Map(PAGE_POLICY.split("; ").map((text) => [text.split(" ")[0], text]));
  assert.equal(directives.get("default-src"), "default-src 'self'");
  assert.equal(directives.get("script-src"), "script-src 'self'");
  for (const name of ["base-uri", "form-action", "frame-ancestors"]) {
    assert.equal(directives.get(name), `${name} 'none'`);
  }
  assert.doesNotMatch(PAGE_POLICY, /unsafe|\*|https?:/);
});
