/** Payloads that travel beside the link: an attempt's input down, its output up. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { decodeValue } from "@legacygpu/shared/protocol/codec";
import { payloadSchema, type TaskInput } from "@legacygpu/shared/protocol/messages";
import { attemptInputPath, attemptOutputPath } from "@legacygpu/shared/protocol/version";
import type { LinkGate } from "./gate.ts";
import type { HttpReply, HttpRequest } from "./network.ts";
import { PieceWindow } from "./piece-window.ts";
import { downloadInPieces } from "./piecewise.ts";
import { type Failure, retrying } from "./retry.ts";
import { askedWait } from "./retry-after.ts";

export interface TransferOptions {
  request(path: string, request: HttpRequest): Promise<HttpReply>;
  readonly gate: LinkGate;
  readonly clock: Clock;
  readonly random: Random;
}

interface Attempt {
  readonly taskId: string;
  readonly token: number;
}

const TRIES = 5;
const BACKOFF = { baseMs: 200, capMs: 5000 };

export class Transfers {
  readonly #options: TransferOptions;
  /** All inputs come over the same line. */
  readonly #window: PieceWindow;

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#window = new PieceWindow(options.clock);
  }

  /** @throws `transfer_failed`, `input_invalid`. */
  async fetchInput({ taskId, token }: Attempt, signal: AbortSignal): Promise<TaskInput> {
    const bytes = await this.#retrying(signal, async () => {
      const path = attemptInputPath(taskId, token);
      return downloadInPieces({
        window: this.#window,
        open: (range, pieceSignal) => this.#openInput(path, range, pieceSignal),
        signal,
      });
    });
    const parsed = payloadSchema.safeParse(decodeValue(bytes));
    if (!parsed.success)
      throw fail("input_invalid", "The input fetched beside the link is not a task's input.");
    return parsed.data;
  }

  /** @throws `transfer_failed`, `attempt_not_found`, `body_too_large`. */
  storeOutput({ taskId, token }: Attempt, body: Uint8Array, signal: AbortSignal): Promise<void> {
    return this.#retrying(signal, async () => {
      const headers = { "content-type": "application/msgpack" };
      const request = { method: "PUT", headers, body, signal } as const;
      const reply = await this.#options.request(attemptOutputPath(taskId, token), request);
      await expectSuccess(reply);
      await reply.body.text();
    });
  }

  async #openInput(path: string, range: string, signal: AbortSignal): Promise<HttpReply> {
    const reply = await this.#options.request(path, { method: "GET", headers: { range }, signal });
    // Another attempt has a way to its input; the task must not end for it.
    if (reply.status === 404) throw fail("transfer_failed", "The gateway does not have this input any more.");
    await expectSuccess(reply);
    return reply;
  }

  #retrying<Value>(signal: AbortSignal, transfer: () => Promise<Value>): Promise<Value> {
    const { gate, clock, random } = this.#options;
    const limits = { tries: TRIES, backoff: BACKOFF };
    return retrying(transfer, { ...limits, gate, clock, random, signal, explain: explainTransfer });
  }
}

/** @throws the refusal, in our words. */
export async function expectSuccess(reply: HttpReply): Promise<void> {
  if (reply.status >= 200 && reply.status < 300) return;
  const said = (await reply.body.text()).slice(0, 300);
  const details = { status: reply.status, ...askedWait(reply.status, reply.headers) };
  if (reply.status === 404) throw fail("attempt_not_found", undefined, details);
  if (reply.status === 413)
    throw fail("body_too_large", `The gateway does not take so large an output: ${said}`, details);
  if (reply.status === 401) throw fail("auth_invalid", undefined, details);
  if (reply.status === 403) throw fail("auth_forbidden", undefined, details);
  throw fail("transfer_failed", `The gateway answered HTTP ${reply.status}: ${said}`, details);
}

function explainTransfer(failed: unknown): Failure {
  const error = asTransferFailure(failed);
  return { error, isPassing: error.retryable };
}

function asTransferFailure(error: unknown): LegacyGpuError {
  const known = asLegacyGpuError(error);
  if (known.code !== "internal") return known;
  return fail("transfer_failed", `The transfer broke off: ${(error as Error).message}`, {}, error);
}
