/**
 * Flow control of one direction of a link: how much may be on its way without an `ack`.
 *
 * Sender and receiver each keep one; both count bytes of whole frames from the start of the connection.
 */

import { ACK_EVERY_BYTES, WINDOW_BYTES } from "./version.ts";

export class SendWindow {
  readonly #limitBytes: number;
  #sentBytes = 0;
  #acknowledgedBytes = 0;

  constructor(limitBytes: number = WINDOW_BYTES) {
    this.#limitBytes = limitBytes;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  get unacknowledgedBytes(): number {
    return this.#sentBytes - this.#acknowledgedBytes;
  }

  get isOpen(): boolean {
    return this.unacknowledgedBytes < this.#limitBytes;
  }

  sent(frameBytes: number): void {
    this.#sentBytes += frameBytes;
  }

  /** @returns whether the number can be right: it never falls and never passes what was sent. */
  acknowledge(receivedBytes: number): boolean {
    if (receivedBytes < this.#acknowledgedBytes || receivedBytes > this.#sentBytes) return false;
    this.#acknowledgedBytes = receivedBytes;
    return true;
  }
}

export class ReceiveWindow {
  #receivedBytes = 0;
  #reportedBytes = 0;

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  received(frameBytes: number): void {
    this.#receivedBytes += frameBytes;
  }

  /** Whether an `ack` should go out now rather than with the next heartbeat. */
  get isAckDue(): boolean {
    return this.#receivedBytes - this.#reportedBytes >= ACK_EVERY_BYTES;
  }

  get hasUnreported(): boolean {
    return this.#receivedBytes > this.#reportedBytes;
  }

  /** The value for an `ack` that is about to be sent. */
  report(): number {
    this.#reportedBytes = this.#receivedBytes;
    return this.#receivedBytes;
  }
}
