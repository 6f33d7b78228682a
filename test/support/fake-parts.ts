/** A gateway and an agent that do nothing but remember: for the commands that start them. */

import type { AgentOptions, GatewayOptions, NewKey, Parts } from "../../client/cli/parts.ts";
import type { FakeApi } from "./fake-api.ts";

export class FakeParts implements Parts {
  readonly #api: FakeApi;
  /** What happened, in order. */
  readonly events: string[] = [];
  readonly knownKeys = new Set<string>();
  readonly issued: NewKey[] = [];
  gatewayOptions: GatewayOptions | undefined;
  agentOptions: AgentOptions | undefined;
  /** Thrown by the next start of a gateway. */
  gatewayFailure: Error | undefined;
  /** Resolves when the agent may finish what it runs. */
  drained: Promise<void> = Promise.resolve();
  agentDies: (reason: Error) => void = () => {};

  constructor(api: FakeApi) {
    this.#api = api;
  }

  startGateway: Parts["startGateway"] = async (options) => {
    const failure = this.gatewayFailure;
    this.gatewayFailure = undefined;
    if (failure !== undefined) throw failure;
    this.gatewayOptions = options;
    this.events.push("gateway started");
    const isFirst = this.knownKeys.size === 0;
    return {
      url: this.#api.url,
      caFile: this.#api.caFile,
      ...(isFirst ? { firstStart: { adminKey: this.#newKey("lgk") } } : {}),
      issueKey: async (key) => {
        this.issued.push(key);
        return { id: "id", key: this.#newKey(key.kind === "client" ? "lgk" : "lgw") };
      },
      verifyKey: (key) => this.knownKeys.has(key),
      reloadCertificate: async () => "unchanged",
      close: async () => void this.events.push("gateway closed"),
    };
  };

  startAgent: Parts["startAgent"] = async (options) => {
    this.agentOptions = options;
    this.events.push("agent started");
    const closed = new Promise<Error | undefined>((resolve) => {
      this.agentDies = resolve;
    });
    return {
      workerId: "box",
      closed,
      drain: async () => {
        this.events.push("agent drains");
        await this.drained;
      },
      close: async () => void this.events.push("agent closed"),
    };
  };

  /** The real ones: they need nothing that runs. */
  storeTools: Parts["storeTools"] = () => import("../../gateway/main.ts");
  certificateTools: Parts["certificateTools"] = () => import("../../gateway/main.ts");

  #newKey(prefix: string): string {
    const key = `${prefix}_${String(this.knownKeys.size).padStart(10, "0")}`;
    this.knownKeys.add(key);
    return key;
  }
}
