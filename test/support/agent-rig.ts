/** A real agent with its runner process, connected to a fake gateway. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import { type Agent, type AgentOptions, startAgent } from "../../agent/main.ts";
import { FakeGateway, type FakeGatewayOptions } from "./fake-gateway.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { until } from "./until.ts";

export interface AgentRigOptions extends FakeGatewayOptions {
  readonly agent?: Partial<AgentOptions>;
  /** The agent reaches the gateway through {@link AgentRig.proxy}. */
  readonly isProxied?: boolean;
}

export class AgentRig {
  readonly gateway: FakeGateway;
  readonly agent: Agent;
  /** What the agent logged, as JSON lines. */
  readonly lines: string[];
  readonly stateDir: string;

  readonly #proxy: FaultProxy | undefined;

  private constructor(
    gateway: FakeGateway,
    agent: Agent,
    lines: string[],
    stateDir: string,
    proxy: FaultProxy | undefined,
  ) {
    this.gateway = gateway;
    this.agent = agent;
    this.lines = lines;
    this.stateDir = stateDir;
    this.#proxy = proxy;
  }

  get proxy(): FaultProxy {
    if (this.#proxy === undefined) throw new Error("This rig was started without a proxy.");
    return this.#proxy;
  }

  static async start(options: AgentRigOptions = {}): Promise<AgentRig> {
    const gateway = await FakeGateway.start(options);
    const port = Number(new URL(gateway.url).port);
    const proxy = options.isProxied ? await FaultProxy.start({ host: "127.0.0.1", port }) : undefined;
    const lines: string[] = [];
    const stateDir = options.agent?.stateDir ?? (await mkdtemp(join(tmpdir(), "legacygpu-agent-")));
    const agent = await AgentRig.#startAgent(gateway, {
      url: proxy === undefined ? gateway.url : `wss://localhost:${proxy.port}`,
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
    return new AgentRig(gateway, agent, lines, stateDir, proxy);
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
    await this.#proxy?.close();
    await this.gateway.close();
    await rm(this.stateDir, { recursive: true, force: true });
  }
}
