/** Stored bytes ↔ inputs and outputs: the same forms as on the link to the agents, sealed. */

import {
  outputSchema,
  payloadSchema,
  type TaskInput,
  type TaskOutput,
} from "@legacygpu/shared/protocol/messages";
import type { Tensor } from "@legacygpu/shared/tensor";
import { type Place, parseContents, SEAL_BYTES, seal, unseal } from "./sealed.ts";
import { ValueWriter } from "./value-writer.ts";

export const PAYLOAD_VERSION = 1;
/** Names and shapes of a tensor, generously. */
const TENSOR_OVERHEAD_BYTES = 1024;

const writer = new ValueWriter();

export function encodeInput(place: Place, input: TaskInput): Buffer {
  if (input.kind === "image") {
    writer.begin(SEAL_BYTES, input.image.length + TENSOR_OVERHEAD_BYTES);
    writer.map(2).text("kind").text("image").text("image").binary(input.image);
  } else {
    writer.begin(SEAL_BYTES, sizeOf(input.tensors));
    writer.map(2).text("kind").text("tensors").text("tensors");
    writeTensors(input.tensors);
  }
  return seal(place, writer.finish(), PAYLOAD_VERSION);
}

export function encodeOutput(place: Place, { kind, tensors, predictions }: TaskOutput): Buffer {
  writer.begin(SEAL_BYTES, sizeOf(tensors));
  writer
    .map(predictions === undefined ? 2 : 3)
    .text("kind")
    .text(kind)
    .text("tensors");
  writeTensors(tensors);
  if (predictions !== undefined) writer.text("predictions").value(predictions);
  return seal(place, writer.finish(), PAYLOAD_VERSION);
}

/** @throws `store_corrupt` */
export function decodeInput(place: Place, value: Uint8Array): TaskInput {
  return parseContents(place, unseal(place, value, PAYLOAD_VERSION), payloadSchema);
}

/** @throws `store_corrupt` */
export function decodeOutput(place: Place, value: Uint8Array): TaskOutput {
  return parseContents(place, unseal(place, value, PAYLOAD_VERSION), outputSchema);
}

/** The same payload for another place. @throws `store_corrupt` */
export function movePayload(from: Place, value: Uint8Array, to: Place): Buffer {
  unseal(from, value, PAYLOAD_VERSION);
  return seal(to, Buffer.from(value), PAYLOAD_VERSION);
}

function writeTensors(tensors: readonly Tensor[]): void {
  writer.array(tensors.length);
  for (const { name, datatype, shape, data } of tensors) {
    writer.map(4).text("name").text(name).text("datatype").text(datatype).text("shape").array(shape.length);
    for (const size of shape) writer.number(size);
    writer.text("data").binary(data);
  }
}

function sizeOf(tensors: readonly Tensor[]): number {
  let sizeBytes = TENSOR_OVERHEAD_BYTES;
  for (const { data } of tensors) sizeBytes += data.length + TENSOR_OVERHEAD_BYTES;
  return sizeBytes;
}
