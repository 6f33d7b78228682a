/** The one line of a site to the outside: everything that its boxes receive shares its bandwidth and is counted. It can be cut. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export class SiteLine {
  readonly #server: Server;
  readonly #bytesPerSecond: number;
  readonly #sockets = new Set<Socket>();
  /** When what has been accepted so far will have passed. */
  #freeAtMs = 0;
  /** Towards the site, on all connections together. */
  receivedBytes = 0;

  private constructor(targetPort: number, bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#server = createServer({ noDelay: true }, (box) => this.#join(box, targetPort));
  }

  static async open(targetPort: number, bytesPerSecond: number): Promise<SiteLine> {
    const line = new SiteLine(targetPort, bytesPerSecond);
    await new Promise<void>((resolve, reject) => {
      line.#server.once("error", reject).listen(0, "127.0.0.1", resolve);
    });
    return line;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resets every connection; new ones are welcome. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #join(box: Socket, targetPort: number): void {
    const gateway = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    for (const [socket, other] of [
      [box, gateway],
      [gateway, box],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    box.pipe(gateway);
    this.#carry(gateway, box).catch(() => box.destroy());
  }

  async #carry(from: Socket, to: Socket): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      const nowMs = performance.now();
      this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (chunk.length / this.#bytesPerSecond) * 1000;
      await sleep(this.#freeAtMs - nowMs);
      if (to.destroyed) return;
      this.receivedBytes += chunk.length;
      if (!to.write(chunk)) await new Promise<void>((resolve) => onceWritable(to, resolve));
    }
    to.end();
  }
}

function onceWritable(socket: Socket, resolve: () => void): void {
  const done = (): void => {
    socket.off("drain", done).off("close", done);
    resolve();
  };
  socket.on("drain", done).on("close", done);
}
