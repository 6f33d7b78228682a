/** `legacygpu key …` against a real HTTPS server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { startApiForFile } from "../support/api-for-file.ts";
import { sampleKey } from "../support/api-samples.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { problem } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";

const { api, env } = await startApiForFile();

const run = (...argv: string[]): ReturnType<typeof runTestCli> => runTestCli(["key", ...argv], { env });
const sent = (): unknown => JSON.parse(api.requests.at(-1)?.body.toString() ?? "");
const created = { ...sampleKey, key: "lgk_abcdefghij_secret" };

test("key create sends what was asked for and nothing else, and shows the key", async () => {
  api.on("POST /keys", { status: 201, json: created });
  const { out, code } = await run("create", "--name", "laptop", "--scopes", "submit, read");
  assert.equal(
    out,
    `id      abcdefghij
name    laptop
scopes  submit,read
key     lgk_abcdefghij_secret

The key is shown only now: keep it.
`,
  );
  assert.equal(code, 0);
  assert.deepEqual(sent(), { name: "laptop", scopes: ["submit", "read"] });
});

test("key create with tenant, life and restrictions", async () => {
  const restrictions = {
    tenant: "physics",
    expires_at: "2026-04-02T03:04:05.000Z",
    networks: ["10.0.0.0/8", "2001:db8::/32"],
    models: ["digits"],
    sites: ["lab-1", "lab-2"],
  };
  api.on("POST /keys", { status: 201, json: { ...created, ...restrictions } });
  const flags = ["--tenant", "physics", "--expires-in", "90d", "--model", "digits"];
  const networks = ["--network", "10.0.0.0/8", "--network", "2001:db8::/32"];
  const sites = ["--site", "lab-1", "--site", "lab-2"];
  const { out } = await run(
    ...["create", "--name", "laptop", "--scopes", "read"],
    ...[...flags, ...networks, ...sites],
  );
  assert.deepEqual(sent(), {
    name: "laptop",
    scopes: ["read"],
    tenant: "physics",
    expires_in: 7_776_000,
    networks: restrictions.networks,
    models: restrictions.models,
    sites: restrictions.sites,
  });
  assert.match(
    out,
    /^tenant {4}physics\nexpires {3}2026-04-02T03:04:05.000Z\nnetworks {2}10.0.0.0\/8,2001:db8::\/32\nmodels {4}digits\nsites {5}lab-1,lab-2\nkey/m,
  );
});

test("key list says whose a key is, when it ends, when it was used last, and which have expired", async () => {
  const clock = new ManualClock(Date.UTC(2026, 1, 1));
  const expired = {
    ...sampleKey,
    id: "bcdefghijk",
    name: "build",
    tenant: "physics",
    expires_at: "2026-02-01T00:00:00.000Z",
    last_used_at: "2026-01-31T23:59:00.000Z",
  };
  const ahead = {
    ...sampleKey,
    id: "cdefghijkl",
    kind: "worker",
    scopes: ["worker"],
    expires_at: "2026-02-01T00:00:00.001Z",
    revoked_at: "2026-01-20T10:11:12.000Z",
  };
  api.on("GET /keys", { json: { keys: [sampleKey, expired, ahead] } });
  const { out } = await runTestCli(["key", "list"], { env, clock });
  assert.equal(
    out,
    `ID          NAME    KIND    SCOPES       TENANT      CREATED            EXPIRES                      LAST USED          REVOKED
abcdefghij  laptop  client  submit,read  abcdefghij  2026-01-02T03:04Z
bcdefghijk  build   client  submit,read  physics     2026-01-02T03:04Z  2026-02-01T00:00Z (expired)  2026-01-31T23:59Z
cdefghijkl  laptop  worker  worker       abcdefghij  2026-01-02T03:04Z  2026-02-01T00:00Z                               2026-01-20T10:11Z
`,
  );
  const json = await runTestCli(["key", "list", "--json"], { env, clock });
  assert.deepEqual(JSON.parse(json.out), { keys: [sampleKey, expired, ahead] });
  api.on("GET /keys", { json: { keys: [] } });
  assert.equal((await run("list")).out, "There are no keys.\n");
});

test("key rotate gives the old key a day, or what --grace says", async () => {
  const fresh = { ...created, id: "newer", replaces: "abcdefghij" };
  api.on("POST /keys/abcdefghij/rotate", { status: 201, json: fresh });
  const { out } = await run("rotate", "abcdefghij");
  assert.deepEqual(sent(), { grace: 86_400 });
  assert.match(out, /^replaces {2}abcdefghij\nkey {7}lgk_abcdefghij_secret$/m);
  assert.match(out, /\nKey abcdefghij lives on for 24\.0 h, or less if it was to end sooner\.\n$/);
  await run("rotate", "abcdefghij", "--grace", "7d");
  assert.deepEqual(sent(), { grace: 604_800 });
  assert.match((await run("rotate", "abcdefghij", "--grace", "0")).out, /\nKey abcdefghij has ended\.\n$/);
  assert.deepEqual(sent(), { grace: 0 });
  assert.deepEqual(JSON.parse((await run("rotate", "abcdefghij", "--json")).out), fresh);
  api.on("POST /keys/abcdefghij/rotate", problem("request_invalid", "Key abcdefghij is revoked."));
  const refused = await run("rotate", "abcdefghij");
  assert.deepEqual([refused.code, refused.out], [2, ""]);
  assert.match(refused.err, /Key abcdefghij is revoked/);
});

test("key revoke", async () => {
  api.on("DELETE /keys/abcdefghij", { json: sampleKey });
  assert.equal((await run("revoke", "abcdefghij")).out, "Key abcdefghij is revoked.\n");
});

test("durations that no key can have are refused before anything is sent", async () => {
  for (const given of ["59s", "3651d", "soon", "-1d"]) {
    const { code, err } = await run("create", "--name", "n", "--scopes", "read", `--expires-in=${given}`);
    assert.match(err, /Write 60 s to ten years/, given);
    assert.equal(code, 2, given);
  }
  const { code, err } = await run("rotate", "abcdefghij", "--grace", "31d");
  assert.equal(code, 2);
  assert.match(err, /Write 0 to 30 days/);
  assert.equal(api.requests.length, 0);
});
