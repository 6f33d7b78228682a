/** A gateway that speaks real frames over a real TLS WebSocket and does only what a test tells it to. */

import * as uws from "uWebSockets.js";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Manifest } from "@legacygpu/shared/manifest";
import { agentFrames, FrameBuilder } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage, GatewayMessage, MessageOf, ModelRef } from "@legacygpu/shared/protocol/messages";
import { AGENT_PATH, SUBPROTOCOL } from "@legacygpu/shared/protocol/version";
import { ReceiveWindow } from "@legacygpu/shared/protocol/window";
import { makeCertificate } from "./certificate.ts";
import { until } from "./until.ts";

type Hello = MessageOf<AgentMessage, "hello">;
type Task = MessageOf<GatewayMessage, "task">;
interface LinkData {
  readonly window: ReceiveWindow;
}
type Link = uws.WebSocket<LinkData>;

export interface FakeGatewayOptions {
  readonly heartbeatIntervalMs?: number;
  readonly heartbeatTimeoutMs?: number;
  /** An address on loopback. Default: 127.0.0.1, addressed as localhost. */
  readonly host?: string;
}

export class FakeGateway {
  readonly key = "lgw_test0000000000000000000000000000";
  readonly received: AgentMessage[] = [];
  /** By `taskId/token`. */
  readonly inputs = new Map<string, Uint8Array>();
  readonly outputs = new Map<string, Uint8Array>();
  readonly blobs = new Map<string, Uint8Array>();
  /** Paths asked for over HTTPS, with the range. */
  readonly requests: string[] = [];
  /** How often the next requests are answered with an error, or broken off half-way. */
  failNext: { status: number; count: number; retryAfter?: string } | undefined;
  breakNextDownload = false;
  /** Refuses handshakes with this status. */
  refuseWith: string | undefined;
  /** `Retry-After` of these refusals. */
  retryAfter: string | undefined;
  /** Which of the held attempts are still wanted. */
  keep: (hello: Hello) => number[] = (hello) => hello.held.map(({ token }) => token);
  /** While false nothing is acknowledged and no heartbeat is sent: what a half-open link looks like. */
  isTalking = true;
  #links: Link[] = [];
  #outbox: (() => void)[] = [];
  #options: FakeGatewayOptions = {};
  #timer: NodeJS.Timeout | undefined;
  #listening: uws.us_listen_socket | undefined;
  #port = 0;
  #caPem = "";
  #dir = "";

  static async start(options: FakeGatewayOptions = {}): Promise<FakeGateway> {
    const gateway = new FakeGateway();
    gateway.#options = options;
    gateway.#dir = await mkdtemp(join(tmpdir(), "legacygpu-fake-gateway-"));
    const { keyFile, certFile, caPem } = await makeCertificate(gateway.#dir);
    gateway.#caPem = caPem;
    const app = uws.SSLApp({ key_file_name: keyFile, cert_file_name: certFile });
    gateway.#routes(app);
    await new Promise<void>((resolve, reject) => {
      app.listen(options.host ?? "127.0.0.1", 0, (socket) => {
        if (socket === false) return reject(new Error("no port"));
        gateway.#listening = socket;
        gateway.#port = uws.us_socket_local_port(socket);
        resolve();
      });
    });
    gateway.#timer = setInterval(() => gateway.#beat(), options.heartbeatIntervalMs ?? 500);
    return gateway;
  }

  get url(): string {
    return `wss://${this.#options.host ?? "localhost"}:${this.#port}`;
  }
  get caPem(): string {
    return this.#caPem;
  }
  get linkCount(): number {
    return this.#links.length;
  }

  send(...messages: GatewayMessage[]): void {
    const builder = new FrameBuilder<GatewayMessage>();
    for (const message of messages) builder.add(message);
    for (const frame of builder.take()) this.#later(() => void this.#links.at(-1)?.send(frame, true));
  }

  sendBytes(frame: Uint8Array): void {
    this.#later(() => void this.#links.at(-1)?.send(frame, true));
  }

  /** Drops every connection without a word. */
  cut(): void {
    for (const link of this.#links) link.close();
  }

  /** Closes every connection with a code. */
  end(code: number, reason: string): void {
    this.#later(() => {
      for (const link of this.#links) link.end(code, reason);
    });
  }

  addBlob(bytes: Uint8Array): string {
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    this.blobs.set(digest, bytes);
    return digest;
  }

  addModel(name: string, file: Uint8Array, manifest: Manifest = {}): ModelRef {
    return {
      name,
      version: "1",
      file: this.addBlob(file),
      fileBytes: file.length,
      manifest: this.addBlob(Buffer.from(JSON.stringify(manifest))),
    };
  }

  all<T extends AgentMessage["type"]>(type: T): MessageOf<AgentMessage, T>[] {
    return this.received.filter((message): message is MessageOf<AgentMessage, T> => message.type === type);
  }

  /** The first message of a type that satisfies `accept`, as soon as it is there. */
  next<T extends AgentMessage["type"]>(
    type: T,
    accept: (message: MessageOf<AgentMessage, T>) => boolean = () => true,
    deadlineMs?: number,
  ): Promise<MessageOf<AgentMessage, T>> {
    return until(`a \`${type}\` from the agent`, () => this.all(type).find(accept), deadlineMs);
  }

  /** The result of an attempt; a `failed` is an error. */
  async result(token: number, deadlineMs?: number): Promise<MessageOf<AgentMessage, "result">> {
    const outcome = await until(
      `the outcome of attempt ${token}`,
      () =>
        this.all("failed").find((message) => message.token === token) ??
        this.all("result").find((message) => message.token === token),
      deadlineMs,
    );
    if (outcome.type === "failed") throw new Error(`${outcome.error.code}: ${outcome.error.message}`);
    return outcome;
  }

  failure(token: number, deadlineMs?: number): Promise<MessageOf<AgentMessage, "failed">> {
    return this.next("failed", (message) => message.token === token, deadlineMs);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#listening !== undefined) uws.us_listen_socket_close(this.#listening);
    for (const link of this.#links) link.close();
    await rm(this.#dir, { recursive: true, force: true });
  }

  #routes(app: uws.TemplatedApp): void {
    app.ws<LinkData>(AGENT_PATH, {
      maxPayloadLength: 1024 * 1024,
      idleTimeout: 0,
      upgrade: (response, request, context) => this.#upgrade(response, request, context),
      open: (link) => void this.#links.push(link),
      message: (link, frame) => this.#receive(link, new Uint8Array(frame.slice(0))),
      close: (link) => {
        this.#links = this.#links.filter((other) => other !== link);
      },
    });
    app.get("/agent/blobs/:digest", (response, request) => {
      const range = request.getHeader("range");
      const bytes = this.blobs.get(decodeURIComponent(request.getParameter(0) ?? ""));
      this.#answer(response, request, bytes, range);
    });
    app.get("/agent/attempts/:task/:token/input", (response, request) => {
      this.#answer(response, request, this.inputs.get(attemptOf(request)), "");
    });
    app.put("/agent/attempts/:task/:token/output", (response, request) => this.#store(response, request));
  }

  #upgrade(response: uws.HttpResponse, request: uws.HttpRequest, context: uws.us_socket_context_t): void {
    const isKeyRight = request.getHeader("authorization") === `Bearer ${this.key}`;
    const refusal = isKeyRight ? this.refuseWith : "401 Unauthorized";
    if (refusal !== undefined) {
      response.writeStatus(refusal);
      if (this.retryAfter !== undefined) response.writeHeader("retry-after", this.retryAfter);
      response.end("refused");
      return;
    }
    const key = request.getHeader("sec-websocket-key");
    response.upgrade<LinkData>({ window: new ReceiveWindow() }, key, SUBPROTOCOL, "", context);
  }

  #receive(link: Link, frame: Uint8Array): void {
    const { window } = link.getUserData();
    window.received(frame.length);
    for (const message of agentFrames.decode(frame).messages) {
      this.received.push(message);
      if (message.type === "hello") this.send(this.#welcome(message));
    }
    if (this.isTalking) this.send({ type: "ack", receivedBytes: window.report() });
  }

  #welcome(hello: Hello): GatewayMessage {
    return {
      type: "welcome",
      protocol: 1,
      sessionId: `session-${this.all("hello").length}`,
      serverTimeMs: Date.now(),
      heartbeatIntervalMs: this.#options.heartbeatIntervalMs ?? 500,
      heartbeatTimeoutMs: this.#options.heartbeatTimeoutMs ?? 5000,
      keep: this.keep(hello),
    };
  }

  #beat(): void {
    if (this.isTalking && this.#links.length > 0) this.send({ type: "heartbeat", serverTimeMs: Date.now() });
  }

  #answer(
    response: uws.HttpResponse,
    request: uws.HttpRequest,
    bytes: Uint8Array | undefined,
    range: string,
  ): void {
    this.requests.push(range === "" ? request.getUrl() : `${request.getUrl()} ${range}`);
    response.onAborted(() => {});
    if (this.#takeFailure(response)) return;
    if (bytes === undefined) {
      response.writeStatus("404 Not Found").end("not here");
    } else if (this.breakNextDownload) {
      this.breakNextDownload = false;
      response.tryEnd(bytes.slice(0, bytes.length / 2), bytes.length);
      setTimeout(() => response.close(), 50);
    } else if (range === "") {
      response.end(bytes);
    } else {
      const first = Number(/\d+/.exec(range)?.[0]);
      response.writeStatus("206 Partial Content");
      response.writeHeader("content-range", `bytes ${first}-${bytes.length - 1}/${bytes.length}`);
      response.end(bytes.slice(first));
    }
  }

  #store(response: uws.HttpResponse, request: uws.HttpRequest): void {
    this.requests.push(request.getUrl());
    const attempt = attemptOf(request);
    const chunks: Buffer[] = [];
    response.onAborted(() => {});
    response.onData((chunk, isLast) => {
      chunks.push(Buffer.from(chunk.slice(0)));
      if (!isLast) return;
      this.#later(() => {
        if (this.#takeFailure(response)) return;
        this.outputs.set(attempt, new Uint8Array(Buffer.concat(chunks)));
        response.cork(() => response.writeStatus("204 No Content").endWithoutBody());
      });
    });
  }

  #takeFailure(response: uws.HttpResponse): boolean {
    if (this.failNext === undefined || this.failNext.count === 0) return false;
    this.failNext.count -= 1;
    const { status, retryAfter } = this.failNext;
    response.cork(() => {
      response.writeStatus(`${status} Failed`);
      if (retryAfter !== undefined) response.writeHeader("retry-after", retryAfter);
      response.end("told to fail");
    });
    return true;
  }

  /** Never from inside a handler of the server's library, which drops data when written to there. */
  #later(write: () => void): void {
    this.#outbox.push(write);
    if (this.#outbox.length > 1) return;
    setImmediate(() => {
      for (const each of this.#outbox.splice(0)) each();
    });
  }
}

function attemptOf(request: uws.HttpRequest): string {
  return `${request.getParameter(0)}/${request.getParameter(1)}`;
}

let lastToken = 0;

/** A task for the identity model, with a token of its own, unless told otherwise. */
export function fakeTask(model: ModelRef, more: Partial<Task> = {}): Task {
  lastToken += 1;
  return {
    type: "task",
    taskId: `task-${lastToken}`,
    token: lastToken,
    model: { name: model.name, version: model.version },
    input: { kind: "tensors", tensors: [floats("input", [1, 16], 1)] },
    ...more,
  };
}

export function floats(name: string, shape: number[], value: number | readonly number[]) {
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  const values = typeof value === "number" ? new Float32Array(count).fill(value) : Float32Array.from(value);
  return { name, datatype: "FP32" as const, shape, data: new Uint8Array(values.buffer) };
}
