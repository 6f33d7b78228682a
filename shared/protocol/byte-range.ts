/** A part of a blob over HTTP (RFC 9110, section 14): what `Range` and `If-Range` ask for, and the head of the answer. */

import type { Digest } from "../manifest.ts";

/** Of the bytes from `first` to `last`, both included. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

export interface RangeHeaders {
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
}

export interface BlobAnswer {
  readonly status: 200 | 206 | 416;
  /** Absent: all of it, or nothing with 416. */
  readonly range: ByteRange | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Representation {
  /** With its quotes. */
  readonly tag: string;
  /** Of its content. */
  readonly type: string;
  readonly sizeBytes: number;
}

/** A blob is its digest, so that the digest is also its entity tag. */
export const blobTag = (digest: Digest): string => `"${digest}"`;

/** Several ranges, other units and what cannot be read are answered with the whole, as the standard allows. */
export function blobAnswer(asked: RangeHeaders, digest: Digest, sizeBytes: number): BlobAnswer {
  return rangeAnswer(asked, { tag: blobTag(digest), type: "application/octet-stream", sizeBytes });
}

/** The same for something else that never changes under its tag. */
export function rangeAnswer({ range, ifRange }: RangeHeaders, whole: Representation): BlobAnswer {
  const { tag, type, sizeBytes } = whole;
  const headers = { "content-type": type, "accept-ranges": "bytes", etag: tag };
  const isMeant = ifRange === undefined || ifRange === tag;
  const asked = range === undefined || !isMeant ? "whole" : parseRange(range, sizeBytes);
  if (asked === "whole") return { status: 200, range: undefined, headers };
  if (asked === "unsatisfiable") {
    const contentRange = { "content-range": `bytes */${sizeBytes}` };
    return { status: 416, range: undefined, headers: { ...headers, ...contentRange } };
  }
  const contentRange = { "content-range": `bytes ${asked.first}-${asked.last}/${sizeBytes}` };
  return { status: 206, range: asked, headers: { ...headers, ...contentRange } };
}

function parseRange(header: string, sizeBytes: number): ByteRange | "whole" | "unsatisfiable" {
  const [match, from = "", to = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(header.trim()) ?? [];
  if (match === undefined || (from === "" && to === "")) return "whole";
  if (from === "") return suffix(Number(to), sizeBytes);
  const first = Number(from);
  const last = to === "" ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (to !== "" && Number(to) < first) return "whole";
  return first < sizeBytes ? { first, last } : "unsatisfiable";
}

function suffix(countBytes: number, sizeBytes: number): ByteRange | "unsatisfiable" {
  if (countBytes === 0 || sizeBytes === 0) return "unsatisfiable";
  return { first: Math.max(0, sizeBytes - countBytes), last: sizeBytes - 1 };
}
