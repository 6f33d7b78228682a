/** A real agent with its runner process, connected to a fake gateway. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { type Agent, type AgentOptions, startAgent } from "../../agent/main.ts";
import { FakeGateway, type FakeGatewayOptions } from "./fake-gateway.ts";
import { until } from "./until.ts";

export interface AgentRigOptions extends FakeGatewayOptions {
  readonly agent?: Partial<AgentOptions>;
}

export class AgentRig {
  readonly gateway: FakeGateway;
  readonly agent: Agent;
  /** What the agent logged, as JSON lines. */
  readonly lines: string[];
  readonly stateDir: string;

  private constructor(gateway: FakeGateway, agent: Agent, lines: string[], stateDir: string) {
    this.gateway = gateway;
    this.agent = agent;
    this.lines = lines;
    this.stateDir = stateDir;
  }

  static async start(options: AgentRigOptions = {}): Promise<AgentRig> {
    const gateway = await FakeGateway.start(options);
    const lines: string[] = [];
    const stateDir = options.agent?.stateDir ?? (await mkdtemp(join(tmpdir(), "legacygpu-agent-")));
    const agent = await AgentRig.#startAgent(gateway, {
      url: gateway.url,
      key: gateway.key,
      caPem: gateway.caPem,
      stateDir,
      site: "test-site",
      labels: { rack: "7" },
      providers: ["cpu"],
      log: createLogger("agent", "debug", { write: (line) => void lines.push(line) }),
      clock: systemClock,
      random: Math.random,
      ...options.agent,
    });
    return new AgentRig(gateway, agent, lines, stateDir);
  }

  static async #startAgent(gateway: FakeGateway, options: AgentOptions): Promise<Agent> {
    try {
      return await startAgent(options);
    } catch (error) {
      await gateway.close();
      throw error;
    }
  }

  /** Connected, and its runner has loaded the engine. */
  static async startReady(options: AgentRigOptions = {}): Promise<AgentRig> {
    const rig = await AgentRig.start(options);
    await until("the agent to be online", () => rig.agent.status().link === "online");
    await until("the runner to be up", () => rig.agent.status().runner.runners[0]?.state === "up");
    return rig;
  }

  async close(): Promise<void> {
    await this.agent.close();
    await this.gateway.close();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}
