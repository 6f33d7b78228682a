/** `legacygpu join-token …` and `legacygpu worker list|approve|revoke` against a real HTTPS server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { EnrolledWorkerJson, JoinTokenJson } from "../../client/index.ts";
import { encodeJoinToken } from "../../shared/join-token.ts";
import { startApiForFile } from "../support/api-for-file.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { problem } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";

const { api, env } = await startApiForFile();

const run = (...argv: string[]): ReturnType<typeof runTestCli> =>
  runTestCli(argv, { env, clock: new ManualClock(Date.UTC(2026, 0, 2, 3, 30)) });
const sent = (): unknown => JSON.parse(api.requests.at(-1)?.body.toString() ?? "");

const token: JoinTokenJson = {
  id: "abcdefghij",
  site: "lab",
  created_at: "2026-01-02T03:04:05.000Z",
  expires_at: "2026-01-02T03:34:05.000Z",
  uses: 3,
  uses_left: 2,
  revoked_at: null,
};
const created = { ...token, token: joinTokenFor("https://gpu.example.org:8000") };
function joinTokenFor(url: string): string {
  const secret = `lgj_${"a".repeat(10)}_${"b".repeat(38)}`;
  return encodeJoinToken({ url, pins: ["p".repeat(43)], secret });
}

const worker: EnrolledWorkerJson = {
  id: "box-1",
  site: "lab",
  host: "deep-thought",
  status: "approved",
  enrolled_at: "2026-01-02T03:04:05.000Z",
  approved_at: "2026-01-02T03:04:05.000Z",
  revoked_at: null,
  renewed_at: "2026-01-02T03:05:05.000Z",
  identity_expires_at: "2026-01-03T03:05:05.000Z",
  is_connected: true,
  join_token: "abcdefghij",
};

test("join-token create shows the token and the one line to paste, and leaves defaults to the gateway", async () => {
  api.on("POST /join-tokens", { status: 201, json: created });
  const { out, code } = await run("join-token", "create", "--site", "lab");
  assert.equal(
    out,
    `id       abcdefghij
site     lab
uses     3
expires  2026-01-02T03:34:05.000Z
token    ${created.token}

On each box that is to join:

  legacygpu worker start --join ${created.token}

The token is shown only now.
`,
  );
  assert.equal(code, 0);
  assert.deepEqual(sent(), { site: "lab" });
});

test("join-token create sends life, uses and the address that boxes are to use", async () => {
  api.on("POST /join-tokens", { status: 201, json: created });
  const flags = ["--ttl", "2h", "--uses", "3", "--gateway", "https://gpu.example.org:8000"];
  const { err } = await run("join-token", "create", "--site", "lab", ...flags);
  assert.deepEqual(sent(), { site: "lab", ttl: 7200, uses: 3, url: "https://gpu.example.org:8000" });
  assert.equal(err, "", "the address was chosen: there is nothing to say about it");
});

test("join-token create says so when the token names a gateway that no other machine can reach", async () => {
  const local = { ...token, token: joinTokenFor("https://localhost:8000") };
  api.on("POST /join-tokens", { status: 201, json: local });
  const { err } = await run("join-token", "create", "--site", "lab");
  assert.match(err, /^Note: the token names https:\/\/localhost:8000 .*elsewhere cannot reach it.*--gateway/);
  const json = await run("join-token", "create", "--site", "lab", "--json");
  assert.deepEqual(JSON.parse(json.out), local);
  assert.equal(json.err, "");
  api.on("POST /join-tokens", { status: 201, json: { ...token, token: "lgj_9OfANewerGateway" } });
  const newer = await run("join-token", "create", "--site", "lab");
  assert.match(newer.out, /--join lgj_9OfANewerGateway\n/);
  assert.deepEqual([newer.code, newer.err], [0, ""]);
});

test("join-token create refuses what no gateway would take, before it asks one", async () => {
  const wrong = [
    [],
    ["--site", "lab", "--ttl", "59s"],
    ["--site", "lab", "--ttl", "8d"],
    ["--site", "lab", "--ttl", "soon"],
    ["--site", "lab", "--uses", "0"],
    ["--site", "lab", "--gateway", "gpu.example.org"],
    ["--site", "lab", "--gateway", "http://gpu.example.org:8000"],
    ["--site", "lab", "--uses", "10001"],
  ];
  for (const flags of wrong)
    assert.equal((await run("join-token", "create", ...flags)).code, 2, flags.join(" "));
  assert.equal(api.requests.length, 0);
});

test("join-token list tells live tokens from those that have ended", async () => {
  const ended = [
    { ...token, id: "used", uses_left: 0 },
    { ...token, id: "expired", expires_at: "2026-01-02T03:30:00.000Z" },
    { ...token, id: "revoked", revoked_at: "2026-01-02T03:10:00.000Z" },
  ];
  api.on("GET /join-tokens", { json: { join_tokens: [token, ...ended] } });
  const { out } = await run("join-token", "list");
  assert.deepEqual(
    out.split("\n").map((line) => line.split(/ {2,}/)),
    [
      ["ID", "SITE", "USES LEFT", "CREATED", "EXPIRES", "STATE"],
      ["abcdefghij", "lab", "2 of 3", token.created_at, token.expires_at, "live"],
      ["used", "lab", "0 of 3", token.created_at, token.expires_at, "used up"],
      ["expired", "lab", "2 of 3", token.created_at, "2026-01-02T03:30:00.000Z", "expired"],
      ["revoked", "lab", "2 of 3", token.created_at, token.expires_at, "revoked"],
      [""],
    ],
  );
  const json = await run("join-token", "list", "--json");
  assert.deepEqual(JSON.parse(json.out), { join_tokens: [token, ...ended] });
  api.on("GET /join-tokens", { json: { join_tokens: [] } });
  assert.equal((await run("join-token", "list")).out, "There are no join tokens.\n");
});

test("join-token revoke", async () => {
  const revoked = { ...token, revoked_at: "2026-01-02T03:30:00.000Z" };
  api.on("DELETE /join-tokens/abcdefghij", { json: revoked });
  const { out } = await run("join-token", "revoke", "abcdefghij");
  assert.equal(out, "Join token abcdefghij is revoked. Workers that have joined with it stay.\n");
  assert.deepEqual(JSON.parse((await run("join-token", "revoke", "abcdefghij", "--json")).out), revoked);
  api.on("DELETE /join-tokens/none", problem("join_token_not_found"));
  const unknown = await run("join-token", "revoke", "none");
  assert.match(unknown.err, /join_token_not_found/);
  assert.equal(unknown.code, 1);
});

test("worker list shows who has joined, and who of them is connected", async () => {
  const pending = { ...worker, id: "box-2", status: "pending", renewed_at: null, is_connected: false };
  api.on("GET /workers", { json: { workers: [worker, pending] } });
  const { out } = await run("worker", "list");
  assert.deepEqual(
    out.split("\n").map((line) => line.split(/ {2,}/)),
    [
      ["ID", "SITE", "STATUS", "CONNECTED", "HOST", "ENROLLED", "RENEWED"],
      ["box-1", "lab", "approved", "yes", "deep-thought", worker.enrolled_at, worker.renewed_at],
      ["box-2", "lab", "pending", "no", "deep-thought", worker.enrolled_at],
      [""],
    ],
  );
  assert.deepEqual(JSON.parse((await run("worker", "list", "--json")).out), { workers: [worker, pending] });
  api.on("GET /workers", { json: { workers: [] } });
  assert.match((await run("worker", "list")).out, /^No worker has joined.*join-token create/);
});

test("worker approve and revoke say what has happened", async () => {
  api.on("POST /workers/box-1/approve", { json: { ...worker, host: "evil\nhost" } });
  assert.equal(
    (await run("worker", "approve", "box-1")).out,
    "Worker box-1 (evil host, site lab) is approved.\n",
  );
  api.on("DELETE /workers/box-1", { json: { ...worker, status: "revoked" } });
  const revoked = await run("worker", "revoke", "box-1");
  assert.match(revoked.out, /^Worker box-1 is revoked: its link is closed, .*join token.*\n$/);
  api.on("DELETE /workers/none", problem("worker_not_found"));
  assert.match((await run("worker", "revoke", "none")).err, /worker_not_found/);
  assert.match(api.requests.at(-1)?.headers.authorization ?? "", /^Bearer lgk_env$/);
});
