/**
 * Serves the model files of this box to others at its site, over HTTPS on a port of its own: to whoever brings a token from the gateway
 * for the very file, to nobody else, and to a few at a time.
 *
 * It is a favour: whoever is refused here, or waits too long, asks the gateway.
 */

import { randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Clock } from "@legacygpu/shared/clock";
import type { Logger } from "@legacygpu/shared/log";
import type { Digest } from "@legacygpu/shared/manifest";
import { BLOB_TOKEN_KEY_BYTES, isBlobTokenValid } from "@legacygpu/shared/protocol/blob-token";
import { blobAnswer } from "@legacygpu/shared/protocol/byte-range";
import { newPeerCertificate } from "./certificate.ts";

export interface BlobServerOptions {
  /** Default: all addresses of this machine. */
  readonly host?: string | undefined;
  /** Default: one that is free. */
  readonly port?: number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** The path of a file that is here, whole and verified. */
  find(digest: Digest): Promise<string | undefined>;
}

const MAX_CONNECTIONS = 64;
/** Several models at a time, each to as many as the gateway sends here. */
const MAX_TRANSFERS = 16;
const MAX_HEAD_BYTES = 4096;
/** For the handshake, for a request to be there, and for a reader that takes nothing. */
const PATIENCE_MS = 10_000;
const READ_BYTES = 256 * 1024;
const PATH = /^\/blobs\/(sha256:[0-9a-f]{64})$/;

export const peerBlobPath = (digest: Digest): string => `/blobs/${digest}`;

export class BlobServer {
  readonly tokenKey: Uint8Array = new Uint8Array(randomBytes(BLOB_TOKEN_KEY_BYTES));
  readonly certificatePem: string;
  readonly #options: BlobServerOptions;
  readonly #server: Server;
  #transfers = 0;
  /** By how much the gateway's wall clock is ahead of our monotonic one; tokens are judged by the gateway's. */
  #gatewayAheadMs: number | undefined;

  private constructor(options: BlobServerOptions) {
    this.#options = options;
    const { keyPem, certificatePem } = newPeerCertificate();
    this.certificatePem = certificatePem;
    const tls = {
      key: keyPem,
      cert: certificatePem,
      minVersion: "TLSv1.3",
      handshakeTimeout: PATIENCE_MS,
    } as const;
    const limits = {
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: PATIENCE_MS,
      requestTimeout: PATIENCE_MS,
    };
    this.#server = createServer({ ...tls, ...limits, keepAliveTimeout: 1000 }, (request, response) => {
      this.#handle(request, response).catch((error) => {
        options.log.debug({ err: error }, "a neighbour did not get all of a model file");
        response.destroy();
      });
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.setTimeout(PATIENCE_MS);
  }

  /** @throws what the system says about the port. */
  static async start(options: BlobServerOptions): Promise<BlobServer> {
    const server = new BlobServer(options);
    await new Promise<void>((resolve, reject) => {
      const { host, port = 0 } = options;
      server.#server.once("error", reject).listen({ port, host }, resolve);
    });
    server.#server.removeAllListeners("error").on("error", (error) => {
      options.log.warn({ err: error }, "serving model files to neighbours failed");
    });
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** What the gateway has just said. */
  gatewayTimeIs(nowMs: number): void {
    this.#gatewayAheadMs = nowMs - this.#options.clock.monotonic();
  }

  /** Idempotent. Cuts what is under way: those who fetch go on elsewhere. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const digest = PATH.exec(request.url ?? "")?.[1];
    if (request.method !== "GET" || digest === undefined) return refuse(response, 404);
    if (!this.#mayHave(digest, request.headers.authorization)) return refuse(response, 403);
    if (this.#transfers >= MAX_TRANSFERS) return refuse(response, 503);
    this.#transfers += 1;
    try {
      await this.#serve(digest, request, response);
    } finally {
      this.#transfers -= 1;
    }
  }

  #mayHave(digest: Digest, authorization: string | undefined): boolean {
    const token = /^Bearer (\S+)$/.exec(authorization ?? "")?.[1];
    if (token === undefined || this.#gatewayAheadMs === undefined) return false;
    const gatewayNowMs = this.#options.clock.monotonic() + this.#gatewayAheadMs;
    return isBlobTokenValid(this.tokenKey, digest, token, gatewayNowMs);
  }

  async #serve(digest: Digest, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = await this.#options.find(digest);
    const file = path === undefined ? undefined : await open(path).catch(() => undefined);
    if (file === undefined) return refuse(response, 404);
    // Opened before it is measured: it may be evicted meanwhile, and is served to its end nevertheless.
    try {
      const { size } = await file.stat();
      const ifRange = request.headers["if-range"];
      const asked = {
        range: request.headers.range,
        ifRange: typeof ifRange === "string" ? ifRange : undefined,
      };
      const { status, headers, range } = blobAnswer(asked, digest, size);
      if (status === 416) return void response.writeHead(416, headers).end();
      const { first, last } = range ?? { first: 0, last: size - 1 };
      response.writeHead(status, { ...headers, "content-length": last - first + 1 });
      const stream = file.createReadStream({
        start: first,
        end: last,
        highWaterMark: READ_BYTES,
        autoClose: false,
      });
      await pipeline(stream, response);
    } finally {
      await file.close();
    }
  }
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { "content-length": 0 }).end();
}
