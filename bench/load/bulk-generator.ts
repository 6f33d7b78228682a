/**
 * A closed loop of large HTTPS requests on keep-alive connections, one in flight on each.
 *
 * Like `generator.ts`, for bodies of many reads: an answer is gathered in one buffer, and its end compared with what it must be.
 */

import { connect, type TLSSocket } from "node:tls";
import { serveCommands } from "../processes/commands.ts";
import { percentile } from "./percentile.ts";
import type { BulkOrder, BulkRequest, BulkResult } from "./results.ts";

const READ_BYTES = 256 * 1024;
/** Room for a head and a JSON part beside what is expected. */
const SPARE_BYTES = 64 * 1024;
const HEAD_END = "\r\n\r\n";
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;

class Connection {
  readonly #request: BulkRequest;
  readonly #onAnswer: (latencyMs: number) => void;
  readonly #fail: (error: Error) => void;
  readonly #answer: Buffer;
  #received = 0;
  /** Of the answer with its head; unknown before that is there. */
  #expected: number | undefined;
  #sentAt = 0;
  #socket: TLSSocket | undefined;
  #state: "idle" | "waiting" | "ending" = "idle";
  #whenIdle: (() => void) | undefined;

  constructor(request: BulkRequest, onAnswer: (latencyMs: number) => void, fail: (error: Error) => void) {
    this.#request = request;
    this.#onAnswer = onAnswer;
    this.#fail = fail;
    this.#answer = Buffer.allocUnsafeSlow(request.expected.length + SPARE_BYTES);
  }

  open({ host, port, caPem }: BulkOrder): Promise<void> {
    return new Promise((resolve) => {
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      const callback = (length: number): boolean => {
        this.#take(buffer.subarray(0, length));
        return true;
      };
      const options = { host, port, ca: caPem, servername: "localhost", onread: { buffer, callback } };
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
    this.#received = 0;
    this.#expected = undefined;
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

  #take(bytes: Buffer): void {
    if (this.#received + bytes.length > this.#answer.length) {
      this.#fail(new Error("The answer is longer than expected."));
      return;
    }
    this.#answer.set(bytes, this.#received);
    this.#received += bytes.length;
    this.#expected ??= this.#announced();
    if (this.#expected === undefined || this.#received < this.#expected) return;
    this.#check();
    this.#onAnswer(performance.now() - this.#sentAt);
    if (this.#state === "waiting") this.send();
    else this.#whenIdle?.();
  }

  #announced(): number | undefined {
    const headEnd = this.#answer.subarray(0, this.#received).indexOf(HEAD_END);
    if (headEnd === -1) return undefined;
    const length = CONTENT_LENGTH.exec(this.#answer.toString("latin1", 0, headEnd))?.[1];
    return headEnd + HEAD_END.length + Number(length ?? 0);
  }

  #check(): void {
    const { expected } = this.#request;
    const end = this.#answer.subarray(Math.max(0, this.#received - expected.length), this.#received);
    const isRight = this.#answer.toString("latin1", 0, 13) === "HTTP/1.1 200 " && end.equals(expected);
    if (isRight) return;
    this.#fail(new Error(`Not the expected answer: ${this.#answer.toString("latin1", 0, 1000)}`));
  }
}

async function load(order: BulkOrder): Promise<BulkResult> {
  const latenciesMs: number[] = [];
  let isOpen = false;
  let fail: (error: Error) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const onAnswer = (latencyMs: number): void => {
    if (isOpen) latenciesMs.push(latencyMs);
  };
  const connections = order.connections.map((request) => new Connection(request, onAnswer, fail));
  const run = async (): Promise<BulkResult> => {
    await Promise.all(connections.map((connection) => connection.open(order)));
    for (const connection of connections) connection.send();
    await pause(order.warmUpMs);
    isOpen = true;
    const startedAt = performance.now();
    await pause(order.measureMs);
    isOpen = false;
    const elapsedMs = performance.now() - startedAt;
    await Promise.all(connections.map((connection) => connection.close()));
    const sorted = Float64Array.from(latenciesMs).sort();
    return {
      requests: sorted.length,
      perSecond: (1000 * sorted.length) / elapsedMs,
      p50Ms: percentile(sorted, 0.5),
      p99Ms: percentile(sorted, 0.99),
    };
  };
  try {
    return await Promise.race([failure, run()]);
  } finally {
    for (const connection of connections) connection.destroy();
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

serveCommands({ load });
