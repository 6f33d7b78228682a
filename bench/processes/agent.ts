/** An agent, which starts its own runner, as a process of a bench. */

import { startAgent } from "@legacygpu/agent";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { serveCommands } from "./commands.ts";

export interface AgentOrder {
  readonly url: string;
  readonly key: string;
  readonly caPem: string;
  readonly stateDir: string;
  readonly workerId: string;
  readonly slots: number;
}

let agent: Awaited<ReturnType<typeof startAgent>> | undefined;

async function start(order: AgentOrder): Promise<void> {
  agent = await startAgent({
    ...order,
    site: "bench",
    labels: {},
    log: createLogger("agent", "warn"),
    clock: systemClock,
    random: Math.random,
  });
}

serveCommands({ start, close: () => agent?.close() });
