/** `legacygpu cluster sites`: the way to each site, for people and for programs. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { SiteJson } from "../../client/index.ts";
import { runTestCli } from "../support/cli-rig.ts";
import { FakeApi } from "../support/fake-api.ts";

const island: SiteJson = {
  name: "island",
  workers: { HEALTHY: 2, DRAINING: 1 },
  rtt: { mean_ms: 120.4, deviation_ms: 6.2, minimum_ms: 110, samples: 300 },
  bandwidth: { to_site_bytes_per_second: 3 * 1024 ** 2, from_site_bytes_per_second: null },
  slots: 3,
  in_flight: 2,
  completed: 41,
  last_seen_at: "2026-01-01T00:00:00.000Z",
};
const lost: SiteJson = {
  ...island,
  name: "lost",
  workers: {},
  rtt: null,
  slots: 0,
  in_flight: 0,
  completed: 0,
};

let api: FakeApi;

before(async () => {
  api = await FakeApi.start();
});
after(() => api.close());

const run = (argv: string[]): ReturnType<typeof runTestCli> =>
  runTestCli(argv, {
    env: {
      LEGACYGPU_HOME: join(api.dir, "home"),
      LEGACYGPU_URL: api.url,
      LEGACYGPU_CA: api.caFile,
      LEGACYGPU_KEY: "lgk_env",
    },
  });

test("cluster sites", async () => {
  api.on("GET /cluster/sites", { json: { sites: [island, lost] } });
  const { out, code } = await run(["cluster", "sites"]);
  assert.equal(
    out,
    `SITE    WORKERS                BUSY  DONE     RTT       ±    TO SITE  FROM SITE  LAST SEEN
island  2 healthy, 1 draining   2/3    41  120 ms  6.2 ms  3.0 MiB/s          -  2026-01-01T00:00:00.000Z
lost    none                    0/0     0       -       -  3.0 MiB/s          -  2026-01-01T00:00:00.000Z
`,
  );
  assert.equal(code, 0);
  const json = await run(["cluster", "sites", "--json"]);
  assert.deepEqual(JSON.parse(json.out), { sites: [island, lost] });
});

test("cluster sites says so when no worker has come", async () => {
  api.on("GET /cluster/sites", { json: { sites: [] } });
  assert.match((await run(["cluster", "sites"])).out, /^No worker has connected/);
});
