/** An agent in a process of its own, at a gateway behind a line that fails on demand: to be killed, and followed by another one in its place. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { inheritedArguments } from "../../agent/runner/process.ts";
import { AgentRig } from "../support/agent-rig.ts";
import { FakeGateway } from "../support/fake-gateway.ts";
import { FaultProxy } from "../support/fault-proxy.ts";

export interface KilledAgent {
  readonly gateway: FakeGateway;
  readonly proxy: FaultProxy;
  readonly stateDir: string;
  kill(): void;
  /** Starts another one on what it has left. */
  followedBy(): Promise<AgentRig>;
}

export async function startAgentToKill(context: TestContext): Promise<KilledAgent> {
  const gateway = await FakeGateway.start();
  const proxy = await FaultProxy.start({ host: "127.0.0.1", port: Number(new URL(gateway.url).port) });
  const stateDir = await mkdtemp(join(tmpdir(), "legacygpu-killed-"));
  const { key, caPem } = gateway;
  const access = { url: `wss://localhost:${proxy.port}`, key, caPem, stateDir };
  const entry = join(import.meta.dirname, "outage-agent.ts");
  const program = [...inheritedArguments(), entry, JSON.stringify(access)];
  const agent: ChildProcess = spawn(process.execPath, program, { stdio: "inherit" });
  const kill = (): void => void agent.kill("SIGKILL");
  context.after(async () => {
    kill();
    await proxy.close();
    await gateway.close();
    await rm(stateDir, { recursive: true, force: true });
  });
  const followedBy = async (): Promise<AgentRig> => {
    const next = await AgentRig.start({ agent: access });
    context.after(() => next.close());
    return next;
  };
  return { gateway, proxy, stateDir, kill, followedBy };
}
