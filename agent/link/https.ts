/**
 * HTTPS as the agent dials it: through the site's proxy when there is one, with limits on time and size. Beside it only the WebSocket in
 * dial.ts and the transfers in network.ts import undici.
 */

import { fail } from "@legacygpu/shared/errors";
import { Agent, type buildConnector, type Dispatcher, EnvHttpProxyAgent, request } from "undici";

type TlsOptions = buildConnector.BuildOptions;

export interface DispatcherOptions {
  /** Whom to trust; empty: the CAs that the system knows. */
  readonly tls: TlsOptions;
  /** `HTTPS_PROXY` and `NO_PROXY`, in either case, are honoured. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** At a time. Default: no limit. */
  readonly connections?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Dispatchers share no connection and no TLS session with each other. */
export function createDispatcher({ tls, env, connections }: DispatcherOptions): Dispatcher {
  const limits = connections === undefined ? {} : { connections };
  const options = { ...limits, connect: { timeout: CONNECT_TIMEOUT_MS, ...tls } };
  const proxy = env.HTTPS_PROXY || env.https_proxy;
  if (!proxy) return new Agent(options);
  const noProxy = env.NO_PROXY || env.no_proxy || "";
  // An empty `httpProxy` keeps undici from looking into the environment by itself.
  return new EnvHttpProxyAgent({ ...options, httpProxy: "", httpsProxy: proxy, noProxy, requestTls: tls });
}

export function trustIn(caPem: string | undefined): TlsOptions {
  return caPem === undefined ? {} : { ca: caPem };
}

export interface Exchange extends DispatcherOptions {
  readonly method: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface ExchangeReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

const ANSWER_TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 256 * 1024;

/**
 * One request on a connection of its own.
 *
 * @throws what the system or OpenSSL says, unexplained; `body_too_large` for an endless answer.
 */
export async function exchange(url: URL, options: Exchange): Promise<ExchangeReply> {
  const { method, headers, body, signal } = options;
  const dispatcher = createDispatcher(options);
  try {
    const reply = await request(url, {
      method,
      dispatcher,
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: ANSWER_TIMEOUT_MS,
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: reply.statusCode, headers: reply.headers, text: await readLimited(reply.body) };
  } finally {
    await dispatcher.destroy();
  }
}

async function readLimited(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES)
      throw fail("body_too_large", `The answer is over ${MAX_ANSWER_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
