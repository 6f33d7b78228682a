/**
 * A closed loop of HTTPS requests on keep-alive connections, one in flight on each.
 *
 * It shares the machine with what it measures, so it does as little as it can: request bytes made ahead, a receive buffer per
 * connection instead of a stream, and just as much parsing as is needed to know that the answer is right.
 */

import { connect, type TLSSocket } from "node:tls";
import { serveCommands } from "../processes/commands.ts";
import { percentile } from "./percentile.ts";
import type { LoadOrder, LoadRequest, LoadResult } from "./results.ts";

const BUFFER_BYTES = 64 * 1024;
const HEAD_END = "\r\n\r\n";
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;
const MAX_SAMPLES = 4_000_000;

class Samples {
  readonly #latenciesMs = new Float64Array(MAX_SAMPLES);
  #count = 0;
  #all = 0;
  isOpen = false;

  add(latencyMs: number): void {
    this.#all += 1;
    if (!this.isOpen) return;
    this.#latenciesMs[this.#count % MAX_SAMPLES] = latencyMs;
    this.#count += 1;
  }

  get count(): number {
    return this.#count;
  }

  get all(): number {
    return this.#all;
  }

  sorted(): Float64Array {
    return this.#latenciesMs.slice(0, Math.min(this.#count, MAX_SAMPLES)).sort();
  }
}

class Connection {
  readonly #request: LoadRequest;
  readonly #samples: Samples;
  readonly #fail: (error: Error) => void;
  #socket: TLSSocket | undefined;
  #partial = "";
  #sentAt = 0;
  #state: "idle" | "waiting" | "ending" = "idle";
  #whenIdle: (() => void) | undefined;

  constructor(request: LoadRequest, samples: Samples, fail: (error: Error) => void) {
    this.#request = request;
    this.#samples = samples;
    this.#fail = fail;
  }

  open({ host, port, caPem }: LoadOrder): Promise<void> {
    return new Promise((resolve) => {
      const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
      const options = {
        host,
        port,
        ca: caPem,
        servername: "localhost",
        onread: {
          buffer,
          callback: (length: number): boolean => {
            this.#received(buffer.toString("latin1", 0, length));
            return true;
          },
        },
      };
      const socket = connect(options, resolve);
      socket.setNoDelay(true);
      socket.on("error", this.#fail);
      socket.on("close", () => {
        if (this.#state !== "ending") this.#fail(new Error("The server closed a connection."));
      });
      this.#socket = socket;
    });
  }

  send(): void {
    this.#state = "waiting";
    this.#sentAt = performance.now();
    this.#socket?.write(this.#request.bytes);
  }

  /** Resolves when the answer under way has arrived. */
  async close(): Promise<void> {
    const isWaiting = this.#state === "waiting";
    this.#state = "ending";
    if (isWaiting)
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    this.destroy();
  }

  destroy(): void {
    this.#state = "ending";
    this.#socket?.destroy();
  }

  #received(text: string): void {
    const response = this.#partial === "" ? text : this.#partial + text;
    const headEnd = response.indexOf(HEAD_END);
    if (headEnd === -1) {
      this.#partial = response;
      return;
    }
    const bodyStart = headEnd + HEAD_END.length;
    const missing = bodyStart + contentLength(response, headEnd) - response.length;
    if (missing > 0) {
      this.#partial = response;
      return;
    }
    this.#partial = "";
    this.#check(response, bodyStart, missing);
    this.#samples.add(performance.now() - this.#sentAt);
    if (this.#state === "waiting") this.send();
    else this.#whenIdle?.();
  }

  #check(response: string, bodyStart: number, missing: number): void {
    const isRight =
      missing === 0 &&
      response.startsWith("HTTP/1.1 200 ") &&
      response.includes(this.#request.expected, bodyStart);
    if (isRight) return;
    this.#fail(new Error(`Not the expected answer: ${response.slice(0, 1000)}`));
  }
}

/** -1 when it is not announced, which no response satisfies. */
function contentLength(response: string, headEnd: number): number {
  return Number(CONTENT_LENGTH.exec(response.slice(0, headEnd))?.[1] ?? -1);
}

async function load(order: LoadOrder): Promise<LoadResult> {
  const samples = new Samples();
  let fail: (error: Error) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const connections = order.connections.map((request) => new Connection(request, samples, fail));
  try {
    return await Promise.race([failure, run(connections, samples, order)]);
  } finally {
    for (const connection of connections) connection.destroy();
  }
}

async function run(
  connections: readonly Connection[],
  samples: Samples,
  order: LoadOrder,
): Promise<LoadResult> {
  await Promise.all(connections.map((connection) => connection.open(order)));
  for (const connection of connections) connection.send();
  await pause(order.warmUpMs);
  samples.isOpen = true;
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  await pause(order.measureMs);
  samples.isOpen = false;
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  await Promise.all(connections.map((connection) => connection.close()));
  const sorted = samples.sorted();
  return {
    requests: samples.count,
    allRequests: samples.all,
    perSecond: (1000 * samples.count) / elapsedMs,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    maxMs: sorted.at(-1) ?? Number.NaN,
    ownCores: (user + system) / 1000 / elapsedMs,
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

serveCommands({ load });
