/** The commands for the gateway's certificates, on real ones. */

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Command } from "commander";
import * as certs from "../../certs/index.ts";
import type { Action, Cli } from "../../client/cli/command.ts";
import { addCertsCommands } from "../../client/cli/commands/certs.ts";
import type { Context } from "../../client/cli/context.ts";
import { ManualClock } from "../support/manual-clock.ts";

let home: string;
let clock: ManualClock;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "legacygpu-cli-certs-"));
  clock = new ManualClock();
});
afterEach(() => rm(home, { recursive: true }));

const ensure = (): ReturnType<typeof certs.ensureCertificates> =>
  certs.ensureCertificates({ dir: join(home, "certs"), hosts: ["gpu.example"], clock });

/** What the commands print; rejects with what they throw. */
async function run(argv: readonly string[], isJson = false): Promise<string> {
  let out = "";
  const context = {
    io: { env: { LEGACYGPU_HOME: home }, clock },
    print(document: unknown, text: () => string) {
      out += isJson ? JSON.stringify(document) : text();
    },
  } as unknown as Context;
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  const cli: Cli = {
    command: (command, action) =>
      command.exitOverride().action(async () => {
        await (action as unknown as Action<unknown, []>)(context, command.opts());
      }),
    server: () => assert.fail("none of these is a server"),
  };
  addCertsCommands(program, cli, () => Promise.resolve(certs));
  await program.parseAsync(["certs", ...argv], { from: "user" });
  return out;
}

test("show prints subject, names, end and the pin that curl takes", async () => {
  const { certFile } = await ensure();
  const text = await run(["show"]);
  const key = new X509Certificate(await readFile(certFile)).publicKey.export({ type: "spki", format: "der" });
  const pin = createHash("sha256").update(key).digest("base64");
  const [ca, server] = text.split("\n\n");
  assert.match(ca ?? "", /^ca +CN=legacygpu [\s\S]*ends +2035-12-\S+ \(in 3650 d\)/);
  assert.match(server ?? "", /^server +CN=legacygpu gateway\n[\s\S]*names +localhost, [^\n]*gpu\.example\n/);
  assert.ok(server?.includes(`pin     sha256//${pin}\n`), text);
});

test("show --json has the same as data, and nothing is an empty list", async () => {
  assert.deepEqual(JSON.parse(await run(["show"], true)), { certificates: [] });
  assert.match(await run(["show"]), /^There are no certificates in /);
  await ensure();
  const { certificates } = JSON.parse(await run(["show"], true));
  assert.deepEqual(
    certificates.map(({ role }: { role: string }) => role),
    ["ca", "server"],
  );
  assert.equal(certificates[0].not_before, "2025-12-31T00:00:00.000Z");
});

test("the CA is changed in two steps, each of which says what comes next", async () => {
  const { caPem } = await ensure();
  const started = await run(["rotate-ca", "--start"]);
  assert.match(started, /^ca +[\s\S]*^next ca +[\s\S]*rotate-ca --finish/m);
  const finished = await run(["rotate-ca", "--finish"]);
  assert.match(finished, /^ca +/);
  assert.doesNotMatch(finished, /next ca/);
  assert.notEqual((await ensure()).caPem, caPem);
});

test("a step out of order, or none, or both, is refused", async () => {
  await ensure();
  await assert.rejects(run(["rotate-ca", "--finish"]), { code: "certificate_invalid" });
  for (const flags of [[], ["--start", "--finish"]]) {
    await assert.rejects(run(["rotate-ca", ...flags]), { code: "legacygpu.mistake" });
  }
});
