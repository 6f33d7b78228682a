/** Sends one request to the gateway and reads its answer: credential, time limit, retries, validation, errors. */

import { fromProblem, problemSchema } from "@legacygpu/shared/api/problem";
import type { Clock, Random } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { z } from "zod";
import type { Fetch, FetchRequest, FetchResponse } from "./fetch-port.ts";
import { networkFailure } from "./network-failure.ts";
import { type RetryPolicy, withRetries } from "./retry.ts";

export interface TransportOptions {
  readonly url: string;
  readonly key: string | undefined;
  readonly fetch: Fetch;
  readonly retry: RetryPolicy;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Call {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly json?: unknown;
  readonly raw?: RawBody;
  /** Default: true for all methods but POST. */
  readonly isIdempotent?: boolean;
  /** Default 30 s. `Infinity` for uploads, which the network's own limits watch. */
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

const DEFAULT_TIMEOUT_MS = 30_000;

export class Transport {
  readonly #options: TransportOptions;
  readonly #base: { readonly origin: string; readonly prefix: string };

  constructor(options: TransportOptions) {
    this.#options = options;
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
    const { retry, clock, random } = this.#options;
    const policy = call.maxTries === undefined ? retry : { ...retry, maxTries: call.maxTries };
    const isIdempotent = call.isIdempotent ?? call.method !== "POST";
    const text = await withRetries(
      { policy, clock, random },
      isIdempotent,
      () => this.#send(call, signal),
      signal,
    );
    return this.#validated(call, text, schema);
  }

  async #send(call: Call, signal: AbortSignal | undefined): Promise<string> {
    signal?.throwIfAborted();
    const timeoutMs = call.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const timeLimit = new AbortController();
    const timer = Number.isFinite(timeoutMs)
      ? this.#options.clock.after(timeoutMs, () => timeLimit.abort())
      : undefined;
    try {
      const either = signal === undefined ? timeLimit.signal : AbortSignal.any([signal, timeLimit.signal]);
      const response = await this.#options.fetch(this.#urlOf(call), this.#requestOf(call, either));
      const text = await response.text();
      if (response.status >= 200 && response.status < 300) return text;
      throw this.#refusal(response, text);
    } catch (error) {
      if (error instanceof LegacyGpuError) throw error;
      signal?.throwIfAborted();
      if (timeLimit.signal.aborted) throw this.#tooLate(call, timeoutMs, error);
      throw networkFailure(error, {
        address: this.address,
        trust: this.#options.fetch.trust ?? "the system's CAs",
      });
    } finally {
      timer?.cancel();
    }
  }

  #urlOf({ path, query = {} }: Call): string {
    const url = new URL(this.#base.prefix + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url.href;
  }

  #requestOf({ method, json, raw }: Call, signal: AbortSignal): FetchRequest {
    const headers: Record<string, string> = { accept: "application/json" };
    const { key } = this.#options;
    if (key !== undefined) headers.authorization = `Bearer ${key}`;
    if (json !== undefined) {
      headers["content-type"] = "application/json";
      return { method, headers, signal, body: JSON.stringify(json) };
    }
    if (raw === undefined) return { method, headers, signal };
    headers["content-type"] = raw.contentType;
    headers["content-length"] = String(raw.sizeBytes);
    return { method, headers, signal, body: raw.open(), duplex: "half" };
  }

  #refusal(response: FetchResponse, text: string): LegacyGpuError {
    const problem = problemSchema.safeParse(parseJson(text));
    const error = problem.success ? fromProblem(problem.data) : this.#strangeAnswer(response.status, text);
    const retryAfter = parseRetryAfter(response.headers.get("retry-after"), this.#options.clock.now());
    const extra = {
      ...(retryAfter === undefined ? {} : { retry_after_ms: retryAfter }),
      ...(problem.success && problem.data.request_id ? { request_id: problem.data.request_id } : {}),
    };
    return fail(error.code, error.message, { ...error.details, ...extra });
  }

  #strangeAnswer(status: number, text: string): LegacyGpuError {
    const start = text.trim().slice(0, 200);
    return fail(
      "unknown",
      `${this.address} answered ${status} in a form that is not legacygpu's; is there a proxy in between? It begins: ${start || "(empty)"}`,
      { status, address: this.address },
    );
  }

  #tooLate({ method, path }: Call, timeoutMs: number, cause: unknown): LegacyGpuError {
    const message = `${this.address} did not answer ${method} ${path} within ${timeoutMs} ms.`;
    return fail("timed_out", message, { address: this.address, timeout_ms: timeoutMs }, cause);
  }

  #validated<Schema extends z.ZodType>(
    { method, path }: Call,
    text: string,
    schema: Schema,
  ): z.infer<Schema> {
    const parsed = schema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    const first = parsed.error.issues[0];
    throw fail(
      "unknown",
      `The answer to ${method} ${path} is not of the expected form (${first?.path.join(".") || "body"}: ${first?.message}). Are gateway and client of the same version?`,
      { address: this.address },
      parsed.error,
    );
  }
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

function parseJson(text: string): unknown {
  if (text === "") return {};
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `Retry-After` in seconds or as a date, in milliseconds from now. */
function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : undefined;
}
