/**
 * Brings the outcomes of finished attempts to the gateway.
 *
 * | state  | what is finished                                                              | leaves it              |
 * | ------ | ----------------------------------------------------------------------------- | ---------------------- |
 * | away   | goes to the disk, and its memory is free                                      | a new link → linked    |
 * | linked | is sent, from memory or read back from the disk, until it is acknowledged     | its loss → away        |
 * | closed | has gone to the disk, for the next start of the agent                         |                        |
 *
 * While the link is up nothing is written to the disk. What was on its way when the link was lost is sent again on the next one.
 */

import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { AgentMessage } from "@legacygpu/shared/protocol/messages";
import type { Attempt, AttemptTable } from "./attempt.ts";
import type { Outcome } from "./outcome.ts";
import { failedMessage } from "./payloads.ts";
import type { Stored } from "./spool.ts";

export interface DeliveryPorts {
  readonly log: Logger;
  readonly spool: {
    put(outcome: Outcome): Promise<Stored>;
    read(token: number): Promise<Outcome | undefined>;
    remove(token: number): void;
    close(): Promise<void>;
  };
  readonly transfers: {
    storeOutput(attempt: Attempt, body: Uint8Array, signal: AbortSignal): Promise<void>;
  };
  /** @returns false when there is no link. */
  send(message: AgentMessage, onDelivered?: () => void): boolean;
  /** The gateway has it. */
  onDelivered(attempt: Attempt): void;
  /** It cannot be kept any longer, or nobody wants it. */
  onDropped(attempt: Attempt, reason: string): void;
}

/** Outcomes that are read back and wait for their acknowledgement: enough to fill a line, not the memory. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

export class Delivery {
  readonly #ports: DeliveryPorts;
  readonly #attempts: AttemptTable;
  #state: "away" | "linked" | "closed" = "away";
  /** Counts the links: what was begun on one is not finished on another. */
  #link = 0;
  #unwritten: Attempt[] = [];
  #writing: Promise<void> | undefined;
  #unread: Attempt[] = [];
  /** Read back and not yet over, with their bytes. */
  readonly #read = new Map<Attempt, number>();
  #readBytes = 0;

  constructor(attempts: AttemptTable, ports: DeliveryPorts) {
    this.#attempts = attempts;
    this.#ports = ports;
  }

  /** The attempt is finished and its outcome is in the table. */
  add(attempt: Attempt): void {
    if (this.#state === "linked") this.#deliver(attempt);
    else this.#write(attempt);
  }

  onLinked(): void {
    if (this.#state === "closed") return;
    this.#state = "linked";
    this.#link += 1;
    this.#unwritten = [];
    for (const attempt of this.#finished()) this.#deliver(attempt);
  }

  onLinkLost(): void {
    if (this.#state === "linked") this.#leave("away");
  }

  /** The attempt is over: nothing is left to deliver. */
  forget(attempt: Attempt): void {
    if (this.#state === "closed") return;
    this.#ports.spool.remove(attempt.token);
    this.#readBytes -= this.#read.get(attempt) ?? 0;
    if (this.#read.delete(attempt)) this.#readOn();
  }

  /** Resolves when everything that is finished is on the disk, as far as the disk takes it. */
  async close(): Promise<void> {
    this.#leave("closed");
    await this.#writing;
    await this.#ports.spool.close();
  }

  #finished(): Attempt[] {
    return this.#attempts.all().filter(({ state }) => state === "finished");
  }

  #leave(to: "away" | "closed"): void {
    this.#state = to;
    this.#unread = [];
    this.#read.clear();
    this.#readBytes = 0;
    this.#unwritten = [];
    for (const attempt of this.#finished()) {
      attempt.transfer?.abort();
      this.#write(attempt);
    }
  }

  // ---- to the disk

  #write(attempt: Attempt): void {
    this.#unwritten.push(attempt);
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#unwritten.shift(); next !== undefined; next = this.#unwritten.shift())
      await this.#writeOne(next);
    this.#writing = undefined;
  }

  async #writeOne(attempt: Attempt): Promise<void> {
    const { outcome } = attempt;
    if (outcome === undefined || outcome.kind === "spooled") return;
    const { spool } = this.#ports;
    const { storedBytes, evicted } = await spool.put(outcome);
    for (const token of evicted) {
      const old = this.#attempts.get(token);
      if (old !== undefined) this.#ports.onDropped(old, "the spool is full");
    }
    if (storedBytes === undefined) return;
    if (attempt.outcome === outcome)
      this.#attempts.keepOutcome(attempt, { kind: "spooled", sizeBytes: storedBytes });
    // Delivered, dropped, or given up while it was written.
    else spool.remove(attempt.token);
  }

  // ---- to the gateway

  #deliver(attempt: Attempt): void {
    const { outcome } = attempt;
    if (outcome?.kind === "spooled") {
      this.#unread.push(attempt);
      this.#readOn();
    } else if (outcome !== undefined) this.#send(attempt, outcome);
  }

  #readOn(): void {
    while (this.#state === "linked" && this.#readBytes < MAX_READ_BYTES) {
      const attempt = this.#unread.shift();
      if (attempt === undefined) return;
      if (attempt.outcome?.kind === "spooled") void this.#deliverSpooled(attempt, attempt.outcome.sizeBytes);
    }
  }

  async #deliverSpooled(attempt: Attempt, sizeBytes: number): Promise<void> {
    const link = this.#link;
    this.#read.set(attempt, sizeBytes);
    this.#readBytes += sizeBytes;
    const outcome = await this.#ports.spool.read(attempt.token);
    if (this.#link !== link || this.#state !== "linked" || attempt.state !== "finished") return;
    if (outcome === undefined)
      this.#giveUp(attempt, fail("transfer_failed", "The worker has lost its result."));
    else this.#send(attempt, outcome);
  }

  #send(attempt: Attempt, outcome: Outcome): void {
    if (outcome.kind === "inline") this.#announce(attempt, outcome.message);
    else void this.#upload(attempt, outcome);
  }

  #announce(attempt: Attempt, message: AgentMessage): void {
    this.#ports.send(message, () => {
      if (attempt.state === "finished") this.#ports.onDelivered(attempt);
    });
  }

  async #upload(attempt: Attempt, { message, body }: Extract<Outcome, { kind: "beside" }>): Promise<void> {
    attempt.transfer?.abort();
    const transfer = new AbortController();
    attempt.transfer = transfer;
    const isCurrent = (): boolean =>
      attempt.state === "finished" && attempt.transfer === transfer && !transfer.signal.aborted;
    try {
      await this.#ports.transfers.storeOutput(attempt, body, transfer.signal);
      if (isCurrent()) this.#announce(attempt, message);
    } catch (error) {
      if (isCurrent()) this.#onUploadFailed(attempt, asLegacyGpuError(error));
    }
  }

  #onUploadFailed(attempt: Attempt, error: LegacyGpuError): void {
    if (error.code === "attempt_not_found") {
      this.#ports.onDropped(attempt, "the gateway does not want its output");
      return;
    }
    this.#ports.log.warn(
      { taskId: attempt.taskId, token: attempt.token, err: error },
      "an output could not be delivered",
    );
    this.#giveUp(attempt, error);
  }

  /** Its output cannot be had any more; the gateway is told so. */
  #giveUp(attempt: Attempt, error: LegacyGpuError): void {
    const message = failedMessage(attempt, error);
    this.#attempts.keepOutcome(attempt, { kind: "inline", message });
    this.#announce(attempt, message);
  }
}
