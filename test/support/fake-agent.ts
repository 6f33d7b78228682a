/** An agent that speaks real frames over a real TLS WebSocket and does only what a test tells it to. */

import type { Socket } from "node:net";
import { encodeValue, FrameBuilder, gatewayFrames } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import { AGENT_PATH, SUBPROTOCOL } from "@legacygpu/shared/protocol/version";
import { buildConnector, fetch, Agent as HttpAgent, WebSocket } from "undici";
import type { Gateway } from "../../gateway/main.ts";
import type { GatewayRig } from "./gateway-rig.ts";
import { hello } from "./scheduler-rig.ts";
import { until } from "./until.ts";

/** A gateway, or as much of one as an agent needs. */
export type DialledRig = Pick<GatewayRig, "url" | "wssUrl" | "key"> & {
  readonly gateway: Pick<Gateway, "caPem">;
};

export class FakeAgent {
  readonly received: GatewayMessage[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #http: HttpAgent;
  readonly #connections: Socket[] = [];
  readonly #key: string;
  readonly #url: string;

  private constructor(rig: DialledRig, key: string, origin: string | undefined) {
    this.#url = rig.url;
    this.#key = key;
    const connect = buildConnector({ ca: rig.gateway.caPem });
    this.#http = new HttpAgent({
      connect: (options, callback) =>
        connect(options, (...[error, socket]) => {
          if (error !== null) return callback(error, null);
          this.#connections.push(socket);
          callback(null, socket);
        }),
    });
    this.#socket = new WebSocket(rig.wssUrl + AGENT_PATH, {
      protocols: [SUBPROTOCOL],
      dispatcher: this.#http,
      headers: { authorization: `Bearer ${key}`, ...(origin === undefined ? {} : { origin }) },
    });
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("message", ({ data }) => {
      this.received.push(...gatewayFrames.decode(new Uint8Array(data as ArrayBuffer)).messages);
    });
    this.#socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    this.#socket.addEventListener("error", () => undefined);
  }

  /** Open, and nothing said yet. */
  static async dial(rig: DialledRig, key?: string, origin?: string): Promise<FakeAgent> {
    const agent = new FakeAgent(rig, key ?? (await rig.key("worker")), origin);
    await until(
      "the socket to open or to be refused",
      () => agent.#socket.readyState !== WebSocket.CONNECTING,
    );
    return agent;
  }

  /** Open and welcomed. */
  static async connect(
    rig: DialledRig,
    workerId: string,
    more: Partial<MessageOf<AgentMessage, "hello">> = {},
    key?: string,
  ): Promise<FakeAgent> {
    const agent = await FakeAgent.dial(rig, key);
    agent.send(hello(workerId, more));
    await agent.next("welcome");
    return agent;
  }

  send(...messages: AgentMessage[]): void {
    const builder = new FrameBuilder<AgentMessage>();
    for (const message of messages) builder.add(message);
    for (const frame of builder.take()) this.#socket.send(frame);
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.send(bytes);
  }

  all<T extends GatewayMessage["type"]>(type: T): MessageOf<GatewayMessage, T>[] {
    return this.received.filter((message): message is MessageOf<GatewayMessage, T> => message.type === type);
  }

  /** The first message of a type that satisfies `accept`, as soon as it is there. */
  next<T extends GatewayMessage["type"]>(
    type: T,
    accept: (message: MessageOf<GatewayMessage, T>) => boolean = () => true,
  ): Promise<MessageOf<GatewayMessage, T>> {
    return until(`a \`${type}\` from the gateway`, () => this.all(type).find(accept));
  }

  async fetch(path: string, body?: unknown): Promise<{ status: number; bytes: Uint8Array }> {
    const response = await fetch(this.#url + path, {
      method: body === undefined ? "GET" : "PUT",
      dispatcher: this.#http,
      headers: { authorization: `Bearer ${this.#key}` },
      ...(body === undefined ? {} : { body: encodeValue(body) }),
    });
    return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) };
  }

  /** Cuts the connection without a word, as a broken link does. */
  async cut(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    await this.#http.destroy();
  }

  async close(): Promise<void> {
    this.#socket.close();
    await until("the socket to close", () => this.closed !== undefined);
    await this.#http.destroy();
  }
}
