/** Does to the system what the world does to it, at random moments: kills, stops, cuts, freezes. In the end everything runs again. */

import { setTimeout as sleep } from "node:timers/promises";
import { between, pick, type Random, seededRandom } from "../../models/onnx/random.ts";
import { type Fleet, LEASE_MS } from "./fleet.ts";

export interface FaultCounts {
  kills: number;
  agentKills: number;
  agentStops: number;
  linkCuts: number;
  linkFreezes: number;
  clientCuts: number;
}

export interface NemesisOptions {
  readonly fleet: Fleet;
  /** Of the gateway. */
  readonly kills: number;
  readonly seed: number;
  /** Tasks until now. */
  readonly progress: () => Readonly<Record<"accepted" | "ended", number>>;
  readonly onKill: (count: number) => void;
}

/**
 * How many tasks are accepted, or how many end, between two kills, at most: now and then none, so that the gateway dies before its agents are back.
 * Counted in work rather than in time, so that a slow machine is tested as much as a fast one.
 */
const WORK = [0, 10, 50, 150] as const;
const MAX_UP_MS = 4000;
const MAX_DOWN_MS = 400;
/** Of its starts, how many it does not survive, and how far it may have come by then. */
const KILLED_EARLY = 0.2;
const MAX_START_MS = 1000;

export class Nemesis {
  readonly counts: FaultCounts = {
    kills: 0,
    agentKills: 0,
    agentStops: 0,
    linkCuts: 0,
    linkFreezes: 0,
    clientCuts: 0,
  };
  readonly #options: NemesisOptions;
  #state: "raging" | "calm" = "raging";

  constructor(options: NemesisOptions) {
    this.#options = options;
  }

  /** Resolves when the last kill has been done and everything runs again. */
  async run(): Promise<void> {
    const { fleet, seed } = this.#options;
    const agents = fleet.agents.map((_, index) => this.#harassAgent(index, seededRandom(seed + 10 + index)));
    const links = [this.#breakAgentLink(seededRandom(seed + 2)), this.#cutClients(seededRandom(seed + 3))];
    try {
      await this.#killGateway(seededRandom(seed + 1));
    } finally {
      this.#state = "calm";
      await Promise.all([...agents, ...links]);
    }
  }

  async #killGateway(random: Random): Promise<void> {
    const { fleet, kills } = this.#options;
    while (this.counts.kills < kills) {
      const count = Math.floor(between(random, 0, pick(random, WORK) + 1));
      await this.#letWork(random() < 0.5 ? "accepted" : "ended", count);
      await sleep(between(random, 0, 50));
      await this.#kill();
      await sleep(between(random, 0, MAX_DOWN_MS));
      const started = fleet.gateway.start();
      if (random() < KILLED_EARLY && this.counts.kills < kills) {
        await sleep(between(random, 0, MAX_START_MS));
        await this.#kill();
        await started;
        await fleet.gateway.start();
      } else {
        await started;
      }
    }
  }

  async #kill(): Promise<void> {
    await this.#options.fleet.gateway.kill();
    this.counts.kills += 1;
    this.#options.onKill(this.counts.kills);
  }

  async #letWork(kind: "accepted" | "ended", count: number): Promise<void> {
    const { progress } = this.#options;
    const enough = progress()[kind] + count;
    const endMs = performance.now() + MAX_UP_MS;
    while (progress()[kind] < enough && performance.now() < endMs) await sleep(5);
  }

  async #harassAgent(index: number, random: Random): Promise<void> {
    const agent = this.#options.fleet.agents[index];
    // A new agent and its runners take seconds of a processor to start: more often, and there would be no time left for the tasks.
    while (await this.#pause(between(random, 1000, 10_000))) {
      if (random() < 0.5) {
        this.counts.agentKills += 1;
        await agent?.kill();
        await sleep(between(random, 0, 1500));
        await agent?.start();
      } else {
        this.counts.agentStops += 1;
        agent?.signal("SIGSTOP");
        await sleep(between(random, 300, 2 * LEASE_MS));
        agent?.signal("SIGCONT");
      }
    }
  }

  async #breakAgentLink(random: Random): Promise<void> {
    const { agentLink } = this.#options.fleet;
    while (await this.#pause(between(random, 500, 4000))) {
      const luck = random();
      if (luck < 0.4) {
        this.counts.linkCuts += 1;
        agentLink.cut();
      } else if (luck < 0.7) {
        this.counts.linkFreezes += 1;
        agentLink.freeze();
        await sleep(between(random, 100, 2 * LEASE_MS));
        agentLink.thaw();
      } else {
        this.counts.linkCuts += 1;
        agentLink.blackhole();
        await sleep(between(random, 100, 2 * LEASE_MS));
        agentLink.restore();
        agentLink.cut();
      }
    }
  }

  async #cutClients(random: Random): Promise<void> {
    while (await this.#pause(between(random, 1000, 4000))) {
      this.counts.clientCuts += 1;
      this.#options.fleet.clientLink.cut();
    }
  }

  /** @returns whether to go on. */
  async #pause(ms: number): Promise<boolean> {
    const endMs = performance.now() + ms;
    while (this.#state === "raging" && performance.now() < endMs) await sleep(20);
    return this.#state === "raging";
  }
}
