/** A gateway as it runs in production, that strangers are let loose on. */

import { join } from "node:path";
import { Agent, request } from "undici";
import type { GatewayAddress, GatewayOrder } from "../processes/gateway.ts";
import type { Memory } from "../queue/memory.ts";
import type { Bench } from "../run.ts";
import type { StrangerOrder } from "./strangers.ts";

export interface GatewayUnderFire {
  readonly order: Omit<StrangerOrder, "seed" | "inputs">;
  /** After garbage has been collected. */
  memoryBytes(): Promise<number>;
  /** @throws Error when it does not answer a good request. */
  assertWell(): Promise<void>;
  close(): Promise<void>;
}

export async function startGatewayUnderFire(bench: Bench): Promise<GatewayUnderFire> {
  const gateway = bench.start("processes/gateway", "gateway");
  const order: GatewayOrder = {
    folder: join(bench.folder, "gateway"),
    logLevel: "error",
    heartbeatIntervalMs: 1000,
  };
  const { url, caPem, adminKey } = await gateway.ask<GatewayAddress>("start", order);
  const worker = await gateway.ask<string>("issueKey", { kind: "worker", name: "w", scopes: ["worker"] });
  const dispatcher = new Agent({ connect: { ca: caPem } });
  return {
    order: { target: { port: Number(new URL(url).port), caPem }, keys: { admin: adminKey, worker } },
    memoryBytes: async () => (await gateway.ask<Memory>("memory")).anonymousBytes,
    assertWell: async () => {
      const headers = { authorization: `Bearer ${adminKey}` };
      const reply = await request(`${url}/cluster/metrics`, { dispatcher, headers });
      const text = await reply.body.text();
      if (reply.statusCode !== 200) throw new Error(`A good request is answered with ${text}`);
    },
    close: async () => {
      await dispatcher.close();
      await gateway.close();
    },
  };
}
