/** `legacygpu join-token …` and `legacygpu worker list|approve|revoke` against a real HTTPS server. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import {
  createdJoinTokenSchema,
  type EnrolledWorkerJson,
  enrolledWorkerJsonSchema,
} from "../../shared/api/enrolment.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { FakeApi, problem } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";

const AT = "2026-01-02T03:04:05.000Z";
const created = createdJoinTokenSchema.parse({
  id: "jjjjjjjjjj",
  site: "lab",
  created_at: AT,
  expires_at: "2026-01-02T03:34:05.000Z",
  uses: 1,
  uses_left: 1,
  revoked_at: null,
  token: "lgj_1abcdef",
});
const { token: _shownOnce, ...listed } = created;

function sampleEnrolled(changes: Partial<EnrolledWorkerJson> = {}): EnrolledWorkerJson {
  return enrolledWorkerJsonSchema.parse({
    id: "box-1",
    site: "lab",
    host: "rig7",
    status: "approved",
    enrolled_at: AT,
    approved_at: AT,
    revoked_at: null,
    renewed_at: "2026-01-02T19:04:05.000Z",
    identity_expires_at: "2026-01-03T19:04:05.000Z",
    is_connected: true,
    join_token: "jjjjjjjjjj",
    ...changes,
  });
}

let api: FakeApi;
let env: Record<string, string>;

before(async () => {
  api = await FakeApi.start(["gpu.example"]);
  env = {
    LEGACYGPU_HOME: join(api.dir, "home"),
    LEGACYGPU_URL: api.url,
    LEGACYGPU_CA: api.caFile,
    LEGACYGPU_KEY: "lgk_env",
  };
});
afterEach(() => api.reset());
after(() => api.close());

const run = (...argv: string[]): ReturnType<typeof runTestCli> => runTestCli(argv, { env });
const create = (...argv: string[]): ReturnType<typeof runTestCli> =>
  run("join-token", "create", "--site", "lab", ...argv);
const sent = (): unknown => JSON.parse(api.requests.at(-1)?.body.toString() ?? "");

test("join-token create shows the token and the line to paste, and warns that a loopback address is of no use elsewhere", async () => {
  api.on("POST /join-tokens", { status: 201, json: created });
  const { out, err, code } = await create();
  assert.equal(
    out,
    `id       jjjjjjjjjj
site     lab
uses     1
expires  2026-01-02T03:34:05.000Z
token    lgj_1abcdef

On each box that is to join:

  legacygpu worker start --join lgj_1abcdef

The token is shown only now.
`,
  );
  assert.equal(
    err,
    `Note: the token names localhost:${api.port} as the gateway, where boxes elsewhere cannot reach it. For them make one with --gateway https://HOST:PORT.\n`,
  );
  assert.equal(code, 0);
  // The gateway takes the address of the request, and its own defaults.
  assert.deepEqual(sent(), { site: "lab" });
  assert.equal(api.requests[0]?.headers.authorization, "Bearer lgk_env");
});

test("join-token create sends what was asked for; a gateway that is named needs no warning, unless it is this machine again", async () => {
  api.on("POST /join-tokens", { status: 201, json: created });
  const named = await create("--ttl", "12h", "--uses", "20", "--gateway", "https://gpu.example:8443/");
  assert.deepEqual(sent(), { site: "lab", ttl: 43_200, uses: 20, url: "https://gpu.example:8443" });
  assert.equal(named.err, "");
  for (const [gateway, host] of [
    ["https://127.0.0.1:8443", "127.0.0.1:8443"],
    ["https://[::1]", "[::1]"],
  ] as const) {
    const { err } = await create("--gateway", gateway);
    assert.deepEqual(sent(), { site: "lab", url: gateway });
    assert.ok(err.startsWith(`Note: the token names ${host} as the gateway`), err);
  }
});

test("join-token create names the gateway as the command line reaches it, when that is not loopback", async () => {
  api.on("POST /join-tokens", { status: 201, json: created });
  const proxy = createServer().on("connect", (_request, near) => {
    const far = connect(api.port, "127.0.0.1", () => {
      near.write("HTTP/1.1 200 OK\r\n\r\n");
      near.pipe(far).pipe(near);
    });
    far.on("error", () => near.destroy());
    near.on("error", () => far.destroy());
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  try {
    const HTTPS_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const argv = ["join-token", "create", "--site", "lab", "--url", "https://gpu.example:8443/"];
    const { err, code } = await runTestCli(argv, { env: { ...env, HTTPS_PROXY } });
    assert.equal(err, "");
    assert.equal(code, 0);
    assert.deepEqual(sent(), { site: "lab", url: "https://gpu.example:8443" });
  } finally {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  }
});

test("join-token create --json prints the document and nothing else", async () => {
  api.on("POST /join-tokens", { status: 201, json: created });
  const { out, err } = await create("--json");
  assert.deepEqual(JSON.parse(out), created);
  assert.equal(err, "");
});

test("what no join token can have is refused before anything is sent", async () => {
  const refused: readonly (readonly [flags: readonly string[], words: RegExp])[] = [
    [["--ttl=59s"], /Write 60 s to 7 days/],
    [["--ttl=8d"], /Write 60 s to 7 days/],
    [["--ttl=soon"], /Write 60 s to 7 days/],
    [["--uses=0"], /Write 1 to 10000/],
    [["--uses=10001"], /Write 1 to 10000/],
    [["--gateway=gpu.example:8443"], /Write https:\/\/HOST:PORT/],
    [["--gateway=http://gpu.example"], /Write https:\/\/HOST:PORT/],
    [["--gateway=https://gpu.example/api"], /Write https:\/\/HOST:PORT/],
    [["--gateway=https://key@gpu.example"], /Write https:\/\/HOST:PORT/],
  ];
  for (const [flags, words] of refused) {
    const { code, err } = await create(...flags);
    assert.match(err, words, flags.join());
    assert.equal(code, 2, flags.join());
  }
  assert.equal((await run("join-token", "create")).code, 2);
  assert.equal(api.requests.length, 0);
});

test("a join token is not asked for twice when its answer is lost", async () => {
  api.on("POST /join-tokens", "drop", { status: 201, json: created });
  const { code, out } = await create();
  assert.deepEqual([code, out], [4, ""]);
  assert.equal(api.requests.length, 1);
});

test("join-token list says what has become of each", async () => {
  const clock = new ManualClock(Date.parse(created.expires_at));
  const later = "2026-01-02T03:34:05.001Z";
  const tokens = [
    listed,
    { ...listed, id: "live", uses: 20, uses_left: 3, expires_at: later },
    { ...listed, id: "spent", uses_left: 0, expires_at: later },
    { ...listed, id: "revoked", revoked_at: AT, expires_at: later },
  ];
  api.on("GET /join-tokens", { json: { join_tokens: tokens } });
  const { out } = await runTestCli(["join-token", "list"], { env, clock });
  assert.equal(
    out,
    `ID          SITE  USES LEFT  CREATED                   EXPIRES                   STATE
jjjjjjjjjj  lab   1 of 1     2026-01-02T03:04:05.000Z  2026-01-02T03:34:05.000Z  expired
live        lab   3 of 20    2026-01-02T03:04:05.000Z  2026-01-02T03:34:05.001Z  live
spent       lab   0 of 1     2026-01-02T03:04:05.000Z  2026-01-02T03:34:05.001Z  used up
revoked     lab   1 of 1     2026-01-02T03:04:05.000Z  2026-01-02T03:34:05.001Z  revoked
`,
  );
  assert.deepEqual(JSON.parse((await run("join-token", "list", "--json")).out), { join_tokens: tokens });
  api.on("GET /join-tokens", { json: { join_tokens: [] } });
  assert.equal((await run("join-token", "list")).out, "There are no join tokens.\n");
});

test("join-token revoke", async () => {
  const revoked = { ...listed, revoked_at: AT };
  api.on("DELETE /join-tokens/jjjjjjjjjj", { json: revoked });
  const { out } = await run("join-token", "revoke", "jjjjjjjjjj");
  assert.equal(out, "Join token jjjjjjjjjj is revoked. Workers that have joined with it stay.\n");
  const json = await run("join-token", "revoke", "jjjjjjjjjj", "--json");
  assert.deepEqual(JSON.parse(json.out), revoked);
  api.on("DELETE /join-tokens/other", problem("join_token_not_found", "There is no join token other."));
  const unknown = await run("join-token", "revoke", "other");
  assert.deepEqual([unknown.code, unknown.out], [1, ""]);
  assert.match(unknown.err, /There is no join token other/);
});

test("worker list shows everybody who has joined, on one line each", async () => {
  const pending = sampleEnrolled({
    id: "box-22",
    host: "evil\nbox-1",
    status: "pending",
    approved_at: null,
    renewed_at: null,
    identity_expires_at: null,
    is_connected: false,
  });
  const workers = [sampleEnrolled(), pending];
  api.on("GET /workers", { json: { workers } });
  assert.equal(
    (await run("worker", "list")).out,
    `ID      SITE  STATUS    CONNECTED  HOST        ENROLLED                  RENEWED
box-1   lab   approved  yes        rig7        2026-01-02T03:04:05.000Z  2026-01-02T19:04:05.000Z
box-22  lab   pending   no         evil box-1  2026-01-02T03:04:05.000Z
`,
  );
  assert.deepEqual(JSON.parse((await run("worker", "list", "--json")).out), { workers });
  api.on("GET /workers", { json: { workers: [] } });
  assert.match((await run("worker", "list")).out, /^No worker has joined\. `legacygpu join-token create`/);
});

test("worker approve says which box it was, and is asked again when its answer is lost", async () => {
  const worker = sampleEnrolled({ host: "rig7\u001b[2J" });
  api.on("POST /workers/box-1/approve", "drop", { json: worker });
  const { out, code } = await run("worker", "approve", "box-1");
  assert.equal(out, "Worker box-1 (rig7 [2J, site lab) is approved.\n");
  assert.equal(code, 0);
  assert.equal(api.requests.length, 2);
  assert.deepEqual(JSON.parse((await run("worker", "approve", "box-1", "--json")).out), worker);
  api.on("POST /workers/box-1/approve", problem("worker_revoked", "Worker box-1 has been revoked."));
  const refused = await run("worker", "approve", "box-1");
  assert.deepEqual([refused.code, refused.out], [12, ""]);
  assert.match(refused.err, /Worker box-1 has been revoked/);
});

test("worker revoke", async () => {
  const worker = sampleEnrolled({ status: "revoked", revoked_at: AT, is_connected: false });
  api.on("DELETE /workers/box-1", { json: worker });
  assert.equal(
    (await run("worker", "revoke", "box-1")).out,
    "Worker box-1 is revoked: its link is closed, and only a join token made after this lets it in again.\n",
  );
  assert.deepEqual(JSON.parse((await run("worker", "revoke", "box-1", "--json")).out), worker);
});

test("ids are one piece of the path, whatever is in them", async () => {
  api.on("DELETE /workers/a/../b", { json: sampleEnrolled({ id: "a/../b" }) });
  assert.equal((await run("worker", "revoke", "a/../b")).code, 0);
  assert.equal(api.requests.length, 1);
});

test("the commands for enrolment, usage, the audit log and certificates are part of the program", async () => {
  const { out } = await run("--help");
  for (const name of ["worker", "join-token", "usage", "audit", "certs"])
    assert.match(out, new RegExp(`^ {2}${name} `, "m"));
  assert.match((await run("worker", "--help")).out, /^ {2}start .*^ {2}list .*^ {2}approve .*^ {2}revoke /ms);
});
