import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { bearerOf } from "../../gateway/auth/authenticator.ts";
import type { HttpServerOptions } from "../../gateway/http/exchange.ts";
import { type Gateway, type Reply, route, startGateway } from "./http-server-fixture.ts";

const PAGE = "https://app.example.com";

async function start(t: TestContext, options: Partial<HttpServerOptions>): Promise<Gateway> {
  return await startGateway(t, {
    routes: [
      route({ pattern: "/tasks", handle: () => ({ status: 200, headers: { ETag: '"1"' }, body: "tasks" }) }),
      route({ pattern: "/tasks", method: "POST" }),
      route({
        pattern: "/secret",
        guard: () => {
          throw fail("auth_missing");
        },
      }),
      route({
        pattern: "/chunks",
        handle: () => ({
          status: 200,
          body: {
            chunks: (async function* () {
              yield "a";
            })(),
          },
        }),
      }),
    ],
    ...options,
  });
}

const ask = (
  gateway: Gateway,
  path: string,
  headers: Record<string, string>,
  method = "GET",
): Promise<Reply> => gateway.fetch(path, { method: method as "GET", headers });

const corsHeaders = ({ headers }: Reply): string[] =>
  Object.keys(headers).filter((name) => name.startsWith("access-control-"));

const preflightFrom = (origin: string): Record<string, string> => ({
  Origin: origin,
  "Access-Control-Request-Method": "POST",
  "Access-Control-Request-Headers": "authorization, content-type",
});

test("without configured origins no page is given anything", async (t) => {
  const gateway = await start(t, {});
  for (const reply of [
    await ask(gateway, "/tasks", { Origin: PAGE }),
    await ask(gateway, "/tasks", preflightFrom(PAGE), "OPTIONS"),
  ]) {
    assert.deepEqual(corsHeaders(reply), []);
    assert.equal(reply.headers.vary, undefined);
  }
});

test("a listed page may read answers of every kind, refusals included", async (t) => {
  const gateway = await start(t, { corsOrigins: [PAGE, "http://localhost:3000"] });
  for (const [path, status] of [
    ["/tasks", 200],
    ["/chunks", 200],
    ["/secret", 401],
    ["/nowhere", 404],
  ] as const) {
    for (const origin of [PAGE, "http://localhost:3000"]) {
      const reply = await ask(gateway, path, { Origin: origin });
      assert.equal(reply.status, status);
      assert.equal(reply.headers["access-control-allow-origin"], origin);
      assert.equal(reply.headers.vary, "Origin");
      assert.match(String(reply.headers["access-control-expose-headers"]), /etag.*location.*retry-after/);
      assert.equal(reply.headers["access-control-allow-credentials"], undefined);
    }
  }
});

test("a preflight tells a listed page the methods of the address and the headers that are read", async (t) => {
  const gateway = await start(t, { corsOrigins: [PAGE] });
  const reply = await ask(gateway, "/tasks", preflightFrom(PAGE), "OPTIONS");
  assert.equal(reply.status, 204);
  assert.equal(reply.headers["access-control-allow-origin"], PAGE);
  assert.equal(reply.headers["access-control-allow-methods"], "GET, POST, HEAD, OPTIONS");
  const allowed = String(reply.headers["access-control-allow-headers"]).split(", ");
  for (const name of ["authorization", "content-type", "idempotency-key", "last-event-id", "prefer"]) {
    assert.ok(allowed.includes(name), name);
  }
  assert.equal(reply.headers["access-control-max-age"], "600");
  // Not a preflight, and an address that nobody serves.
  assert.equal(
    (await ask(gateway, "/tasks", { Origin: PAGE }, "OPTIONS")).headers["access-control-allow-methods"],
    undefined,
  );
  assert.equal((await ask(gateway, "/nowhere", preflightFrom(PAGE), "OPTIONS")).status, 404);
});

test("any other page gets no header that would let it read", async (t) => {
  const gateway = await start(t, { corsOrigins: [PAGE] });
  const others = [
    "https://evil.example.com",
    `${PAGE}.evil.example`,
    `${PAGE}:8443`,
    PAGE.replace("https", "http"),
    `${PAGE}/`,
    PAGE.toUpperCase(),
    "null",
    "*",
    "",
  ];
  for (const origin of others) {
    for (const [headers, method] of [
      [{ Origin: origin }, "GET"],
      [preflightFrom(origin), "OPTIONS"],
    ] as const) {
      const reply = await ask(gateway, "/tasks", headers, method);
      assert.deepEqual(corsHeaders(reply), [], `${method} from ${origin}`);
      assert.equal(reply.headers.vary, "Origin");
    }
  }
});

test("a star lets every page read, and never with what a browser attaches by itself", async (t) => {
  const gateway = await start(t, { corsOrigins: ["*"] });
  for (const origin of [PAGE, "null"]) {
    const reply = await ask(gateway, "/tasks", { Origin: origin });
    assert.equal(reply.headers["access-control-allow-origin"], "*");
    assert.equal(reply.headers["access-control-allow-credentials"], undefined);
    const preflight = await ask(gateway, "/tasks", preflightFrom(origin), "OPTIONS");
    assert.equal(preflight.headers["access-control-allow-origin"], "*");
    assert.match(String(preflight.headers["access-control-allow-headers"]), /authorization/);
  }
});

test("a credential in a cookie or in the address authenticates nobody", async (t) => {
  const gateway = await startGateway(t, {
    corsOrigins: ["*"],
    routes: [
      route({
        guard: (head) => bearerOf(head),
        handle: (_, bearer) => ({ status: 200, body: String(bearer) }),
      }),
    ],
  });
  const key = "lgk_0123456789";
  const cookies = [`authorization=Bearer ${key}`, `Bearer ${key}`, `key=${key}; token=${key}`];
  for (const cookie of cookies) assert.equal((await ask(gateway, "/", { Cookie: cookie })).status, 401);
  for (const name of ["key", "access_token", "authorization"]) {
    assert.equal((await ask(gateway, `/?${name}=${key}`, {})).status, 401);
  }
  assert.equal((await ask(gateway, "/", { Authorization: `Bearer ${key}` })).text, key);
  // Nor does the gateway ever set one.
  assert.equal(
    (await ask(gateway, "/", { Authorization: `Bearer ${key}` })).headers["set-cookie"],
    undefined,
  );
});
