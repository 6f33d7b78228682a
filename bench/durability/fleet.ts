/** The system that is put to the test: a gateway and its agents as processes, and the links between them, each of which can be broken. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { FaultProxy } from "../../test/support/fault-proxy.ts";
import type { Child, ChildOptions } from "../child.ts";
import type { AgentOrder } from "../processes/agent.ts";
import type { GatewayAddress, GatewayOrder } from "../processes/gateway.ts";
import { fixedPort } from "./fixed-port.ts";

/** Short, so that faults matter. */
const HEARTBEAT_INTERVAL_MS = 500;
const HEARTBEAT_TIMEOUT_MS = 2000;
export const LEASE_MS = 2000;
const SLOTS = 2;
/** One is alone at its site; the two of the other site share a link, which can be broken for all of the site at once. */
const AGENTS = [
  { workerId: "near-1", site: "near", isBehindProxy: false },
  { workerId: "far-1", site: "far", isBehindProxy: true },
  { workerId: "far-2", site: "far", isBehindProxy: true },
] as const;

export type StartProcess = (options: Pick<ChildOptions, "entry" | "name" | "preload">) => Child;

/** A process that is killed and started again; one that ends by itself is a fault. */
class Mortal {
  readonly name: string;
  readonly #spawn: () => Promise<Child>;
  readonly #onFault: (what: string) => void;
  #child: Child | undefined;

  constructor(name: string, spawn: () => Promise<Child>, onFault: (what: string) => void) {
    this.name = name;
    this.#spawn = spawn;
    this.#onFault = onFault;
  }

  get child(): Child {
    if (this.#child === undefined) throw new Error(`${this.name} does not run.`);
    return this.#child;
  }

  async start(): Promise<void> {
    const child = await this.#spawn();
    this.#child = child;
    void child.exited.then(({ code, signal }) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#onFault(`${this.name} ended by itself (${signal ?? code})`);
    });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    // One that was stopped dies too.
    child?.signal("SIGKILL");
    await child?.exited;
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#child?.signal(signal);
  }
}

/** When the gateway was up, by the clock on the wall. */
export interface UpTime {
  readonly fromMs: number;
  readonly toMs: number;
}

export class GatewayProcess {
  readonly #mortal: Mortal;
  readonly #order: GatewayOrder;
  readonly upTimes: UpTime[] = [];
  #address: GatewayAddress | undefined;
  #upSinceMs: number | undefined;

  /** @param port the same after every restart, as in production. */
  constructor(
    start: StartProcess,
    { folder, port, onFault }: { folder: string; port: number; onFault: (what: string) => void },
  ) {
    this.#order = {
      folder,
      port,
      heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
      heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS,
      leaseMs: LEASE_MS,
      // Links that break are what this is about.
      logLevel: "error",
    };
    this.#mortal = new Mortal("the gateway", () => this.#spawn(start), onFault);
  }

  get address(): GatewayAddress {
    if (this.#address === undefined) throw new Error("The gateway has not been started.");
    return this.#address;
  }

  get port(): number {
    return Number(new URL(this.address.url).port);
  }

  start(): Promise<void> {
    return this.#mortal.start();
  }

  issueKey(kind: "client" | "worker"): Promise<string> {
    const scopes = kind === "client" ? ["submit", "read"] : ["worker"];
    return this.#mortal.child.ask<string>("issueKey", { kind, name: "loss test", scopes });
  }

  async kill(): Promise<void> {
    if (this.#upSinceMs !== undefined) this.upTimes.push({ fromMs: this.#upSinceMs, toMs: Date.now() });
    this.#upSinceMs = undefined;
    await this.#mortal.kill();
  }

  async #spawn(start: StartProcess): Promise<Child> {
    const child = start({ entry: "processes/gateway", name: "gateway" });
    const address = await child.ask<GatewayAddress>("start", this.#order);
    this.#address ??= address;
    this.#upSinceMs = Date.now();
    return child;
  }
}

export class Fleet {
  readonly gateway: GatewayProcess;
  readonly agents: readonly Mortal[];
  /** Of the far site. */
  readonly agentLink: FaultProxy;
  /** Of the clients. */
  readonly clientLink: FaultProxy;
  readonly caPem: string;
  readonly clientKey: string;
  readonly executionsFolder: string;

  private constructor(parts: {
    gateway: GatewayProcess;
    agents: readonly Mortal[];
    agentLink: FaultProxy;
    clientLink: FaultProxy;
    clientKey: string;
    executionsFolder: string;
  }) {
    this.gateway = parts.gateway;
    this.agents = parts.agents;
    this.agentLink = parts.agentLink;
    this.clientLink = parts.clientLink;
    this.clientKey = parts.clientKey;
    this.executionsFolder = parts.executionsFolder;
    this.caPem = parts.gateway.address.caPem;
  }

  /** @param onFault a process that nobody has killed has ended. */
  static async start(folder: string, start: StartProcess, onFault: (what: string) => void): Promise<Fleet> {
    const executionsFolder = join(folder, "executions");
    await mkdir(executionsFolder);
    const port = await fixedPort(Math.random);
    const gateway = new GatewayProcess(start, { folder: join(folder, "gateway"), port, onFault });
    await gateway.start();
    const target = { host: "127.0.0.1", port: gateway.port };
    const agentLink = await FaultProxy.start(target);
    const clientLink = await FaultProxy.start(target);
    const agents: Mortal[] = [];
    for (const { workerId, site, isBehindProxy } of AGENTS) {
      const order: AgentOrder = {
        url: `wss://localhost:${isBehindProxy ? agentLink.port : gateway.port}`,
        key: await gateway.issueKey("worker"),
        caPem: gateway.address.caPem,
        stateDir: join(folder, workerId),
        workerId,
        site,
        slots: SLOTS,
        providers: ["cpu"],
        logLevel: "error",
      };
      const spawn = (): Promise<Child> => startAgent(start, order, executionsFolder);
      agents.push(new Mortal(workerId, spawn, onFault));
    }
    await Promise.all(agents.map((agent) => agent.start()));
    const clientKey = await gateway.issueKey("client");
    return new Fleet({ gateway, agents, agentLink, clientLink, clientKey, executionsFolder });
  }

  get clientUrl(): string {
    return `https://localhost:${this.clientLink.port}`;
  }

  async close(): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.kill()));
    await this.gateway.kill();
    await this.agentLink.close();
    await this.clientLink.close();
  }
}

async function startAgent(start: StartProcess, order: AgentOrder, executionsFolder: string): Promise<Child> {
  const query = { dir: pathToFileURL(executionsFolder).href };
  const child = start({
    entry: "processes/agent",
    name: order.workerId,
    preload: { module: "durability/execution-hook", query },
  });
  await child.ask("start", order);
  return child;
}

export type { Mortal };
