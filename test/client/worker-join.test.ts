/** `worker start --join`: where the token may come from, what the agent is given, and how the command ends. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { type ErrorCode, fail } from "@legacygpu/shared/errors";
import { openHome } from "@legacygpu/shared/home";
import { encodeJoinToken } from "@legacygpu/shared/join-token";
import { writeCredential } from "../../client/cli/standalone.ts";
import { type CliRun, startCli } from "../support/cli-rig.ts";
import { FakeApi } from "../support/fake-api.ts";
import { FakeParts } from "../support/fake-parts.ts";

const TOKEN = {
  url: "https://gpu.example:8000",
  pins: ["A".repeat(43)],
  secret: "lgj_0123456789_secret",
};
const TEXT = encodeJoinToken(TOKEN);

let api: FakeApi;
let parts: FakeParts;
let env: Record<string, string>;
before(async () => {
  api = await FakeApi.start();
});
after(() => api.close());
beforeEach(async () => {
  parts = new FakeParts(api);
  env = { LEGACYGPU_HOME: await mkdtemp(join(tmpdir(), "legacygpu-join-")) };
});
afterEach(() => rm(env.LEGACYGPU_HOME ?? "", { recursive: true, force: true }));

function start(argv: readonly string[], more: { env?: object; stdin?: string } = {}): CliRun {
  return startCli(["worker", "start", ...argv], {
    env: { ...env, ...more.env },
    parts,
    ...(more.stdin === undefined ? {} : { stdin: new TextEncoder().encode(more.stdin) }),
  });
}

async function stopped(run: CliRun): Promise<number> {
  await run.seen("Ctrl-C stops");
  run.signal("SIGINT");
  return run.exitCode;
}

test("a join token comes from its flag, the environment or standard input, and goes to the agent alone", async () => {
  const runs = [
    () => start(["--join", TEXT]),
    () => start([], { env: { LEGACYGPU_JOIN_TOKEN: TEXT } }),
    () => start(["--join", "-"], { stdin: `${TEXT}\n` }),
    // A key for the command line in the same environment is another matter.
    () => start(["--join", TEXT, "--site", "berlin"], { env: { LEGACYGPU_KEY: "lgk_other" } }),
  ];
  for (const begin of runs) {
    const run = begin();
    assert.equal(await stopped(run), 0);
    assert.deepEqual(parts.agentOptions?.join, TOKEN);
    assert.equal(parts.agentOptions?.key, undefined);
    assert.equal(parts.agentOptions?.url, undefined);
    assert.ok(!(run.out() + run.err()).includes(TOKEN.secret));
  }
});

test("a box that has joined needs no flags, whatever worker key lies around; a key that is given counts", async () => {
  const home = openHome(env);
  await mkdir(home.worker, { recursive: true });
  await writeFile(join(home.worker, "enrolment.json"), "{}");
  await writeCredential(home, "lgw_of_before");
  assert.equal(await stopped(start([])), 0);
  const { join: token, key, url, stateDir } = parts.agentOptions ?? {};
  assert.deepEqual([token, key, url, stateDir], [undefined, undefined, undefined, home.worker]);
  assert.equal(await stopped(start(["--key", "lgw_given", "--coordinator", "wss://gpu.example:8000"])), 0);
  assert.deepEqual([parts.agentOptions?.key, parts.agentOptions?.url], ["lgw_given", TOKEN.url]);
});

test("a token that cannot be read, and a token beside a key, start nothing", async () => {
  const damaged = start(["--join", `${TEXT.slice(0, -1)}${TEXT.endsWith("0") ? "1" : "0"}`]);
  assert.equal(await damaged.exitCode, 10);
  assert.match(damaged.err(), /join_token_malformed/);
  assert.equal(await start(["--join", ""]).exitCode, 10);
  const both = start(["--join", TEXT, "--key", "lgw_x"]);
  assert.equal(await both.exitCode, 2);
  assert.match(both.err(), /--join and --key are two ways in/);
  assert.deepEqual(parts.events, []);
});

test("what a person has to heal ends the command with a status of its own", async () => {
  const ends: [ErrorCode, Record<string, unknown>, number][] = [
    ["worker_id_in_use", {}, 10],
    ["auth_invalid", { credential: "join_token" }, 11],
    ["auth_invalid", { credential: "worker_identity" }, 11],
    ["auth_invalid", {}, 3],
    ["worker_revoked", {}, 12],
    ["gateway_untrusted", {}, 13],
    ["clock_wrong", {}, 14],
  ];
  for (const [code, details, status] of ends) {
    parts.startAgent = () => Promise.reject(fail(code, undefined, details));
    assert.equal(await start(["--join", TEXT]).exitCode, status, code);
  }
});

test("Ctrl-C ends a worker that waits for its gateway", async () => {
  let signal: AbortSignal | undefined;
  parts.startAgent = (options) => {
    signal = options.signal;
    return new Promise(() => {});
  };
  const run = start(["--join", TEXT]);
  while (signal === undefined) await new Promise(setImmediate);
  run.signal("SIGINT");
  assert.equal(await run.exitCode, 130);
  assert.equal(signal.aborted, true);
});
