/** Starts the system under test as it runs in production: a gateway process, agent processes with their runners, built code. */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Manifest } from "@legacygpu/shared/manifest";
import { Agent as HttpAgent, request } from "undici";
import type { AgentOrder } from "./processes/agent.ts";
import type { GatewayAddress, GatewayOrder } from "./processes/gateway.ts";
import type { Bench } from "./run.ts";

const START_TIMEOUT_MS = 20_000;

export interface ClusterOptions {
  readonly agents: number;
  /** Of each agent; 1 when absent. */
  readonly slots?: number;
  /** Where agents dial, given the gateway's port: something in between. Default: the gateway itself. */
  readonly agentPort?: (gatewayPort: number) => Promise<number>;
  /** What an agent is told beside. */
  readonly agentOrder?: (number: number) => Partial<AgentOrder>;
}

export interface Cluster {
  readonly url: string;
  readonly port: number;
  readonly caPem: string;
  readonly gatewayPid: number;
  /** Their runners are their children. */
  readonly agentPids: readonly number[];
  /** May submit and read. */
  readonly clientKey: string;
  /** @param file path of the ONNX file. */
  push(name: string, file: string, manifest?: Manifest): Promise<void>;
  call(method: "GET" | "POST" | "PUT", path: string, body?: unknown): Promise<unknown>;
}

export async function startCluster(bench: Bench, options: ClusterOptions): Promise<Cluster> {
  const { agents, slots = 1, agentPort, agentOrder } = options;
  const gateway = bench.startProfiled("processes/gateway", "gateway");
  const { url, caPem, adminKey } = await gateway.ask<GatewayAddress>("start", {
    folder: join(bench.folder, "gateway"),
  } satisfies GatewayOrder);
  const dispatcher = new HttpAgent({ connect: { ca: caPem } });
  const call = async (method: "GET" | "POST" | "PUT", path: string, body?: unknown): Promise<unknown> => {
    const isFile = body instanceof Uint8Array;
    const reply = await request(url + path, {
      method,
      dispatcher,
      headers: {
        authorization: `Bearer ${adminKey}`,
        ...(body === undefined || isFile ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: isFile ? body : JSON.stringify(body) }),
    });
    const text = await reply.body.text();
    if (reply.statusCode >= 300) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  };
  const agentPids: number[] = [];
  const agentUrl = new URL(url.replace("https:", "wss:"));
  if (agentPort !== undefined) agentUrl.port = String(await agentPort(Number(agentUrl.port)));
  for (let number = 1; number <= agents; number += 1) {
    const key = await gateway.ask<string>("issueKey", {
      kind: "worker",
      name: `bench ${number}`,
      scopes: ["worker"],
    });
    const agent = bench.startProfiled("processes/agent", `agent-${number}`);
    const order: AgentOrder = {
      url: agentUrl.href,
      key,
      caPem,
      stateDir: join(bench.folder, `agent-${number}`),
      workerId: `bench-${number}`,
      slots,
      ...agentOrder?.(number),
    };
    await agent.ask("start", order);
    agentPids.push(agent.pid);
  }
  await until("all agents are connected", async () => {
    const { healthy_workers: healthy } = (await call("GET", "/cluster/health")) as {
      healthy_workers: number;
    };
    return healthy === agents;
  });
  return {
    url,
    port: Number(new URL(url).port),
    caPem,
    gatewayPid: gateway.pid,
    agentPids,
    clientKey: await gateway.ask<string>("issueKey", {
      kind: "client",
      name: "bench",
      scopes: ["submit", "read"],
    }),
    call,
    push: async (name, file, manifest = {}) => {
      const bytes = await readFile(file);
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      await call("PUT", `/blobs/${digest}`, bytes);
      await call("PUT", `/models/${name}/versions/1`, { file: digest, manifest });
    },
  };
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + START_TIMEOUT_MS;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt)
      throw new Error(`Waited for ${START_TIMEOUT_MS / 1000} s until ${what}.`);
    await sleep(50);
  }
}
