/** A TCP link in front of a server that breaks: after a number of bytes, or when a test says so. */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** What happens once `bytes` more have come from the client: `cut`, or nothing passes any more until {@link BreakingLink.cut}. */
export interface Breakage {
  readonly bytes: number;
  readonly effect: "cut" | "stall";
}

export class BreakingLink {
  readonly #server: Server;
  readonly #port: number;
  readonly #target: () => number;
  readonly #sockets = new Set<Socket>();
  #planned: Breakage[] = [];
  /** From the client, since the last breakage. */
  #passedBytes = 0;
  /** Breakages so far. */
  breaks = 0;

  private constructor(server: Server, target: () => number) {
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    this.#target = target;
    server.on("connection", (client) => this.#join(client));
  }

  /** @param target port on loopback, asked for each connection. */
  static async start(target: () => number): Promise<BreakingLink> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new BreakingLink(server, target);
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** The breakage that is due is a `stall`, and it has come. */
  get isStalled(): boolean {
    const [breakage] = this.#planned;
    return breakage?.effect === "stall" && this.#passedBytes >= breakage.bytes;
  }

  /** One after the other; then the link stays whole. */
  plan(breakages: readonly Breakage[]): void {
    this.#planned = [...breakages];
    this.#passedBytes = 0;
  }

  /** Ends every connection, as a router does that forgets them: what is on its way may be lost. The next breakage is the next one planned. */
  cut(): void {
    this.breaks += 1;
    this.#planned.shift();
    this.#passedBytes = 0;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket): void {
    const upstream = connect(this.#target(), "127.0.0.1");
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    upstream.pipe(client);
    client.on("data", (chunk) => this.#pass(chunk, client, upstream));
  }

  #pass(chunk: Buffer, client: Socket, upstream: Socket): void {
    const [breakage] = this.#planned;
    const room = Math.max(0, (breakage?.bytes ?? Number.POSITIVE_INFINITY) - this.#passedBytes);
    this.#passedBytes += Math.min(room, chunk.length);
    if (!upstream.write(chunk.subarray(0, room))) {
      client.pause();
      upstream.once("drain", () => client.resume());
    }
    if (chunk.length >= room && breakage?.effect === "cut") this.cut();
  }
}
