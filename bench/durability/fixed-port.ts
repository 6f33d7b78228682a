/**
 * A port that a server can have again after it was killed.
 *
 * Not one that the system gives to outgoing connections: while the server is away, somebody who tries to reach it can be given its very
 * port for his own end, and so be connected with himself.
 */

import { createServer } from "node:net";
import { between, type Random } from "../../models/onnx/random.ts";

/** Below what Linux, macOS and Windows give to outgoing connections. */
const FROM = 20_000;
const TO = 32_000;

export async function fixedPort(random: Random): Promise<number> {
  for (;;) {
    const port = Math.floor(between(random, FROM, TO));
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
      .once("error", () => resolve(false))
      .listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
