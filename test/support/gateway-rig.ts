/** A real gateway on a free port, in a home of its own, and a way to call it over real TLS. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Scope } from "@legacygpu/shared/api/keys";
import { systemClock } from "@legacygpu/shared/clock";
import { type Home, openHome } from "@legacygpu/shared/home";
import { createLogger } from "@legacygpu/shared/log";
import type { Manifest } from "@legacygpu/shared/manifest";
import { fetch, Agent as HttpAgent, type RequestInit } from "undici";
import { type Gateway, type GatewayOptions, startGateway } from "../../gateway/main.ts";
import { digestOf } from "../../gateway/models/blobs.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  readonly body: any;
}

export class GatewayRig {
  readonly home: Home;
  readonly gateway: Gateway;
  readonly adminKey: string;
  readonly #http: HttpAgent;

  private constructor(home: Home, gateway: Gateway, adminKey: string) {
    this.home = home;
    this.gateway = gateway;
    this.adminKey = adminKey;
    this.#http = new HttpAgent({ connect: { ca: gateway.caPem } });
  }

  static async start(more: Partial<GatewayOptions> = {}): Promise<GatewayRig> {
    const home =
      more.home ?? openHome({ LEGACYGPU_HOME: await mkdtemp(join(tmpdir(), "legacygpu-gateway-")) });
    const gateway = await startGateway({
      home,
      host: "127.0.0.1",
      port: 0,
      hosts: [],
      strategy: "LEAST_LOADED",
      queueLimits: {
        maxTasks: 100_000,
        maxTasksPerKey: 100_000,
        maxBytes: 2 ** 34,
        maxBytesPerKey: 2 ** 34,
      },
      leaseMs: 2_000,
      retention: { maxFinished: 100_000, maxFinishedAgeMs: 86_400_000, maxStoredBytes: 2 ** 34 },
      webhookNetworks: [],
      heartbeatIntervalMs: 500,
      heartbeatTimeoutMs: 2_000,
      maxBodyBytes: 8 * 1024 * 1024,
      log: createLogger("gateway", "silent"),
      clock: systemClock,
      ...more,
    });
    return new GatewayRig(home, gateway, gateway.firstStart?.adminKey ?? "");
  }

  get url(): string {
    return this.gateway.url;
  }

  get wssUrl(): string {
    return this.url.replace("https:", "wss:");
  }

  async key(...scopes: Scope[]): Promise<string> {
    const kind = scopes.includes("worker") ? "worker" : "client";
    return (await this.gateway.issueKey({ kind, name: "test", scopes })).key;
  }

  /** Calls with the administrator's key unless the headers say otherwise. */
  async call(method: string, path: string, init: RequestInit & { json?: unknown } = {}): Promise<Answer> {
    const { json, headers, ...rest } = init;
    const response = await fetch(this.url + path, {
      method,
      dispatcher: this.#http,
      headers: {
        authorization: `Bearer ${this.adminKey}`,
        ...(json === undefined ? {} : { "content-type": "application/json" }),
        ...(headers as Record<string, string> | undefined),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      ...rest,
    });
    const text = await response.text();
    const isJson = /[/+]json\b/.test(response.headers.get("content-type") ?? "");
    return {
      status: response.status,
      headers: response.headers as unknown as Headers,
      body: isJson && text !== "" ? JSON.parse(text) : text,
    };
  }

  async push(name: string, file: Uint8Array, manifest: Manifest = {}, version = "1"): Promise<Answer> {
    const digest = digestOf(file);
    await this.call("PUT", `/blobs/${digest}`, { body: file });
    return this.call("PUT", `/models/${name}/versions/${version}`, { json: { file: digest, manifest } });
  }

  /** The digits model as the quickstart pushes it. */
  async pushDigits(): Promise<void> {
    const folder = join(import.meta.dirname, "../../models/digits");
    const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as Manifest;
    const answer = await this.push("digits", await readFile(join(folder, "model.onnx")), manifest);
    if (answer.status !== 201) throw new Error(`push failed: ${JSON.stringify(answer.body)}`);
  }

  async close(): Promise<void> {
    await this.#http.close();
    await this.gateway.close();
    await rm(this.home.root, { recursive: true, force: true });
  }
}
