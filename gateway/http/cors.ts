/**
 * Which web pages may call the gateway from a browser: none, unless their origin is listed.
 *
 * A listed origin gets the headers by which its browser hands it the answers; any other gets none, and its browser keeps the answers
 * from it. That is enough, because nobody is ever recognized by anything that a browser attaches by itself: credentials are bearer
 * tokens in the `Authorization` header, cookies are not read. So there is nothing to forge a request with, and credentials of the browser are
 * never allowed across origins. `*` lets every page call; it still needs a token of its own.
 *
 * The agent link is not part of this: it refuses whatever has an origin.
 */

import type { RequestHead } from "./exchange.ts";

type Headers = Readonly<Record<string, string>>;

/** What the API reads. */
const REQUEST_HEADERS = [
  "authorization",
  "content-type",
  "idempotency-key",
  "if-none-match",
  "last-event-id",
  "prefer",
  "x-request-id",
].join(", ");

/** What the API answers, beside the few that every page may read. */
const RESPONSE_HEADERS = [
  "etag",
  "idempotency-replayed",
  "inference-header-content-length",
  "location",
  "ratelimit-limit",
  "ratelimit-remaining",
  "ratelimit-reset",
  "retry-after",
  "www-authenticate",
  "x-request-id",
  "x-task-id",
].join(", ");

/** A browser may go by a preflight for this long: an origin that is taken off the list is out soon. */
const PREFLIGHT_SECONDS = "600";

const ANY = "*";
/** An answer to one origin must not be kept for another. */
const OTHERS: Headers = { Vary: "Origin" };

export class CrossOrigin {
  readonly #any: Headers | undefined;
  readonly #listed: ReadonlyMap<string, Headers>;

  private constructor(origins: readonly string[]) {
    this.#any = origins.includes(ANY) ? allowed(ANY) : undefined;
    this.#listed = new Map(origins.map((origin) => [origin, { ...allowed(origin), ...OTHERS }]));
  }

  /** @param origins as browsers send them (`https://app.example.com`), or `*`; undefined for none at all. */
  static of(origins: readonly string[] = []): CrossOrigin | undefined {
    return origins.length === 0 ? undefined : new CrossOrigin(origins);
  }

  /** For any answer to this request. */
  headersFor(head: RequestHead): Headers {
    return this.#any ?? this.#listed.get(head.headers.get("origin") ?? "") ?? OTHERS;
  }

  /** What the answer to `OPTIONS` says besides; nothing when this page may not call. */
  preflight(head: RequestHead, methods: readonly string[]): Headers {
    const isAllowed = this.#any !== undefined || this.#listed.has(head.headers.get("origin") ?? "");
    if (!isAllowed || !head.headers.has("access-control-request-method")) return {};
    return {
      "Access-Control-Allow-Methods": methods.join(", "),
      "Access-Control-Allow-Headers": REQUEST_HEADERS,
      "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    };
  }
}

function allowed(origin: string): Headers {
  return { "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": RESPONSE_HEADERS };
}
