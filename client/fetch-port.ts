/** What the SDK needs of `fetch`: any browser's, Node's own, or `pinnedFetch` for a private CA. */

export interface FetchRequest {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly signal: AbortSignal;
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Streams need it; see the Fetch standard. */
  readonly duplex?: "half";
}

export interface FetchResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  /** For answers that are read while they arrive. */
  readonly body: ReadableStream<Uint8Array> | null;
  text(): Promise<string>;
}

export interface Fetch {
  (url: string, request: FetchRequest): Promise<FetchResponse>;
  /** Whom this fetch trusts, in words, for messages about certificates. */
  readonly trust?: string;
}

/** `fetch` of the platform, with the authorities that the platform trusts. */
export const platformFetch: Fetch = (url, request) => globalThis.fetch(url, request as RequestInit);
