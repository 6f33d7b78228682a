/** What a token may not make, and what ends with it: nothing that it began outlives it. */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import type { AuditEvent } from "../../gateway/audit/audit-log.ts";
import { Authenticator } from "../../gateway/auth/authenticator.ts";
import { Gatekeeper } from "../../gateway/auth/gatekeeper.ts";
import type { Principal } from "../../gateway/auth/principal.ts";
import { type Endpoint, errorResponse, json, toRoute } from "../../gateway/http/endpoint.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { principal } from "../support/principals.ts";
import { type Reply, startGateway, until } from "./http-server-fixture.ts";

const OWN_TOKEN = "own.access.token";
const FOREIGN_TOKEN = "foreign.access.token";
const KEY = "key";
const OWN_LIFE_MS = 900_000;
const FOREIGN_LIFE_MS = 86_400_000;

interface Door {
  readonly clock: ManualClock;
  readonly audit: AuditEvent[];
  /** How many streams somebody reads. */
  readonly openStreams: () => number;
  readonly revoke: (keyId: string) => void;
  send(method: "GET" | "POST", path: string, bearer: string): Promise<Reply>;
}

async function open(t: TestContext): Promise<Door> {
  const clock = new ManualClock();
  const audit: AuditEvent[] = [];
  let revoke: Door["revoke"] = () => {};
  let streams = 0;
  const admin = principal("root", "admin");
  const callers: Readonly<Record<string, Principal>> = {
    [KEY]: { ...admin, expiresAtMs: clock.now() + 10 * 365 * 86_400_000 },
    [OWN_TOKEN]: { ...admin, tokenId: "t1", expiresAtMs: clock.now() + OWN_LIFE_MS },
    [FOREIGN_TOKEN]: {
      ...principal("ext:somebody", "admin"),
      kind: "external",
      expiresAtMs: clock.now() + FOREIGN_LIFE_MS,
    },
  };
  const authenticate = (presented: string): Principal => {
    const found = callers[presented];
    if (found === undefined) throw fail("auth_invalid");
    return found;
  };
  const visit = { leave: () => {} };
  const gatekeeper = new Gatekeeper({
    clock,
    authenticator: new Authenticator({
      keys: { authenticate },
      identities: { authenticate },
      tokens: { authenticate: async (token) => authenticate(token) },
    }),
    revocable: [{ onRevoked: (listener) => (revoke = listener) }],
    limits: {
      checkAddress() {},
      authenticationFailed() {},
      openSocket() {},
      enterUnknown: () => visit,
      enter: () => visit,
    },
    audit: { record: (event) => void audit.push(event) },
  });
  async function* endless(): AsyncGenerator<string> {
    streams += 1;
    try {
      yield "first";
      await new Promise(() => {});
    } finally {
      streams -= 1;
    }
  }
  const endpoints: Endpoint[] = [
    {
      method: "GET",
      pattern: "/stream",
      scope: "read",
      handle: () => ({ status: 200, body: { chunks: endless(), whenClosing: "end" } }),
    },
    {
      method: "POST",
      pattern: "/lasting",
      scope: "admin",
      isForKeys: true,
      action: "something.make",
      handle: () => json(201, {}),
    },
    {
      method: "GET",
      pattern: "/broken",
      scope: "read",
      handle: () => {
        throw new Error("ENOENT: /home/operator/keys.json, secret hunter2");
      },
    },
  ];
  const gateway = await startGateway(t, {
    routes: endpoints.map((endpoint) => toRoute(endpoint, gatekeeper)),
    errorResponse: errorResponse(createLogger("test", "silent")),
  });
  return {
    clock,
    audit,
    openStreams: () => streams,
    revoke: (keyId) => revoke(keyId),
    send: (method, path, bearer) =>
      gateway.fetch(path, { method, headers: { authorization: `Bearer ${bearer}` } }),
  };
}

const codeOf = ({ status, text }: Reply): unknown[] => [status, JSON.parse(text).code];

test("what outlives a token is made with a key only, whoever issued the token", async (t) => {
  const { send, audit } = await open(t);
  assert.deepEqual(codeOf(await send("POST", "/lasting", OWN_TOKEN)), [403, "auth_forbidden"]);
  assert.deepEqual(codeOf(await send("POST", "/lasting", FOREIGN_TOKEN)), [403, "auth_forbidden"]);
  assert.deepEqual(
    audit.map(({ action, actor }) => [action, actor]),
    [
      ["auth.forbidden", "root"],
      ["auth.forbidden", "ext:somebody"],
    ],
  );
  assert.equal((await send("POST", "/lasting", KEY)).status, 201);
  assert.deepEqual(
    audit.slice(2).map(({ action, actor, target }) => [action, actor, target]),
    [["something.make", "root", "/lasting"]],
  );
});

test("a stream ends with the token that asked for it, of whichever issuer; one of a key goes on until the key ends", async (t) => {
  const { clock, send, openStreams, revoke } = await open(t);
  const ended: string[] = [];
  for (const bearer of [OWN_TOKEN, FOREIGN_TOKEN, KEY])
    void send("GET", "/stream", bearer).then(
      () => ended.push(bearer),
      () => {},
    );
  await until(() => openStreams() === 3, "three streams to be read");
  clock.advance(OWN_LIFE_MS - 1);
  assert.deepEqual(ended, []);
  clock.advance(1);
  await until(() => ended.length === 1, "the stream of the gateway's own token to end");
  clock.advance(FOREIGN_LIFE_MS - OWN_LIFE_MS);
  await until(() => ended.length === 2, "the stream of the other issuer's token to end");
  assert.deepEqual(ended, [OWN_TOKEN, FOREIGN_TOKEN]);
  assert.equal(clock.pendingCount, 0);
  revoke("root");
  await until(() => ended.length === 3, "the stream of the key to end");
});

test("a stream of a token ends at once with the key that it was made from, and leaves no timer", async (t) => {
  const { clock, send, openStreams, revoke } = await open(t);
  const stream = send("GET", "/stream", OWN_TOKEN);
  await until(() => openStreams() === 1, "the stream to be read");
  revoke("root");
  assert.equal((await stream).text, "first");
  assert.equal(clock.pendingCount, 0);
});

test("an error that nobody foresaw says nothing of what is inside", async (t) => {
  const { send } = await open(t);
  const reply = await send("GET", "/broken", KEY);
  assert.deepEqual(codeOf(reply), [500, "internal"]);
  assert.doesNotMatch(reply.text, /hunter2|ENOENT|operator|\.ts/);
});
