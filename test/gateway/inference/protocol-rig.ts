/** A gateway with a real agent beside it, and a client that speaks the Open Inference Protocol's binary form. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@legacygpu/shared/clock";
import { createLogger } from "@legacygpu/shared/log";
import type { Datatype } from "@legacygpu/shared/tensor";
import { fetch, Agent as HttpAgent } from "undici";
import { type Agent, startAgent } from "../../../agent/main.ts";
import type { GatewayOptions } from "../../../gateway/main.ts";
import { type Dimension, GraphBuilder } from "../../../models/onnx/graph-builder.ts";
import { GatewayRig } from "../../support/gateway-rig.ts";
import { until } from "../../support/until.ts";

/** The answer of an inference, taken apart as the clients do it. */
export interface InferAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of every shape
  readonly json: any;
  /** As it was written. */
  readonly jsonText: string;
  /** What follows the JSON part. */
  readonly binary: Buffer;
}

export type Headers = Readonly<Record<string, string>>;

export class ProtocolRig {
  readonly gateway: GatewayRig;
  readonly #http: HttpAgent;
  #agent: Agent | undefined;
  #stateDir = "";

  private constructor(gateway: GatewayRig) {
    this.gateway = gateway;
    this.#http = new HttpAgent({ connect: { ca: gateway.gateway.caPem } });
  }

  static async start(options: Partial<GatewayOptions> = {}): Promise<ProtocolRig> {
    return new ProtocolRig(await GatewayRig.start(options));
  }

  async startAgent(): Promise<void> {
    this.#stateDir = await mkdtemp(join(tmpdir(), "legacygpu-protocol-agent-"));
    this.#agent = await startAgent({
      url: this.gateway.wssUrl,
      key: await this.gateway.key("worker"),
      caPem: this.gateway.gateway.caPem,
      stateDir: this.#stateDir,
      site: "lab",
      labels: {},
      providers: ["cpu"],
      log: createLogger("agent", "silent"),
      clock: systemClock,
      random: Math.random,
    });
    await until(
      "the worker to be there",
      async () => (await this.gateway.call("GET", "/v2/health/ready")).status === 200,
    );
  }

  /** `x` to `y`, unchanged. */
  async pushIdentity(name: string, datatype: Datatype, shape: readonly Dimension[]): Promise<void> {
    const graph = new GraphBuilder(name.replaceAll("-", "_"));
    graph.output("y", datatype, shape, graph.input("x", datatype, shape));
    const pushed = await this.gateway.push(name, graph.encode());
    assert.equal(pushed.status, 201, JSON.stringify(pushed.body));
  }

  /** @param body JSON, or bytes with the header that says how many of them are JSON */
  async infer(model: string, body: object | Buffer, headers: Headers = {}): Promise<InferAnswer> {
    const reply = await fetch(`${this.gateway.url}/v2/models/${model}/infer`, {
      method: "POST",
      dispatcher: this.#http,
      headers: {
        authorization: `Bearer ${this.gateway.adminKey}`,
        "accept-encoding": "identity",
        ...headers,
      },
      body: Buffer.isBuffer(body) ? body : JSON.stringify(body),
    });
    const bytes = Buffer.from(await reply.arrayBuffer());
    const jsonBytes = Number(reply.headers.get("inference-header-content-length") ?? bytes.length);
    const jsonText = bytes.toString("utf8", 0, jsonBytes);
    return {
      status: reply.status,
      headers: reply.headers,
      json: JSON.parse(jsonText),
      jsonText,
      binary: bytes.subarray(jsonBytes),
    };
  }

  /** One binary input `x`, and the output as bytes. */
  inferBinary(model: string, datatype: string, shape: number[], bytes: Buffer): Promise<InferAnswer> {
    const header = {
      inputs: [{ name: "x", datatype, shape, parameters: { binary_data_size: bytes.length } }],
      parameters: { binary_data_output: true },
    };
    const { body, headers } = binaryBody(header, bytes);
    return this.infer(model, body, headers);
  }

  async close(): Promise<void> {
    await this.#http.close();
    await this.#agent?.close();
    await this.gateway.close();
    if (this.#stateDir !== "") await rm(this.#stateDir, { recursive: true, force: true });
  }
}

export function binaryBody(header: object, ...parts: readonly Buffer[]): { body: Buffer; headers: Headers } {
  const json = Buffer.from(JSON.stringify(header));
  return {
    body: Buffer.concat([json, ...parts]),
    headers: {
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(json.length),
    },
  };
}

/** BYTES elements: a length each, then the bytes. */
export function texts(...values: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(
    values.flatMap((value) => {
      const bytes = Buffer.from(value as string);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

export function bytesOf(array: ArrayBufferView): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}
