/** Sends requests to the gateway and reads its answers: address, credential, headers, time limit, retries. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { z } from "zod";
import { parseAnswer, refusal } from "./answers.ts";
import type { Fetch, FetchRequest, FetchResponse } from "./fetch-port.ts";
import { type Repeatability, type RetryPolicy, withRetries } from "./retry.ts";
import { TimeLimit } from "./time-limit.ts";
import { CallCredential, fixedCredential, type TokenSource } from "./token-source.ts";

export interface TransportOptions {
  readonly url: string;
  readonly key: string | undefined;
  /** What is sent instead of the key. */
  readonly tokens?: TokenSource;
  readonly fetch: Fetch;
  readonly retry: RetryPolicy;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Call extends Partial<Repeatability> {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly json?: unknown;
  readonly raw?: RawBody;
  /** Default: true for all methods but POST, and for a POST with an idempotency key. */
  readonly isIdempotent?: boolean;
  /**
   * Default 30 s, and longer for a large body. `Infinity` for uploads, which the network's own limits watch. Of an answer that is
   * streamed: between two pieces of it.
   */
  readonly timeoutMs?: number;
  /** Default: the client's policy. */
  readonly maxTries?: number;
}

export interface RawBody {
  readonly contentType: string;
  readonly sizeBytes: number;
  /** Called once for every try. */
  open(): Uint8Array | ReadableStream<Uint8Array>;
}

export interface Answer {
  /** 2xx, or 304 for a call with `if-none-match`. */
  readonly status: number;
  readonly text: string;
  header(name: string): string | null;
}

export const IDEMPOTENCY_KEY = "idempotency-key";

const DEFAULT_TIMEOUT_MS = 30_000;
/** 512 kbit/s: a large body gets as much more time as it takes at this pace. */
const SLOWEST_BYTES_PER_MS = 64;

interface Prepared {
  readonly url: string;
  readonly request: Omit<FetchRequest, "signal">;
  readonly bodyBytes: number;
}

export class Transport {
  readonly #options: TransportOptions;
  readonly #tokens: TokenSource;
  readonly #base: { readonly origin: string; readonly prefix: string };

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#tokens = options.tokens ?? fixedCredential(options.key);
    this.#base = parseAddress(options.url);
  }

  get address(): string {
    return this.#base.origin;
  }

  /** @throws LegacyGpuError of the gateway, `gateway_unreachable`, `certificate_invalid`, `timed_out`; `signal.reason` when aborted. */
  async request<Schema extends z.ZodType>(
    call: Call,
    schema: Schema,
    signal?: AbortSignal,
  ): Promise<z.infer<Schema>> {
    const { text } = await this.exchange(call, signal);
    return this.parse(call, text, schema);
  }

  /** Like {@link request}, with status and headers of the answer. */
  exchange(call: Call, signal?: AbortSignal): Promise<Answer> {
    const { retry, clock, random } = this.#options;
    const policy = call.maxTries === undefined ? retry : { ...retry, maxTries: call.maxTries };
    const hasKey = call.headers?.[IDEMPOTENCY_KEY] !== undefined;
    const isIdempotent = call.isIdempotent ?? (call.method !== "POST" || hasKey);
    const { isErrorAnAnswer = false } = call;
    const credential = new CallCredential(this.#tokens);
    return withRetries(
      { policy, clock, random },
      { isIdempotent, isErrorAnAnswer },
      () => credential.use((bearer) => this.#once(call, bearer, signal), signal),
      signal,
    );
  }

  /** The body of the answer as it arrives; one try. Leaving the loop lets go of the connection. Throws like {@link request}. */
  async *stream(call: Call, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    signal?.throwIfAborted();
    const credential = new CallCredential(this.#tokens);
    const { response, limit } = await credential.use((bearer) => this.#open(call, bearer, signal), signal);
    try {
      const reader = response.body?.getReader();
      for (;;) {
        limit.restart();
        const piece = await reader?.read();
        if (piece === undefined || piece.done) return;
        // Whoever reads may take its time.
        limit.stop();
        yield piece.value;
      }
    } catch (error) {
      throw limit.explain(error);
    } finally {
      limit.abort();
    }
  }

  /** @throws `unknown` when `text`, from the answer to `call`, is not of the form. */
  parse<Schema extends z.ZodType>({ method, path }: Call, text: string, schema: Schema): z.infer<Schema> {
    return parseAnswer({ name: `${method} ${path}`, address: this.address }, text, schema);
  }

  async #open(
    call: Call,
    bearer: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly response: FetchResponse; readonly limit: TimeLimit }> {
    const prepared = this.#prepare(call, bearer);
    const limit = this.#limit(call, prepared, signal);
    try {
      const response = await this.#fetch(prepared, limit);
      if (!isSuccess(response.status)) throw this.#refusal(response, await response.text());
      return { response, limit };
    } catch (error) {
      const reason = limit.explain(error);
      limit.abort();
      throw reason;
    }
  }

  async #once(call: Call, bearer: string | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    signal?.throwIfAborted();
    const prepared = this.#prepare(call, bearer);
    const limit = this.#limit(call, prepared, signal);
    try {
      const response = await this.#fetch(prepared, limit);
      const text = await response.text();
      const { status, headers } = response;
      if (isSuccess(status) || status === 304) return { status, text, header: (name) => headers.get(name) };
      throw this.#refusal(response, text);
    } catch (error) {
      throw limit.explain(error);
    } finally {
      limit.stop();
    }
  }

  #limit({ method, path, timeoutMs }: Call, { bodyBytes }: Prepared, signal?: AbortSignal): TimeLimit {
    const { fetch, clock } = this.#options;
    const destination = { address: this.address, trust: fetch.trust ?? "the system's CAs" };
    const defaultMs = DEFAULT_TIMEOUT_MS + Math.floor(bodyBytes / SLOWEST_BYTES_PER_MS);
    const request = { name: `${method} ${path}`, timeoutMs: timeoutMs ?? defaultMs, destination };
    return new TimeLimit(request, clock, signal);
  }

  #fetch({ url, request }: Prepared, { signal }: TimeLimit): Promise<FetchResponse> {
    return this.#options.fetch(url, { ...request, signal });
  }

  #refusal(response: FetchResponse, text: string): Error {
    return refusal(response, text, { address: this.address, nowMs: this.#options.clock.now() });
  }

  #prepare(call: Call, bearer: string | undefined): Prepared {
    const { method, json, raw } = call;
    const url = this.#urlOf(call);
    const headers = headersOf(call, bearer);
    if (json !== undefined) {
      headers["content-type"] = "application/json";
      const body = JSON.stringify(json);
      return { url, request: { method, headers, body }, bodyBytes: body.length };
    }
    if (raw === undefined) return { url, request: { method, headers }, bodyBytes: 0 };
    headers["content-type"] = raw.contentType;
    headers["content-length"] = String(raw.sizeBytes);
    return { url, request: { method, headers, body: raw.open(), duplex: "half" }, bodyBytes: raw.sizeBytes };
  }

  #urlOf({ path, query = {} }: Call): string {
    const url = new URL(this.#base.prefix + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url.href;
  }
}

function headersOf({ headers: own = {} }: Call, bearer: string | undefined): Record<string, string> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (bearer !== undefined) headers.authorization = `Bearer ${bearer}`;
  for (const [name, value] of Object.entries(own)) {
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

function parseAddress(url: string): { origin: string; prefix: string } {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !isSafe(parsed)) {
    throw fail("config_invalid", `"${url}" is not the address of a gateway: write https://HOST:PORT.`, {
      url,
    });
  }
  return { origin: parsed.origin, prefix: parsed.origin + parsed.pathname.replace(/\/+$/, "") };
}

/** The key must not cross a network in the clear; within one machine, as behind a local proxy, it may. */
function isSafe({ protocol, hostname }: URL): boolean {
  return (
    protocol === "https:" || (protocol === "http:" && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname))
  );
}
