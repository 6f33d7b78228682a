/**
 * What the SDK sends as its credential: the key itself, a token that it got for the key, or a token of the caller's.
 *
 * A token made from the key is good for many calls. From 80 % of its life on the next one is fetched beside the calls; who comes
 * after its end waits for the next. However many ask at once, one exchange is under way.
 */

import { type TokenJson, tokenSchema } from "@legacygpu/shared/api/tokens";
import type { Clock } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import type { Transport } from "./transport.ts";

/** Where credentials come from. */
export interface TokenSource {
  /** The text for `Authorization: Bearer …`; undefined: none is sent. */
  current(): Promise<string> | string | undefined;
  /** The gateway did not accept `text`: the next one must be another, if there can be another. */
  refused(text: string): void;
}

/** How a client authenticates; see `ClientOptions`. */
export interface CredentialOptions {
  readonly key?: string | undefined;
  readonly auth?: "key" | "token" | undefined;
  readonly token?: (() => Promise<string> | string) | undefined;
}

const RENEW_AT = 0.8;

/**
 * @param exchange asks with the key itself.
 * @throws `config_invalid` when the options contradict each other.
 */
export function tokenSource(
  { key, auth = "key", token }: CredentialOptions,
  exchange: Transport,
  clock: Clock,
): TokenSource {
  if (token !== undefined) {
    if (key === undefined && auth === "key") return { current: token, refused() {} };
    throw fail("config_invalid", "Give the client a key or a token of your own, not both.");
  }
  if (auth === "key") return fixedCredential(key);
  if (key === undefined) throw fail("config_invalid", 'auth: "token" needs a key to get tokens for.');
  return new ExchangedTokens(exchange, clock);
}

/** @param text undefined: none is sent. */
export function fixedCredential(text: string | undefined): TokenSource {
  return { current: () => text, refused() {} };
}

interface HeldToken {
  readonly text: string;
  readonly renewAtMs: number;
  readonly endsAtMs: number;
}

class ExchangedTokens implements TokenSource {
  readonly #exchange: Transport;
  readonly #clock: Clock;
  #held: HeldToken | undefined;
  #pending: Promise<string> | undefined;

  constructor(exchange: Transport, clock: Clock) {
    this.#exchange = exchange;
    this.#clock = clock;
  }

  current(): Promise<string> | string {
    const nowMs = this.#clock.monotonic();
    if (this.#held === undefined || nowMs >= this.#held.endsAtMs) return this.#renew();
    // What is held is still good: a failure is for the call that comes after its end.
    if (nowMs >= this.#held.renewAtMs) this.#renew().catch(() => {});
    return this.#held.text;
  }

  refused(text: string): void {
    if (this.#held?.text === text) this.#held = undefined;
  }

  #renew(): Promise<string> {
    this.#pending ??= this.#ask().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #ask(): Promise<string> {
    // Its life is counted from before the question, so that it never ends here later than there.
    const askedAtMs = this.#clock.monotonic();
    // One try: whoever waits for the token tries again, at its own pace.
    const call = { method: "POST", path: "/auth/token", isIdempotent: true, maxTries: 1 } as const;
    const { access_token: text, expires_in: seconds }: TokenJson = await this.#exchange.request(
      call,
      tokenSchema,
    );
    const endsAtMs = askedAtMs + seconds * 1000;
    this.#held = { text, renewAtMs: askedAtMs + seconds * 1000 * RENEW_AT, endsAtMs };
    return text;
  }
}

/** The credential of one call, with all its tries: replaced at most once when the gateway refuses it. */
export class CallCredential {
  readonly #source: TokenSource;
  #replacements = 0;

  constructor(source: TokenSource) {
    this.#source = source;
  }

  /** Runs `send`, and once more with another credential when that can help. Nothing of a refused request was done. */
  async use<Result>(
    send: (text: string | undefined) => Promise<Result>,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    const text = await this.#current(signal);
    try {
      return await send(text);
    } catch (error) {
      const other = await this.#otherThan(text, error, signal);
      if (other === undefined) throw error;
      return send(other);
    }
  }

  /** Whatever goes wrong here, nothing of the call itself was sent. */
  async #current(signal: AbortSignal | undefined): Promise<string | undefined> {
    // Before an exchange begins that nobody would wait for.
    signal?.throwIfAborted();
    try {
      return await unlessAborted(this.#source.current(), signal);
    } catch (error) {
      if (signal?.aborted || !(error instanceof LegacyGpuError)) throw error;
      throw fail(error.code, error.message, { ...error.details, request_sent: false }, error);
    }
  }

  async #otherThan(
    text: string | undefined,
    error: unknown,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const isRefused = error instanceof LegacyGpuError && error.status === 401;
    if (text === undefined || !isRefused || this.#replacements > 0) return undefined;
    this.#replacements += 1;
    this.#source.refused(text);
    const other = await this.#current(signal);
    return other === text ? undefined : other;
  }
}

/** Others may wait for the same exchange: whoever gives up leaves, and the exchange goes on. */
async function unlessAborted(
  credential: Promise<string> | string | undefined,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  if (!(credential instanceof Promise) || signal === undefined) return credential;
  let leave = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
  });
  try {
    return await Promise.race([credential, aborted]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}
