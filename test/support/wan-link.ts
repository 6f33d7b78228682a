/**
 * The line of a site as a TCP proxy: those who dial it reach the target with the delay, jitter and bandwidth of a WAN, all of them over the same
 * line. It can freeze, be cut, and change while data are on their way.
 *
 * Opening a connection takes a round trip, as it does with TCP.
 */

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Random } from "@legacygpu/shared/clock";
import { type LineConditions, type Packet, type Sender, WanDirection } from "./wan-direction.ts";

export type { LineConditions } from "./wan-direction.ts";

export interface WanTarget {
  readonly host: string;
  readonly port: number;
}

interface Lines {
  /** From those who dial. */
  readonly up: WanDirection;
  readonly down: WanDirection;
}

/** Of SYN and SYN-ACK, and of the end. */
const CONTROL_BYTES = 60;
/** Sent and not yet arrived: TCP's window. */
const WINDOW_BYTES = 8 * 1024 * 1024;

/** What a socket receives, on its way to the other. */
class Flow implements Sender {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #line: WanDirection;
  #onItsWayBytes = 0;
  #state: "flowing" | "ending" | "ended" = "flowing";

  constructor(from: Socket, to: Socket, line: WanDirection) {
    this.#from = from;
    this.#to = to;
    this.#line = line;
    from.on("readable", () => line.offer(this));
    from.on("end", () => line.offer(this));
    to.on("drain", () => line.offer(this));
    // What waits already has told so before anybody listened.
    line.offer(this);
  }

  next(maxBytes: number): Packet | undefined {
    if (this.#from.destroyed || this.#to.destroyed || this.#state !== "flowing") return undefined;
    if (this.#from.readableEnded) return this.#end();
    // The receiver does not read: its window closes.
    if (this.#to.writableNeedDrain || this.#onItsWayBytes >= WINDOW_BYTES) return undefined;
    const bytes = this.#read(maxBytes);
    if (bytes === undefined) return undefined;
    this.#onItsWayBytes += bytes.length;
    return { sizeBytes: bytes.length, arrive: () => this.#arrived(bytes) };
  }

  #read(maxBytes: number): Buffer | undefined {
    const length = Math.min(maxBytes, this.#from.readableLength);
    const bytes = length === 0 ? null : (this.#from.read(length) as Buffer | null);
    // Asks for more, or for the end.
    if (this.#from.readableLength === 0) this.#from.read(0);
    return bytes ?? undefined;
  }

  #arrived(bytes: Buffer): void {
    const wasFull = this.#onItsWayBytes >= WINDOW_BYTES;
    this.#onItsWayBytes -= bytes.length;
    if (!this.#to.destroyed) this.#to.write(bytes);
    if (wasFull) setImmediate(() => this.#line.offer(this));
  }

  #end(): Packet {
    this.#state = "ending";
    const arrive = (): void => {
      this.#state = "ended";
      this.#to.end();
    };
    return { sizeBytes: CONTROL_BYTES, arrive };
  }
}

export class WanLink {
  readonly #target: WanTarget;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #lines: Lines;
  #isRefusing = false;

  private constructor(target: WanTarget, random: Random) {
    this.#target = target;
    this.#lines = { up: new WanDirection(random), down: new WanDirection(random) };
    const options = { allowHalfOpen: true, noDelay: true };
    this.#server = createServer(options, (client) => this.#accept(client));
  }

  /** @param conditions of both directions; what is left out is that of a clear line. */
  static async start(
    target: WanTarget,
    conditions: Partial<LineConditions> = {},
    random: Random = Math.random,
  ): Promise<WanLink> {
    const link = new WanLink(target, random);
    link.change(conditions);
    await new Promise<void>((resolve, reject) => {
      link.#server.once("error", reject).listen(0, "127.0.0.1", resolve);
    });
    return link;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** That have come from those who dial. */
  get upBytes(): number {
    return this.#lines.up.carriedBytes;
  }
  get downBytes(): number {
    return this.#lines.down.carriedBytes;
  }
  /** The most that has waited in the queue towards those who dial. */
  get peakDownQueueBytes(): number {
    return this.#lines.down.peakQueuedBytes;
  }

  /** Both directions. What is left out stays as it is. */
  change(conditions: Partial<LineConditions>): void {
    this.changeUp(conditions);
    this.changeDown(conditions);
  }
  changeUp(conditions: Partial<LineConditions>): void {
    this.#lines.up.change(conditions);
  }
  changeDown(conditions: Partial<LineConditions>): void {
    this.#lines.down.change(conditions);
  }

  /** Nothing gets through and nothing is lost; who dials waits. */
  freeze(): void {
    for (const line of this.#both()) line.freeze(true);
  }
  thaw(): void {
    for (const line of this.#both()) line.freeze(false);
  }

  /** Resets all connections on both sides; what is on its way is lost. */
  cut(): void {
    for (const line of this.#both()) line.clear();
    for (const socket of this.#sockets) reset(socket);
  }

  /** New connections are reset. */
  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #both(): WanDirection[] {
    return [this.#lines.up, this.#lines.down];
  }

  #accept(client: Socket): void {
    this.#hold(client);
    if (this.#isRefusing) reset(client);
    else this.#lines.up.offer(once(() => this.#dial(client)));
  }

  #dial(client: Socket): void {
    if (client.destroyed) return;
    const { up, down } = this.#lines;
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    this.#hold(server);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      // What ends one side by force ends the other; an orderly end travels as data do.
      socket.on("close", (hadError) => {
        if (hadError || !socket.readableEnded) reset(other);
      });
    }
    server.once("connect", () => {
      new Flow(server, client, down);
      down.offer(once(() => void new Flow(client, server, up)));
    });
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

/** A packet that belongs to no data. */
function once(arrive: () => void): Sender {
  let isSent = false;
  return {
    next: () => {
      if (isSent) return undefined;
      isSent = true;
      return { sizeBytes: CONTROL_BYTES, arrive };
    },
  };
}

/** A connection that is still being made can only be dropped. */
function reset(socket: Socket): void {
  if (socket.connecting) socket.destroy();
  else if (!socket.destroyed) socket.resetAndDestroy();
}
