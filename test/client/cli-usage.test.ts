import assert from "node:assert/strict";
import { test } from "node:test";
import { LegacyGpuClient } from "../../client/index.ts";
import { pinnedFetch } from "../../client/pinned-fetch.ts";
import { type UsageJson, usageSchema } from "../../shared/api/usage.ts";
import { startApiForFile } from "../support/api-for-file.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { problem } from "../support/fake-api.ts";

const USAGE: UsageJson = usageSchema.parse({
  tenant: "acme",
  day: "2026-01-02",
  resets_at: "2026-01-03T00:00:00.000Z",
  tasks: { used: 12, limit: 1000 },
  gpu_seconds: { used: 3.2504, limit: null },
  bytes: { used: 1_258_291, limit: 1_073_741_824 },
  requests: { used: 40, limit: null },
});

const { api, env } = await startApiForFile();

test("usage shows what was used beside what may be used", async () => {
  api.on("GET /usage", { json: USAGE });
  const { code, out } = await runTestCli(["usage"], { env });
  assert.equal(code, 0);
  assert.equal(
    out,
    `tenant  acme
day     2026-01-02 (UTC)
resets  2026-01-03T00:00:00.000Z

WHAT            USED    LIMIT
tasks             12     1000
gpu seconds     3.25        -
bytes        1.2 MiB  1.0 GiB
requests          40        -
`,
  );
  assert.deepEqual([...(api.requests[0]?.query ?? [])], []);
});

test("an administrator asks for another tenant, and programs get the document", async () => {
  api.on("GET /usage", { json: USAGE });
  const { out } = await runTestCli(["usage", "--tenant", "acme", "--json"], { env });
  assert.deepEqual(JSON.parse(out), USAGE);
  assert.equal(api.requests[0]?.query.get("tenant"), "acme");
});

test("a refusal is told as any other", async () => {
  api.on("GET /usage", problem("auth_forbidden", "This credential does not have the scope `admin`."));
  const { code, err } = await runTestCli(["usage", "--tenant", "other"], { env });
  assert.notEqual(code, 0);
  assert.match(err, /does not have the scope `admin`/);
});

test("a request that the rate limit refused was not accepted: it is sent again after the time that the gateway names", async () => {
  const refusal = problem("rate_limited", "Too many.", { "retry-after": "1" });
  api.on("POST /dead-letters/retry", refusal, { json: { count: 3 } });
  const waits: number[] = [];
  const client = new LegacyGpuClient({
    url: api.url,
    key: "lgk_env",
    fetch: pinnedFetch({ caPem: api.caPem }),
    random: () => 0,
    clock: {
      now: () => Date.now(),
      monotonic: () => performance.now(),
      after: (delayMs, callback) => {
        // Time limits of requests are timers too, and longer.
        if (delayMs <= 2000) {
          waits.push(delayMs);
          queueMicrotask(callback);
        }
        return { cancel() {} };
      },
    },
  });
  assert.equal(await client.retryDeadLetters(), 3);
  assert.deepEqual(waits, [1000]);
});
