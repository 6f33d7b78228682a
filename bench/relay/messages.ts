/** What the two ends of the bare relay say: a frame is a msgpack array of these, and the body is bytes that nobody looks into. */

import { Decoder, Encoder } from "@msgpack/msgpack";

/** Number of the request, and its body or the answer's. */
export type RelayMessage = [id: number, body: Uint8Array];

const encoder = new Encoder();
const decoder = new Decoder();

/** The result is valid until the next call: whoever sends it copies it. */
export function encodeFrame(messages: readonly RelayMessage[]): Uint8Array {
  return encoder.encodeSharedRef(messages);
}

/** The bodies are views into `frame`. */
export function decodeFrame(frame: Uint8Array): RelayMessage[] {
  return decoder.decode(frame) as RelayMessage[];
}
