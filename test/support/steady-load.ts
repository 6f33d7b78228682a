/** Clients that never pause: kept HTTPS connections, WebSockets and new connections. Whatever goes wrong for one of them is kept. */

import { once } from "node:events";
import { connect } from "node:tls";
import { Agent, request, WebSocket } from "undici";

export interface SteadyLoadOptions {
  readonly host: string;
  readonly port: number;
  readonly caPem: string;
  /** Answers GET with 200. */
  readonly path: string;
  /** Echoes binary frames. */
  readonly socketPath: string;
  readonly subprotocol: string;
  /** How many of each kind. */
  readonly keptConnections: number;
  readonly sockets: number;
  /** Each makes a connection for every request. */
  readonly dialers: number;
}

export class SteadyLoad {
  readonly counts = { requests: 0, frames: 0, dials: 0 };
  /** Failed requests and handshakes, connections and sockets that were closed by the other side. */
  readonly failures: string[] = [];
  readonly #options: SteadyLoadOptions;
  readonly #agents: Agent[] = [];
  readonly #sockets: WebSocket[] = [];
  readonly #loops: Promise<void>[] = [];
  #state: "running" | "stopped" = "running";

  private constructor(options: SteadyLoadOptions) {
    this.#options = options;
  }

  /** @returns when every client has been answered once. */
  static async start(options: SteadyLoadOptions): Promise<SteadyLoad> {
    const load = new SteadyLoad(options);
    const times = (count: number, make: () => Promise<void>): Promise<void>[] =>
      Array.from({ length: count }, make);
    await Promise.all([
      ...times(options.keptConnections, () => load.#startKept()),
      ...times(options.sockets, () => load.#startSocket()),
    ]);
    load.#loops.push(...times(options.dialers, () => load.#loop("dials", () => load.#dial())));
    return load;
  }

  /** After this no failure is noted: the connections are cut. */
  async stop(): Promise<void> {
    this.#state = "stopped";
    await Promise.all(this.#loops);
    for (const socket of this.#sockets) socket.close();
    await Promise.all(this.#agents.map((agent) => agent.destroy()));
  }

  async #startKept(): Promise<void> {
    const agent = this.#agent();
    agent.on("disconnect", (_origin, _targets, error) => this.#note("a kept connection ended", error));
    const get = async (): Promise<void> => {
      const { host, port, path } = this.#options;
      const { statusCode, body } = await request(`https://${host}:${port}${path}`, { dispatcher: agent });
      await body.dump();
      if (statusCode !== 200) throw new Error(`status ${statusCode}`);
    };
    await get();
    this.#loops.push(this.#loop("requests", get));
  }

  async #startSocket(): Promise<void> {
    const { host, port, socketPath, subprotocol } = this.#options;
    const url = `wss://${host}:${port}${socketPath}`;
    const socket = new WebSocket(url, { protocols: subprotocol, dispatcher: this.#agent() });
    socket.binaryType = "arraybuffer";
    this.#sockets.push(socket);
    await once(socket as unknown as EventTarget, "open");
    socket.addEventListener("close", ({ code }) => this.#note("a WebSocket ended", code));
    socket.addEventListener("message", () => {
      this.counts.frames += 1;
      if (this.#state === "running") socket.send(FRAME);
    });
    socket.send(FRAME);
  }

  #agent(): Agent {
    const agent = new Agent({ connections: 1, connect: { ca: this.#options.caPem } });
    this.#agents.push(agent);
    return agent;
  }

  async #dial(): Promise<void> {
    const agent = new Agent({ connect: { ca: this.#options.caPem } });
    try {
      const { host, port, path } = this.#options;
      const reply = await request(`https://${host}:${port}${path}`, { dispatcher: agent });
      await reply.body.dump();
    } finally {
      await agent.close();
    }
  }

  async #loop(kind: "requests" | "dials", work: () => Promise<void>): Promise<void> {
    while (this.#state === "running") {
      try {
        await work();
        this.counts[kind] += 1;
      } catch (error) {
        this.#note(kind, error);
        return;
      }
    }
  }

  #note(what: string, why: unknown): void {
    if (this.#state === "running") this.failures.push(`${what}: ${why}`);
  }
}

const FRAME = new Uint8Array(256);

/** Fingerprint of the certificate that a new connection gets. */
export async function presentedFingerprint(port: number, caPem: string, servername = ""): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port, ca: caPem, servername });
  try {
    await once(socket, "secureConnect");
    return socket.getPeerX509Certificate()?.fingerprint256 ?? "";
  } finally {
    socket.destroy();
  }
}
