/**
 * What every response tells a browser, should one ever show it: nothing in it is a page, a script or worth keeping.
 *
 * `Strict-Transport-Security` is left out. Browsers apply it to a host name and thereby to every port of it, for months; with a
 * certificate of the private CA it would lock people out of whatever else runs on that host, without a way to go on. Where a public
 * certificate is used, the proxy or the operator of that name can send it.
 */

import type { NativeResponse } from "./native.ts";

/** For a response that is a page with files of its own: what it may load, and from where. */
export const PAGE_POLICY = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const FIRST = "X-Content-Type-Options";
const ALWAYS = "nosniff\r\nReferrer-Policy: no-referrer";
const UNLESS_KEPT = "\r\nCache-Control: no-store";
const UNLESS_A_PAGE = "\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'";

/** By {@link OWN_CACHING} and {@link OWN_POLICY}. */
const LINES = [
  ALWAYS + UNLESS_KEPT + UNLESS_A_PAGE,
  ALWAYS + UNLESS_A_PAGE,
  ALWAYS + UNLESS_KEPT,
  ALWAYS,
] as const;

const OWN_CACHING = 1;
const OWN_POLICY = 2;

/** Which of these headers a response brings itself. The length is looked at first: nearly no header has one of these two. */
export function ownHeader(name: string): number {
  if (name.length === 13 && name.toLowerCase() === "cache-control") return OWN_CACHING;
  if (name.length === 23 && name.toLowerCase() === "content-security-policy") return OWN_POLICY;
  return 0;
}

/** All lines in one call: each call into the library costs as much as copying a hundred bytes, and it copies a value as it is. */
export function writeSecurityHeaders(native: NativeResponse, own: number): void {
  native.writeHeader(FIRST, LINES[own] ?? ALWAYS);
}
