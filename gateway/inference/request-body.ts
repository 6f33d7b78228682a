/** The body of an inference request, taken apart: the JSON part, and the bytes of tensors that follow it. */

import { fail } from "@legacygpu/shared/errors";

/** Bytes of the JSON part; what follows are the tensors, one behind the other, in the order of the JSON. */
export const JSON_LENGTH_HEADER = "inference-header-content-length";

export type InferenceBody =
  | { readonly kind: "tensors"; readonly json: Buffer; readonly binary: Buffer }
  /** All of it is the one input. */
  | { readonly kind: "raw"; readonly bytes: Buffer };

const NOTHING = Buffer.alloc(0);

/** Without a copy. @param jsonLength the header {@link JSON_LENGTH_HEADER}. @throws `request_invalid` */
export function splitBody(body: Buffer, jsonLength: string | undefined): InferenceBody {
  if (jsonLength === undefined) return { kind: "tensors", json: body, binary: NOTHING };
  const length = Number(jsonLength);
  if (!/^\d+$/.test(jsonLength.trim()) || !Number.isSafeInteger(length))
    throw fail("request_invalid", `Unable to parse Inference-Header-Content-Length, got: ${jsonLength}`);
  if (length === 0) return { kind: "raw", bytes: body };
  if (length > body.length) {
    const text = `inference header size should be in range (0, ${body.length}), got: ${length}`;
    throw fail("request_invalid", text, { bodyBytes: body.length });
  }
  return { kind: "tensors", json: body.subarray(0, length), binary: body.subarray(length) };
}
