/**
 * A closed loop of HTTPS requests on keep-alive connections, one in flight on each.
 *
 * It shares the machine with what it measures, so it does as little as it can: request bytes made ahead, a receive buffer per
 * connection instead of a stream, and just as much parsing as is needed to know that the answer is right.
 */

import { serveCommands } from "../processes/commands.ts";
import { runClosedLoop } from "./closed-loop.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { percentile } from "./percentile.ts";
import type { LoadOrder, LoadResult } from "./results.ts";

const READ_BYTES = 64 * 1024;
const HEAD_END = "\r\n\r\n";
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;
const MAX_SAMPLES = 4_000_000;

class Samples {
  readonly #latenciesMs = new Float64Array(MAX_SAMPLES);
  #count = 0;
  #all = 0;

  add(latencyMs: number, isMeasured: boolean): void {
    this.#all += 1;
    if (!isMeasured) return;
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

class TextConnection extends Connection {
  readonly #expected: string;
  #partial = "";

  constructor(expected: string, options: ConnectionOptions) {
    super(options);
    this.#expected = expected;
  }

  protected override take(buffer: Buffer, length: number): void {
    const text = buffer.toString("latin1", 0, length);
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
    this.answered();
  }

  #check(response: string, bodyStart: number, missing: number): void {
    const isRight =
      missing === 0 && response.startsWith("HTTP/1.1 200 ") && response.includes(this.#expected, bodyStart);
    if (isRight) return;
    this.fail(new Error(`Not the expected answer: ${response.slice(0, 1000)}`));
  }
}

/** -1 when it is not announced, which no response satisfies. */
function contentLength(response: string, headEnd: number): number {
  return Number(CONTENT_LENGTH.exec(response.slice(0, headEnd))?.[1] ?? -1);
}

async function load(order: LoadOrder): Promise<LoadResult> {
  const samples = new Samples();
  const { elapsedMs, ownMs } = await runClosedLoop(order, {
    create: ({ bytes, expected }, { onAnswer, onFailed }) =>
      new TextConnection(expected, { request: bytes, readBytes: READ_BYTES, onAnswer, onFailed }),
    onAnswer: (latencyMs, isMeasured) => samples.add(latencyMs, isMeasured),
  });
  const sorted = samples.sorted();
  return {
    requests: samples.count,
    allRequests: samples.all,
    perSecond: (1000 * samples.count) / elapsedMs,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    maxMs: sorted.at(-1) ?? Number.NaN,
    ownCores: ownMs / elapsedMs,
  };
}

serveCommands({ load });
