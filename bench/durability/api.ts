/** The gateway's HTTP interface as a client sees it that expects no answer to be certain. */

import { Agent as HttpAgent, request } from "undici";

export interface Reply {
  readonly status: number;
  readonly body: unknown;
}

export interface Call {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface ApiOptions {
  readonly url: string;
  readonly caPem: string;
  readonly key: string;
}

const CONNECT_TIMEOUT_MS = 5000;
/** Longer than any wait that is asked for. */
const ANSWER_TIMEOUT_MS = 20_000;

export class Api {
  readonly #options: ApiOptions;
  readonly #dispatcher: HttpAgent;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#dispatcher = new HttpAgent({
      connect: { ca: options.caPem, timeout: CONNECT_TIMEOUT_MS },
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: ANSWER_TIMEOUT_MS,
    });
  }

  /** Undefined: there was no answer, or not a whole one. Nothing is sent twice. */
  async send({ method, path, headers, body }: Call): Promise<Reply | undefined> {
    try {
      const reply = await request(this.#options.url + path, {
        method,
        dispatcher: this.#dispatcher,
        headers: {
          authorization: `Bearer ${this.#options.key}`,
          ...(typeof body === "string" ? { "content-type": "application/json" } : {}),
          ...headers,
        },
        ...(body === undefined ? {} : { body }),
      });
      const text = await reply.body.text();
      return { status: reply.statusCode, body: text === "" ? undefined : JSON.parse(text) };
    } catch {
      return undefined;
    }
  }

  /** For calls that must succeed. @throws Error */
  async call(call: Call): Promise<unknown> {
    const reply = await this.send(call);
    if (reply !== undefined && reply.status < 300) return reply.body;
    const answer = reply === undefined ? "no answer" : `${reply.status} ${JSON.stringify(reply.body)}`;
    throw new Error(`${call.method} ${call.path}: ${answer}`);
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}
