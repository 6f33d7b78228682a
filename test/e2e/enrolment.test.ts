/** A box joins, is approved, works, dies, comes back and is revoked: as processes, over real connections. */

import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { systemClock } from "@legacygpu/shared/clock";
import { decodeJoinToken, encodeJoinToken, pinOf } from "@legacygpu/shared/join-token";
import { issueCa, newPrivateKey } from "../../certs/issue.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { CliProcess } from "../support/cli-process.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { until } from "../support/until.ts";

const PATIENCE_MS = 30_000;
const VALUES = Array.from({ length: 16 }, (_, index) => index / 4);

let rig: GatewayRig;
const processes: CliProcess[] = [];

before(async () => {
  rig = await GatewayRig.start({ trust: { workerApproval: "manual" } });
  await rig.push("identity", buildIdentity());
});
after(async () => {
  // The latest first: an earlier one owns the home.
  for (const each of processes.reverse()) await each.stop();
  await rig.close();
});

async function startWorker(flags: readonly string[], home?: string): Promise<CliProcess> {
  const worker = await CliProcess.start(["worker", "start", ...flags], home);
  processes.push(worker);
  return worker;
}

const joining = (id: string, token: string): string[] => ["--join", token, "--worker-id", id];

async function joinToken(): Promise<string> {
  return (await rig.call("POST", "/join-tokens", { json: { site: "lab", url: rig.url } })).body.token;
}

interface Enrolled {
  readonly id: string;
  readonly status: string;
  readonly is_connected: boolean;
  readonly enrolled_at: string;
}

async function enrolled(id: string): Promise<Enrolled | undefined> {
  const { workers } = (await rig.call("GET", "/workers")).body;
  return workers.find((each: Enrolled) => each.id === id);
}

function untilOnline(worker: CliProcess, id: string): Promise<Enrolled> {
  return until(
    `${id} to be online`,
    async () => {
      if (!worker.isRunning) throw new Error(`The worker ended: ${worker.stderr}`);
      const found = await enrolled(id);
      return found?.is_connected ? found : undefined;
    },
    PATIENCE_MS,
  );
}

async function assertWorks(id: string): Promise<void> {
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, VALUES.length], data: VALUES }];
  const submitted = await rig.call("POST", "/tasks", { json: { model: "identity", input: { inputs } } });
  const { status, result, attempts } = (await rig.call("GET", `/tasks/${submitted.body.id}?wait=30`)).body;
  assert.equal(status, "COMPLETED");
  assert.deepEqual(result.outputs[0].data, VALUES);
  assert.deepEqual(
    attempts.map(({ worker }: { worker: string }) => worker),
    [id],
  );
}

async function endsWith(worker: CliProcess, code: number, words: RegExp): Promise<void> {
  const ended = until("the worker to end", () => !worker.isRunning, PATIENCE_MS);
  await ended.catch(() => assert.fail(`It goes on; it printed: ${worker.stderr}`));
  assert.equal((await worker.exited()).code, code, worker.stderr);
  // What it wrote last may come after its end.
  await until(`${words}`, () => words.test(worker.stderr));
}

// At the same time, because most of it is waiting for processes to start.
describe("a box that joins", { concurrency: true }, () => {
  test("waits for approval, works, comes back without a flag, and ends when it is revoked", async () => {
    const token = await joinToken();
    const first = await startWorker(joining("box", token));
    const pending = await until("the box to ask", () => enrolled("box"), PATIENCE_MS);
    assert.deepEqual([pending.status, pending.is_connected], ["pending", false]);
    assert.equal((await rig.call("POST", "/workers/box/approve")).status, 200);
    const joined = await untilOnline(first, "box");
    await assertWorks("box");

    const late = await startWorker(joining("late", token));
    first.signal("SIGKILL");
    await first.exited();
    await until("the gateway to miss the box", async () => (await enrolled("box"))?.is_connected === false);
    const second = await startWorker([], first.home);
    const back = await untilOnline(second, "box");
    assert.deepEqual([back.status, back.enrolled_at], ["approved", joined.enrolled_at]);
    await assertWorks("box");

    await endsWith(late, 11, /does not accept this join token/);
    assert.equal(await enrolled("late"), undefined);

    assert.equal((await rig.call("DELETE", "/workers/box")).status, 200);
    await endsWith(second, 12, /revoked/);
    assert.equal((await enrolled("box"))?.status, "revoked");
  });

  test("asks nobody to be let in when its token names another CA", async () => {
    const contents = decodeJoinToken(await joinToken());
    const strangerPem = await issueCa(newPrivateKey(), systemClock.now());
    const pins = [pinOf(new X509Certificate(strangerPem))];
    const misled = await startWorker(joining("misled", encodeJoinToken({ ...contents, pins })));
    await endsWith(misled, 13, /Nothing secret was sent/);
    assert.equal(await enrolled("misled"), undefined);
  });
});
