/** Starts the bare relay: one gateway process and its agents. */

import { join } from "node:path";
import { ensureCertificates } from "@legacygpu/certs";
import { systemClock } from "@legacygpu/shared/clock";
import type { Bench } from "./run.ts";

export interface Relay {
  readonly port: number;
  readonly caPem: string;
  readonly gatewayPid: number;
  readonly agentPids: readonly number[];
}

export async function startRelay(bench: Bench, agentCount: number): Promise<Relay> {
  const { keyFile, certFile, caPem } = await ensureCertificates({
    dir: join(bench.folder, "relay-certs"),
    hosts: [],
    clock: systemClock,
  });
  const gateway = bench.startProfiled("relay/gateway", "relay-gateway");
  const port = await gateway.ask<number>("listen", { keyFile, certFile });
  const agentPids: number[] = [];
  for (let number = 1; number <= agentCount; number += 1) {
    const agent = bench.startProfiled("relay/agent", `relay-agent-${number}`);
    await agent.ask("connect", { url: `wss://localhost:${port}/agent`, caPem });
    agentPids.push(agent.pid);
  }
  await gateway.ask("awaitAgents", agentCount);
  return { port, caPem, gatewayPid: gateway.pid, agentPids };
}
