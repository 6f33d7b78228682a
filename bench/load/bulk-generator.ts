/**
 * A closed loop of large HTTPS requests on keep-alive connections, one in flight on each.
 *
 * Like `generator.ts`, for bodies of many reads: an answer is gathered in one buffer, and its end compared with what it must be.
 */

import { serveCommands } from "../processes/commands.ts";
import { runClosedLoop } from "./closed-loop.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { percentile } from "./percentile.ts";
import type { BulkOrder, BulkResult } from "./results.ts";

const READ_BYTES = 256 * 1024;
/** Room for a head and a JSON part beside what is expected. */
const SPARE_BYTES = 64 * 1024;
const HEAD_END = "\r\n\r\n";
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;

class BulkConnection extends Connection {
  readonly #expected: Uint8Array;
  readonly #answer: Buffer;
  #receivedBytes = 0;
  /** Of the answer with its head; unknown before that is there. */
  #announcedBytes: number | undefined;

  constructor(expected: Uint8Array, options: ConnectionOptions) {
    super(options);
    this.#expected = expected;
    this.#answer = Buffer.allocUnsafeSlow(expected.length + SPARE_BYTES);
  }

  override send(): void {
    this.#receivedBytes = 0;
    this.#announcedBytes = undefined;
    super.send();
  }

  protected override take(buffer: Buffer, length: number): void {
    if (this.#receivedBytes + length > this.#answer.length) {
      this.fail(new Error("The answer is longer than expected."));
      return;
    }
    buffer.copy(this.#answer, this.#receivedBytes, 0, length);
    this.#receivedBytes += length;
    this.#announcedBytes ??= this.#announced();
    if (this.#announcedBytes === undefined || this.#receivedBytes < this.#announcedBytes) return;
    this.#check();
    this.answered();
  }

  #announced(): number | undefined {
    const headEnd = this.#answer.subarray(0, this.#receivedBytes).indexOf(HEAD_END);
    if (headEnd === -1) return undefined;
    const length = CONTENT_LENGTH.exec(this.#answer.toString("latin1", 0, headEnd))?.[1];
    return headEnd + HEAD_END.length + Number(length ?? 0);
  }

  #check(): void {
    const begin = Math.max(0, this.#receivedBytes - this.#expected.length);
    const end = this.#answer.subarray(begin, this.#receivedBytes);
    const isRight = this.#answer.toString("latin1", 0, 13) === "HTTP/1.1 200 " && end.equals(this.#expected);
    if (isRight) return;
    this.fail(new Error(`Not the expected answer: ${this.#answer.toString("latin1", 0, 1000)}`));
  }
}

async function load(order: BulkOrder): Promise<BulkResult> {
  const latenciesMs: number[] = [];
  const { elapsedMs } = await runClosedLoop(order, {
    create: ({ bytes, expected }, { onAnswer, onFailed }) =>
      new BulkConnection(expected, { request: bytes, readBytes: READ_BYTES, onAnswer, onFailed }),
    onAnswer: (latencyMs, isMeasured) => {
      if (isMeasured) latenciesMs.push(latencyMs);
    },
  });
  const sorted = Float64Array.from(latenciesMs).sort();
  return {
    requests: sorted.length,
    perSecond: (1000 * sorted.length) / elapsedMs,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
  };
}

serveCommands({ load });
