/** A man in the middle: ends TLS with a certificate of his own, reads along, and passes everything on to the true gateway. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { ServerIdentity } from "./enrolment-gateway.ts";

export class TlsInterceptor {
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<TLSSocket>();
  readonly #heard: Buffer[] = [];
  /** Connections on which it got so far as to read. */
  connectionCount = 0;

  private constructor(own: ServerIdentity, target: { port: number; caPem: string }, forgesCa: boolean) {
    this.#server = createServer({ key: own.keyPem, cert: own.certPem }, (client) => {
      this.connectionCount += 1;
      const { port, caPem } = target;
      const upstream = connect({ host: "localhost", port, ca: caPem, servername: "localhost" });
      for (const socket of [client, upstream]) this.#sockets.add(socket.on("error", () => {}));
      client.on("data", (bytes: Buffer) => {
        this.#heard.push(bytes);
        upstream.write(bytes);
      });
      if (forgesCa) {
        const head = `HTTP/1.1 200 OK\r\ncontent-length: ${own.caPem.length}\r\n\r\n`;
        client.once("data", () => client.write(head + own.caPem));
      } else {
        upstream.pipe(client);
      }
      client.on("close", () => upstream.destroy());
    });
    this.#server.on("tlsClientError", () => {});
  }

  /** @param forgesCa it also serves its own CA in the place of the gateway's. */
  static async start(
    own: ServerIdentity,
    target: { port: number; caPem: string },
    { forgesCa }: { readonly forgesCa: boolean },
  ): Promise<TlsInterceptor> {
    const interceptor = new TlsInterceptor(own, target, forgesCa);
    await new Promise<void>((resolve) => interceptor.#server.listen(0, "127.0.0.1", resolve));
    return interceptor;
  }

  get url(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Every byte of the client's that it could read. */
  get heard(): string {
    return Buffer.concat(this.#heard).toString("latin1");
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
