/**
 * A TCP proxy in front of a gateway that does what bad networks do: slow, stuck, silent, broken, corrupting.
 *
 * Faults hold for all connections at once, and can be changed while data are on their way.
 */

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Random } from "@legacygpu/shared/clock";
import { type Line, OneWay, Weather } from "./fault-line.ts";

export interface Target {
  readonly host: string;
  readonly port: number;
}
export type Side = "client" | "server";

/** A client's socket, ours to the gateway, and the two directions between them. */
class Connection {
  readonly #sockets: Readonly<Record<Side, Socket>>;
  readonly #toServer: OneWay;
  readonly #toClient: OneWay;
  /** Resolves when both sockets are gone. */
  readonly closed: Promise<unknown>;
  #isLost = false;

  constructor(client: Socket, target: Target, weather: Weather, lines: Readonly<Record<Side, Line>>) {
    const server = connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.#sockets = { client, server };
    this.#toServer = new OneWay(client, server, weather, lines.server);
    this.#toClient = new OneWay(server, client, weather, lines.client);
    this.closed = Promise.all([this.#watch(client, server), this.#watch(server, client)]);
    this.update();
  }

  update(): void {
    this.#toServer.update();
    this.#toClient.update();
  }

  lose(): void {
    this.#isLost = true;
    this.#toServer.lose();
    this.#toClient.lose();
  }

  /** `side` is told that nothing more comes. */
  end(side: Side): void {
    if (side === "client") this.#toClient.end();
    else this.#toServer.end();
  }

  reset(): void {
    for (const socket of Object.values(this.#sockets)) reset(socket);
  }

  /** What ends one side by force ends the other, unless nothing gets through. */
  #watch(socket: Socket, other: Socket): Promise<void> {
    socket.on("error", () => {});
    return new Promise((resolve) => {
      socket.on("close", (hadError) => {
        if (hadError && !this.#isLost) reset(other);
        resolve();
      });
    });
  }
}

export class FaultProxy {
  readonly #target: Target;
  readonly #server: Server;
  readonly #weather = new Weather();
  readonly #lines: Readonly<Record<Side, Line>> = { client: { freeAtMs: 0 }, server: { freeAtMs: 0 } };
  readonly #connections = new Set<Connection>();
  /** Accepted by the system while nothing goes through. */
  readonly #hanging = new Set<Socket>();
  #state: "clear" | "frozen" | "blackhole" = "clear";
  #isRefusing = false;

  private constructor(target: Target) {
    this.#target = target;
    const options = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true };
    this.#server = createServer(options, (socket) => this.#accept(socket));
  }

  static async start(target: Target): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject).listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Those that hang included. */
  get connections(): number {
    return this.#connections.size + this.#hanging.size;
  }

  /** Each way; order is kept. */
  delay(ms: number, jitterMs = 0, random: Random = Math.random): void {
    this.#weather.delayMs = ms;
    this.#weather.jitterMs = jitterMs;
    this.#weather.random = random;
    this.#update();
  }

  /** Each way, for all connections together. */
  throttle(bytesPerSecond: number | undefined): void {
    this.#weather.bytesPerSecond = bytesPerSecond;
    for (const line of Object.values(this.#lines)) line.freeAtMs = 0;
    this.#update();
  }

  /** Flips a bit of a piece with this probability. */
  corrupt(probability: number | undefined, random: Random): void {
    this.#weather.corruption = probability === undefined ? undefined : { probability, random };
  }

  /** Reads nothing and writes nothing; nothing is lost. New connections hang. */
  freeze(): void {
    this.#enter("frozen");
  }

  thaw(): void {
    this.#enter("clear");
  }

  /** What arrives vanishes, for ever on the connections that exist now: they can only be cut. New ones hang. */
  blackhole(): void {
    this.#enter("blackhole");
    for (const connection of this.#connections) connection.lose();
  }

  restore(): void {
    this.#enter("clear");
  }

  /** Resets all connections, on both sides. */
  cut(): void {
    for (const connection of this.#connections) connection.reset();
    for (const socket of this.#hanging) reset(socket);
  }

  /** New connections are reset. */
  refuse(isRefusing: boolean): void {
    this.#isRefusing = isRefusing;
  }

  /** Tells `side` that nothing more comes; the other direction goes on. */
  halfClose(side: Side): void {
    for (const connection of this.#connections) connection.end(side);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await Promise.all([closed, ...[...this.#connections].map((connection) => connection.closed)]);
  }

  #enter(state: "clear" | "frozen" | "blackhole"): void {
    this.#state = state;
    this.#weather.isStill = state === "frozen";
    this.#update();
    if (state !== "clear") return;
    const waiting = [...this.#hanging];
    this.#hanging.clear();
    for (const socket of waiting) this.#join(socket);
  }

  #update(): void {
    for (const connection of this.#connections) connection.update();
  }

  #accept(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#isRefusing) reset(socket);
    else if (this.#state === "clear") this.#join(socket);
    else {
      this.#hanging.add(socket);
      socket.on("close", () => this.#hanging.delete(socket));
    }
  }

  #join(client: Socket): void {
    const connection = new Connection(client, this.#target, this.#weather, this.#lines);
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }
}

/** A connection that is still being made can only be dropped. */
function reset(socket: Socket): void {
  if (socket.connecting) socket.destroy();
  else if (!socket.destroyed) socket.resetAndDestroy();
}
