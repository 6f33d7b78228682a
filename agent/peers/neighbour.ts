/** A neighbour's blob server as this agent sees it: one certificate is trusted, its own, and little patience is had. */

import { isIP } from "node:net";
import type { BlobSource } from "@legacygpu/shared/protocol/messages";
import { type Dispatcher, request } from "undici";
import { createDispatcher } from "../link/https.ts";
import type { BlobOrigin } from "../models/blob-download.ts";
import { peerBlobPath } from "./blob-server.ts";
import { PEER_NAME } from "./certificate.ts";

export type ConnectNeighbour = (source: BlobSource) => BlobOrigin;

/** Who is in the same building answers at once. */
const CONNECT_TIMEOUT_MS = 1500;
const SILENCE_TIMEOUT_MS = 4000;
const MIN_BYTES_PER_SECOND = 128 * 1024;

export function connectNeighbour({ address, port, certificate, token }: BlobSource): BlobOrigin {
  const host = isIP(address) === 6 ? `[${address}]` : address;
  let dispatcher: Dispatcher | undefined;
  return {
    name: `${host}:${port}`,
    minBytesPerSecond: MIN_BYTES_PER_SECOND,
    open: async (digest, headers, signal) => {
      // No proxy of the site stands between its own machines.
      dispatcher ??= createDispatcher({
        tls: { ca: certificate, servername: PEER_NAME, timeout: CONNECT_TIMEOUT_MS },
        env: {},
      });
      const reply = await request(`https://${host}:${port}${peerBlobPath(digest)}`, {
        method: "GET",
        dispatcher,
        headers: { authorization: `Bearer ${token}`, ...headers },
        headersTimeout: SILENCE_TIMEOUT_MS,
        bodyTimeout: SILENCE_TIMEOUT_MS,
        signal,
      });
      return { status: reply.statusCode, headers: reply.headers, body: reply.body };
    },
    close: async () => {
      await dispatcher?.destroy();
      dispatcher = undefined;
    },
  };
}
