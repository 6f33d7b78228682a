/** A server on a real socket, with TLS unless a test says otherwise, and clients for it that show every byte. */

import { mkdtemp, rm } from "node:fs/promises";
import { connect as connectPlain, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { connect } from "node:tls";
import { asLegacyGpuError, toWireError } from "@legacygpu/shared/errors";
import { Agent, type Dispatcher, request } from "undici";
import type { HttpServer, HttpServerOptions, Route } from "../../gateway/http/exchange.ts";
import { listen } from "../../gateway/http/server.ts";
import { makeCertificate } from "../support/certificate.ts";

const DEADLINE_MS = 10_000;

export interface Gateway {
  readonly server: HttpServer;
  readonly options: HttpServerOptions;
  readonly origin: string;
  readonly caPem: string;
  readonly faults: unknown[];
  /** A pool of keep-alive connections that trust the server. */
  readonly dispatcher: Dispatcher;
  fetch(path: string, options?: Parameters<typeof request>[1]): Promise<Reply>;
  dial(): Promise<RawClient>;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export async function startGateway(
  t: TestContext,
  overrides: Partial<HttpServerOptions> = {},
): Promise<Gateway> {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-http-"));
  const { caPem, ...tls } = await makeCertificate(dir);
  const faults: unknown[] = [];
  const options: HttpServerOptions = {
    host: "127.0.0.1",
    port: 0,
    tls,
    routes: [],
    sockets: [],
    requestTimeoutMs: 30_000,
    errorResponse: (error, requestId) => ({
      status: asLegacyGpuError(error).status,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...toWireError(error), requestId }),
    }),
    onFault: (error) => faults.push(error),
    ...overrides,
  };
  const server = await listen(options);
  const dispatcher = new Agent({ connect: { ca: caPem } });
  t.after(async () => {
    await dispatcher.destroy();
    await server.close(0);
    await rm(dir, { recursive: true });
  });
  const origin = `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${server.port}`;
  return {
    server,
    options,
    origin,
    caPem,
    faults,
    dispatcher,
    fetch: async (path, requestOptions) => {
      const reply = await request(origin + path, { dispatcher, ...requestOptions });
      return { status: reply.statusCode, headers: reply.headers, text: await reply.body.text() };
    },
    dial: () => RawClient.dial(server.port, options.tls === undefined ? undefined : caPem),
  };
}

/** A route with everything but what a test is about. */
export function route(parts: Partial<Route> = {}): Route {
  return {
    method: "GET",
    pattern: "/",
    body: { kind: "none" },
    guard: () => undefined,
    handle: () => ({ status: 200, body: "ok" }),
    ...parts,
  };
}

/** Bytes in, bytes out. Errors of the connection count as its end. */
export class RawClient {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  state: "open" | "closed" = "open";

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.state = "closed";
    });
  }

  /** @param ca absent: without TLS. */
  static async dial(port: number, ca: string | undefined): Promise<RawClient> {
    const host = "127.0.0.1";
    const socket =
      ca === undefined ? connectPlain({ host, port }) : connect({ host, port, ca, servername: "localhost" });
    await new Promise<void>((resolve, reject) => {
      socket.once(ca === undefined ? "connect" : "secureConnect", resolve);
      socket.once("error", reject);
    });
    return new RawClient(socket);
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  send(bytes: string | Uint8Array): void {
    this.socket.write(bytes);
  }

  async until(pattern: RegExp): Promise<void> {
    await until(() => pattern.test(this.text), `${pattern} from the server`);
  }

  async untilClosed(): Promise<void> {
    await until(() => this.state === "closed", "the server to close the connection");
  }
}

/** Waits for a condition; fails, saying what was awaited, after ten seconds unless told otherwise. */
export async function until(
  condition: () => boolean,
  awaited: string,
  deadlineMs: number = DEADLINE_MS,
): Promise<void> {
  const giveUpAt = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`Waited in vain for ${awaited}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A promise and the function that settles it. */
export function gate<Value = void>(): { readonly promise: Promise<Value>; open(value: Value): void } {
  let open: (value: Value) => void = () => {};
  const promise = new Promise<Value>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}
