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

interface MortalOptions {
  readonly name: string;
  launch(): Child;
  /** Resolves when it does its work. */
  greet(child: Child): Promise<void>;
  onFault(what: string): void;
}

/** A process that is killed and started again; one that ends by itself is a fault. */
class Mortal {
  readonly #options: MortalOptions;
  #child: Child | undefined;

  constructor(options: MortalOptions) {
    this.#options = options;
  }

  get child(): Child {
    if (this.#child === undefined) throw new Error(`${this.#options.name} does not run.`);
    return this.#child;
  }

  /** Resolves also when it was killed before it was ready. @throws Error when it cannot start. */
  async start(): Promise<void> {
    const { name, launch, greet, onFault } = this.#options;
    const child = launch();
    this.#child = child;
    void child.exited.then(({ code, signal }) => {
      if (this.#child === child) onFault(`${name} ended by itself (${signal ?? code})`);
    });
    try {
      await greet(child);
    } catch (error) {
      if (this.#child === child) throw error;
    }
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
    this.#mortal = new Mortal({
      name: "the gateway",
      launch: () => start({ entry: "processes/gateway", name: "gateway" }),
      greet: (child) => this.#greet(child),
      onFault,
    });
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

  async #greet(child: Child): Promise<void> {
    const address = await child.ask<GatewayAddress>("start", this.#order);
    this.#address ??= address;
    this.#upSinceMs = Date.now();
  }
}

export class Fleet {
  readonly gateway: GatewayProcess;
  readonly agents: Mortal[] = [];
  /** Of the far site. */
  readonly agentLink: FaultProxy;
  /** Of the clients. */
  readonly clientLink: FaultProxy;
  /** Of the models' runs, see `execution-hook.ts`. */
  readonly executionsFolder: string;
  #clientKey = "";

  private constructor(folder: string, gateway: GatewayProcess, links: readonly [FaultProxy, FaultProxy]) {
    this.gateway = gateway;
    [this.agentLink, this.clientLink] = links;
    this.executionsFolder = join(folder, "executions");
  }

  /** @param onFault a process that nobody has killed has ended. */
  static async start(folder: string, start: StartProcess, onFault: (what: string) => void): Promise<Fleet> {
    const port = await fixedPort(Math.random);
    const gateway = new GatewayProcess(start, { folder: join(folder, "gateway"), port, onFault });
    await gateway.start();
    const target = { host: "127.0.0.1", port };
    const fleet = new Fleet(folder, gateway, [
      await FaultProxy.start(target),
      await FaultProxy.start(target),
    ]);
    try {
      await fleet.#startAgents(folder, start, onFault);
      fleet.#clientKey = await gateway.issueKey("client");
    } catch (error) {
      await fleet.close();
      throw error;
    }
    return fleet;
  }

  get clientUrl(): string {
    return `https://localhost:${this.clientLink.port}`;
  }

  get clientKey(): string {
    return this.#clientKey;
  }

  async close(): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.kill()));
    await this.gateway.kill();
    await this.agentLink.close();
    await this.clientLink.close();
  }

  async #startAgents(folder: string, start: StartProcess, onFault: (what: string) => void): Promise<void> {
    const { gateway, executionsFolder } = this;
    await mkdir(executionsFolder);
    for (const { workerId, site, isBehindProxy } of AGENTS) {
      const order: AgentOrder = {
        url: `wss://localhost:${isBehindProxy ? this.agentLink.port : gateway.port}`,
        key: await gateway.issueKey("worker"),
        caPem: gateway.address.caPem,
        stateDir: join(folder, workerId),
        workerId,
        site,
        slots: SLOTS,
        providers: ["cpu"],
        logLevel: "error",
      };
      this.agents.push(agentProcess(start, order, { executionsFolder, onFault }));
    }
    await Promise.all(this.agents.map((agent) => agent.start()));
  }
}

function agentProcess(
  start: StartProcess,
  order: AgentOrder,
  { executionsFolder, onFault }: { executionsFolder: string; onFault: (what: string) => void },
): Mortal {
  const { workerId: name } = order;
  const query = { dir: pathToFileURL(executionsFolder).href };
  const preload = { module: "durability/execution-hook", query };
  return new Mortal({
    name,
    launch: () => start({ entry: "processes/agent", name, preload }),
    greet: (child) => child.ask("start", order),
    onFault,
  });
}
