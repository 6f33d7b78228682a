/** A TLS connection that says whatever bytes it is given, and tells when something came back. */

import { connect, type TLSSocket } from "node:tls";

export interface Target {
  readonly port: number;
  readonly caPem: string;
}

const CONNECT_LIMIT_MS = 5000;

export class Connection {
  readonly #socket: TLSSocket;
  #waiter: (() => void) | undefined;
  #received = "";
  isOpen = true;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received = chunk.toString("latin1");
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isOpen = false;
      this.#wake();
    });
  }

  /** @throws Error when nobody accepts the connection in time: the gateway hangs, or is gone. */
  static open({ port, caPem }: Target): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port, ca: caPem, servername: "localhost" });
      const timer = setTimeout(() => socket.destroy(new Error("no connection in time")), CONNECT_LIMIT_MS);
      socket.once("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      socket.once("secureConnect", () => {
        clearTimeout(timer);
        socket.setNoDelay();
        resolve(new Connection(socket));
      });
    });
  }

  /** @returns the beginning of what came back; empty when nothing did in this time. */
  async say(bytes: Uint8Array | string, waitMs: number): Promise<string> {
    this.#received = "";
    this.#socket.write(bytes);
    if (this.isOpen) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => this.#wake(), waitMs);
        this.#waiter = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#received;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #wake(): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.();
  }
}
