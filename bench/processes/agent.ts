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
  readonly site?: string;
  /** Default: whatever works here. */
  readonly providers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly sharing?: { readonly addresses: readonly string[] };
  readonly logLevel?: "warn" | "error";
}

let agent: Awaited<ReturnType<typeof startAgent>> | undefined;

async function start({ logLevel = "warn", ...order }: AgentOrder): Promise<void> {
  agent = await startAgent({
    site: "bench",
    ...order,
    log: createLogger("agent", logLevel),
    clock: systemClock,
    random: Math.random,
  });
  // An agent that has given up for good is of no use to a bench.
  void agent.closed.then((error) => {
    if (error === undefined) return;
    console.error(error);
    process.exit(1);
  });
}

serveCommands({ start, close: () => agent?.close() });
