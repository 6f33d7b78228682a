/**
 * One keep-alive connection of a load generator: the same request again and again, the next one as soon as the answer is there.
 *
 * | state   | holds                                | leaves it                          |
 * | ------- | ------------------------------------ | ---------------------------------- |
 * | idle    | nothing was sent yet                 | send → waiting; close → ending     |
 * | waiting | a request without its whole answer   | close → ending                     |
 * | ending  | the last answer is awaited, or not   |                                    |
 */

import { connect, type TLSSocket } from "node:tls";

export interface ConnectionOptions {
  readonly request: Uint8Array;
  readonly readBytes: number;
  onAnswer(latencyMs: number): void;
  onFailed(error: Error): void;
}

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  readonly caPem: string;
}

export abstract class Connection {
  readonly #options: ConnectionOptions;
  #sentAt = 0;
  #socket: TLSSocket | undefined;
  #state: "idle" | "waiting" | "ending" = "idle";
  #whenIdle: (() => void) | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** The first `length` bytes of the buffer have arrived; they are overwritten by the next. */
  protected abstract take(buffer: Buffer, length: number): void;

  open({ host, port, caPem }: ServerAddress): Promise<void> {
    return new Promise((resolve) => {
      const buffer = Buffer.allocUnsafeSlow(this.#options.readBytes);
      const callback = (length: number): boolean => {
        this.take(buffer, length);
        return true;
      };
      const options = { host, port, ca: caPem, servername: "localhost", onread: { buffer, callback } };
      const socket = connect(options, resolve);
      socket.setNoDelay(true);
      socket.on("error", (error) => this.fail(error));
      socket.on("close", () => {
        if (this.#state !== "ending") this.fail(new Error("The server closed a connection."));
      });
      this.#socket = socket;
    });
  }

  send(): void {
    this.#state = "waiting";
    this.#sentAt = performance.now();
    this.#socket?.write(this.#options.request);
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

  /** The answer is there, and right. */
  protected answered(): void {
    this.#options.onAnswer(performance.now() - this.#sentAt);
    if (this.#state === "waiting") this.send();
    else this.#whenIdle?.();
  }

  protected fail(error: Error): void {
    this.#options.onFailed(error);
  }
}
