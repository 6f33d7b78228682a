/**
 * Bytes ↔ messages. The only importer of msgpack.
 *
 * A frame is a msgpack array of messages. {@link FrameBuilder} packs what is waiting into as few frames as the limit allows;
 * {@link FrameDecoder} checks every message against its schema.
 */

import { Decoder, Encoder } from "@msgpack/msgpack";
import { z } from "zod";
import { fail } from "../errors.ts";
import {
  type AgentMessage,
  agentMessageSchema,
  type GatewayMessage,
  gatewayMessageSchema,
} from "./messages.ts";
import { structureProblem } from "./structure.ts";
import { MAX_FRAME_BYTES } from "./version.ts";

/** msgpack's `array 16` header: one marker byte and a big-endian count. */
const ARRAY_16 = 0xdc;
const HEADER_BYTES = 3;
const MAX_MESSAGES = 0xffff;

const encoder = new Encoder({ ignoreUndefined: true });
const decoder = new Decoder();

export function encodeValue(value: unknown): Uint8Array {
  return encoder.encode(value);
}

/** Decodes untrusted bytes; the caller gives the result to a schema. Binary fields are views into `bytes`. */
export function decodeValue(bytes: Uint8Array): unknown {
  const problem = structureProblem(bytes);
  if (problem !== undefined) throw fail("link_frame_malformed", `Not msgpack: ${problem}.`);
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw fail("link_frame_malformed", `Not msgpack: ${(error as Error).message}`, {}, error);
  }
}

const FIRST_BUFFER_BYTES = 1024;

/** Collects messages and gives them back as frames. */
export class FrameBuilder<Message> {
  readonly #maxFrameBytes: number;
  #closed: Uint8Array[] = [];
  /** The frame that is being built, longer than it is. */
  #buffer: Uint8Array | undefined;
  #sizeBytes = HEADER_BYTES;
  #count = 0;

  constructor(maxFrameBytes: number = MAX_FRAME_BYTES) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** @throws `link_frame_too_large` when the message alone is over the limit. */
  add(message: Message): void {
    // A view into the encoder's own memory: copied at once, since the next call overwrites it.
    const part = encoder.encodeSharedRef(message);
    if (HEADER_BYTES + part.length > this.#maxFrameBytes) {
      throw fail("link_frame_too_large", `A message of ${part.length} bytes does not fit into a frame.`, {
        limitBytes: this.#maxFrameBytes,
      });
    }
    if (this.#sizeBytes + part.length > this.#maxFrameBytes || this.#count === MAX_MESSAGES)
      this.#closeFrame();
    this.#reserve(this.#sizeBytes + part.length).set(part, this.#sizeBytes);
    this.#sizeBytes += part.length;
    this.#count += 1;
  }

  /** The frames of everything added since the last call, in order. */
  take(): Uint8Array[] {
    if (this.#count > 0) this.#closeFrame();
    const frames = this.#closed;
    this.#closed = [];
    return frames;
  }

  #reserve(sizeBytes: number): Uint8Array {
    const present = this.#buffer;
    if (present !== undefined && present.length >= sizeBytes) return present;
    const buffer = new Uint8Array(Math.max(FIRST_BUFFER_BYTES, 2 ** Math.ceil(Math.log2(sizeBytes))));
    if (present !== undefined) buffer.set(present.subarray(0, this.#sizeBytes));
    this.#buffer = buffer;
    return buffer;
  }

  /** The receiver of the frame keeps its memory; the next one is built in new memory. */
  #closeFrame(): void {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    buffer[0] = ARRAY_16;
    buffer[1] = this.#count >> 8;
    buffer[2] = this.#count & 0xff;
    this.#closed.push(buffer.subarray(0, this.#sizeBytes));
    this.#buffer = undefined;
    this.#sizeBytes = HEADER_BYTES;
    this.#count = 0;
  }
}

export interface DecodedFrame<Message> {
  readonly messages: Message[];
  /** Messages of a type that this version does not know. */
  readonly unknownCount: number;
}

/** Turns frames of one direction into messages. */
export class FrameDecoder<Message extends { type: string }> {
  readonly #schema: z.ZodType<Message>;
  readonly #types: ReadonlySet<string>;

  constructor(schema: z.ZodType<Message>, types: Iterable<string>) {
    this.#schema = schema;
    this.#types = new Set(types);
  }

  /**
   * @param frame binary fields of the result are views into it.
   * @throws `link_frame_malformed` with the path of the first field that is wrong.
   */
  decode(frame: Uint8Array): DecodedFrame<Message> {
    const values = decodeValue(frame);
    if (!Array.isArray(values)) throw fail("link_frame_malformed", "A frame must be an array of messages.");
    const messages: Message[] = [];
    let unknownCount = 0;
    for (const value of values) {
      const type: unknown = (value as { type?: unknown } | null)?.type;
      if (typeof type !== "string") throw fail("link_frame_malformed", "A message must have a `type`.");
      if (this.#types.has(type)) messages.push(this.#parse(value, type));
      else unknownCount += 1;
    }
    return { messages, unknownCount };
  }

  #parse(value: unknown, type: string): Message {
    const parsed = this.#schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw fail("link_frame_malformed", `Bad \`${type}\` message: ${z.prettifyError(parsed.error)}`, { type });
  }
}

const typesOf = (schema: { options: readonly { shape: { type: { value: string } } }[] }): string[] =>
  schema.options.map((option) => option.shape.type.value);

export const agentFrames = new FrameDecoder<AgentMessage>(agentMessageSchema, typesOf(agentMessageSchema));
export const gatewayFrames = new FrameDecoder<GatewayMessage>(
  gatewayMessageSchema,
  typesOf(gatewayMessageSchema),
);
