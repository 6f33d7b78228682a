/** Access tokens and the keys that they were made from: what happens to a key happens to its tokens. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { CreateKey } from "@legacygpu/shared/api/keys";
import { KeyRing } from "../../gateway/auth/key-ring.ts";
import { HEAD, startTokensRig, type TokensRig } from "./tokens-rig.ts";

interface Rig extends TokensRig {
  readonly ring: KeyRing;
  /** @returns id and text of a key, and a token for it. */
  make(
    key?: Partial<CreateKey>,
  ): Promise<{ readonly id: string; readonly key: string; readonly token: string }>;
}

async function start(t: TestContext): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-token-keys-"));
  let opened: KeyRing | undefined;
  const rig = await startTokensRig(t, {
    keyRing: async (clock) => {
      opened = await KeyRing.open(join(dir, "keys.json"), clock);
      return opened;
    },
  });
  const ring = opened;
  assert.ok(ring);
  t.after(async () => {
    await ring.close();
    await rm(dir, { recursive: true });
  });
  return {
    ...rig,
    ring,
    make: async (wanted) => {
      const { id, key } = await ring.issue("client", { name: "n", scopes: ["read"], ...wanted });
      return { id, key, token: await rig.exchange(key) };
    },
  };
}

test("revoking a key ends its tokens at once, and nobody else's", async (t) => {
  const { ring, make, send } = await start(t);
  const one = await make();
  const other = await make();
  await ring.revoke(one.id);
  assert.equal((await send("/whoami", { bearer: one.token })).status, 401);
  assert.equal((await send("/whoami", { bearer: other.token })).status, 200);
});

test("tokens of a key that was rotated last as long as the key's grace", async (t) => {
  const { ring, make, send, clock } = await start(t);
  const { id, token } = await make();
  await ring.rotate(id, 60);
  assert.equal((await send("/whoami", { bearer: token })).status, 200);
  clock.advance(60_000);
  assert.equal((await send("/whoami", { bearer: token })).status, 401);
});

test("a token ends with its key", async (t) => {
  const { make, send, clock } = await start(t);
  const { token } = await make({ expires_in: 100 });
  clock.advance(100_000);
  assert.equal((await send("/whoami", { bearer: token })).status, 401);
});

test("a token is only good in the networks of its key", async (t) => {
  const { make, tokens, send } = await start(t);
  const { token } = await make({ networks: ["127.0.0.0/8"] });
  assert.equal((await send("/whoami", { bearer: token })).status, 200);
  await assert.rejects(tokens.authenticate(token, { ...HEAD, remoteAddress: "192.0.2.1" }), {
    code: "auth_invalid",
  });
});

test("a token has tenant, models and sites of its key", async (t) => {
  const { make, whoIs } = await start(t);
  const { token } = await make({ tenant: "acme", models: ["digits"], sites: ["lab"] });
  const { tenant, models, sites } = await whoIs(token);
  assert.deepEqual([tenant, models, sites], ["acme", ["digits"], ["lab"]]);
});
