/**
 * What a finished attempt has for the gateway, and how it is written into a file.
 *
 * The file: a version byte, the CRC-32 (big-endian) of the rest, and msgpack of the message with, where the output travels beside it, its body.
 */

import { crc32 } from "node:zlib";
import { fail } from "@legacygpu/shared/errors";
import { decodeValue, encodeValue } from "@legacygpu/shared/protocol/codec";
import {
  type AgentMessage,
  failedSchema,
  type MessageOf,
  resultSchema,
} from "@legacygpu/shared/protocol/messages";
import { bytesSchema } from "@legacygpu/shared/tensor";
import { z } from "zod";

export type Outcome =
  | { readonly kind: "inline"; readonly message: MessageOf<AgentMessage, "result" | "failed"> }
  /** Too large for a frame: `body` is stored at the gateway before the result is announced. */
  | {
      readonly kind: "beside";
      readonly message: MessageOf<AgentMessage, "result">;
      readonly body: Uint8Array;
    };

const VERSION = 1;
const HEADER_BYTES = 5;

const recordSchema = z.object({
  message: z.discriminatedUnion("type", [resultSchema, failedSchema]),
  body: bytesSchema.optional(),
});

export function encodeOutcome(outcome: Outcome): Uint8Array {
  const { message } = outcome;
  const payload = encodeValue(outcome.kind === "beside" ? { message, body: outcome.body } : { message });
  const record = new Uint8Array(HEADER_BYTES + payload.length);
  const header = new DataView(record.buffer);
  header.setUint8(0, VERSION);
  header.setUint32(1, crc32(payload));
  record.set(payload, HEADER_BYTES);
  return record;
}

/**
 * @param record binary fields of the outcome are views into it.
 * @throws `internal` when it is not what {@link encodeOutcome} has written.
 */
export function decodeOutcome(record: Uint8Array): Outcome {
  if (record.length < HEADER_BYTES) throw damaged("it is too short");
  const header = new DataView(record.buffer, record.byteOffset);
  if (header.getUint8(0) !== VERSION) throw damaged(`its version is ${header.getUint8(0)}`);
  const payload = record.subarray(HEADER_BYTES);
  if (header.getUint32(1) !== crc32(payload)) throw damaged("its checksum is wrong");
  const { success, data, error } = recordSchema.safeParse(decodeValue(payload));
  if (!success) throw damaged(z.prettifyError(error));
  const { message, body } = data;
  const isBeside = message.type === "result" && message.output.kind === "beside";
  if (isBeside !== (body !== undefined)) throw damaged("message and body do not belong together");
  return message.type === "result" && body !== undefined
    ? { kind: "beside", message, body }
    : { kind: "inline", message };
}

const damaged = (reason: string) => fail("internal", `Not the record of an outcome: ${reason}.`);
