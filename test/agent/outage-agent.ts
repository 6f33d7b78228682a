/** An agent in a process of its own, to be killed. Argument: its options as JSON. */

import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { startAgent } from "../../agent/main.ts";

const options = JSON.parse(process.argv[2] ?? "{}") as {
  url: string;
  key: string;
  caPem: string;
  stateDir: string;
};
const agent = await startAgent({
  ...options,
  site: "test-site",
  providers: ["cpu"],
  log: createLogger("doomed", "silent"),
  clock: systemClock,
  random: Math.random,
});
// The agent's timers keep no process alive.
setInterval(() => {}, 60_000);
await agent.closed;
