/** Sends a large input to the gateway in parts, through breaks of the network and restarts of the gateway. */

import { type UploadJson, uploadJsonSchema } from "@legacygpu/shared/api/uploads";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { imageType } from "@legacygpu/shared/image-type";
import { z } from "zod";
import { Patience, type WaitTools } from "./patience.ts";
import { digestOf } from "./push-model.ts";
import type { Transport } from "./transport.ts";

/** An input that is too large to hold: read once for its digest, and part by part to be sent. In Node: `openInputFile(path)`. */
export interface InputFile {
  readonly sizeBytes: number;
  /** `sha256:` and 64 hexadecimal digits. */
  digest(): Promise<string>;
  /** Fewer bytes only where the input ends. */
  read(offset: number, sizeBytes: number): Promise<Uint8Array>;
}

/** A `Blob` is also what a browser gives for a file that its user has chosen. */
export type UploadSource = Uint8Array | Blob | InputFile;

export interface UploadOptions {
  /** `image/…`, or `application/json` for an inference request. Default: told from the first bytes of a picture. */
  readonly contentType?: string | undefined;
  /** Size of one request. Default 8 MiB. */
  readonly partBytes?: number | undefined;
  /** Called whenever the gateway has confirmed another number of bytes. */
  readonly onProgress?: ((progress: UploadProgress) => void) | undefined;
  /** Called for each failure that is bridged by going on. */
  readonly onTrouble?: ((error: LegacyGpuError) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface UploadProgress {
  readonly uploadId: string;
  /** Safe on the gateway's disk. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface UploadTools extends WaitTools {
  readonly transport: Transport;
}

const DEFAULT_PART_BYTES = 8 * 1024 ** 2;
/** What the first bytes of a picture fit into. */
const HEAD_BYTES = 256;
/** A connection that is slower than this is cut by the gateway itself; one that says nothing for longer is dead. */
const SLOWEST_BYTES_PER_SECOND = 16 * 1024;
const ANSWER_MS = 30_000;
/** For an upload that is given up: its owner waits no longer than this for it to be removed. */
const FAREWELL_MS = 2000;

/**
 * @returns the id of the upload, for the input of tasks.
 * @throws `body_too_large`, `media_type_unsupported`, `key_queue_full`, `digest_mismatch`, `input_invalid` when the source does not
 * have the bytes it said; what the network makes fail, after a minute in which no byte got through; `signal.reason`
 */
export async function uploadInput(
  source: UploadSource,
  options: UploadOptions,
  tools: UploadTools,
): Promise<string> {
  const { signal } = options;
  const input = asInputFile(source);
  const contentType = options.contentType ?? (await pictureType(input));
  const json = { bytes: input.sizeBytes, content_type: contentType, sha256: await input.digest() };
  // To announce it twice does no harm: what is never sent is forgotten.
  const call = { method: "POST", path: "/uploads", json, isIdempotent: true } as const;
  const upload = await tools.transport.request(call, uploadJsonSchema, signal);
  try {
    await new Sending(upload, input, options, tools).complete();
  } catch (error) {
    await forget(upload.id, tools.transport);
    throw error;
  }
  return upload.id;
}

/** Sends, and after each failure asks where to go on. */
class Sending {
  readonly #input: InputFile;
  readonly #options: UploadOptions;
  readonly #transport: Transport;
  readonly #patience: Patience;
  readonly #uploadId: string;
  #receivedBytes: number;
  /** Undefined after a failure: where it stands must be asked. */
  #standing: UploadJson | undefined;

  constructor(upload: UploadJson, input: InputFile, options: UploadOptions, tools: UploadTools) {
    this.#standing = upload;
    this.#uploadId = upload.id;
    this.#receivedBytes = upload.received_bytes;
    this.#input = input;
    this.#options = options;
    this.#transport = tools.transport;
    this.#patience = new Patience(tools, options.onTrouble);
  }

  async complete(): Promise<void> {
    while (!this.#standing?.complete) {
      try {
        this.#standing = this.#standing === undefined ? await this.#ask() : await this.#putPart();
        this.#note(this.#standing.received_bytes);
      } catch (error) {
        this.#standing = undefined;
        await this.#bear(error);
      }
    }
  }

  #ask(): Promise<UploadJson> {
    const call = { method: "GET", path: pathOf(this.#uploadId), maxTries: 1 } as const;
    return this.#transport.request(call, uploadJsonSchema, this.#options.signal);
  }

  /** A part of nothing, when all has arrived and was not checked yet, completes the upload. */
  async #putPart(): Promise<UploadJson> {
    const { partBytes = DEFAULT_PART_BYTES, signal } = this.#options;
    const offset = this.#receivedBytes;
    const sizeBytes = Math.min(partBytes, this.#input.sizeBytes - offset);
    const bytes = await this.#input.read(offset, sizeBytes);
    if (bytes.byteLength !== sizeBytes) throw this.#changed(offset + bytes.byteLength);
    const call = {
      method: "PUT",
      path: pathOf(this.#uploadId),
      query: { offset },
      raw: { contentType: "application/octet-stream", sizeBytes, open: () => bytes },
      timeoutMs: ANSWER_MS + (sizeBytes / SLOWEST_BYTES_PER_SECOND) * 1000,
      // Some of it may have arrived: it must not be sent again as it is.
      maxTries: 1,
    } as const;
    return this.#transport.request(call, uploadJsonSchema, signal);
  }

  #note(receivedBytes: number): void {
    if (receivedBytes === this.#receivedBytes) return;
    if (receivedBytes > this.#receivedBytes) this.#patience.refresh();
    this.#receivedBytes = receivedBytes;
    const totalBytes = this.#input.sizeBytes;
    this.#options.onProgress?.({ uploadId: this.#uploadId, receivedBytes, totalBytes });
  }

  /** A part whose answer was lost has arrived, so that the next does not fit: the gateway says where to go on. */
  async #bear(error: unknown): Promise<void> {
    if (!(error instanceof LegacyGpuError) || error.code !== "upload_offset_wrong") {
      await this.#patience.waitOut(error, this.#options.signal);
    } else if (error.details.offset === this.#receivedBytes) {
      const message = "The gateway is still receiving a part of which nothing more comes.";
      await this.#patience.waitOut(fail("timed_out", message, {}, error), this.#options.signal);
    }
  }

  #changed(foundBytes: number): LegacyGpuError {
    const { sizeBytes } = this.#input;
    const message = `The input ended after ${foundBytes} of ${sizeBytes} bytes; it must not change while it is sent.`;
    return fail("input_invalid", message, { found_bytes: foundBytes, size_bytes: sizeBytes });
  }
}

const pathOf = (uploadId: string): string => `/uploads/${encodeURIComponent(uploadId)}`;

/** What nobody will complete would count against the key until it is forgotten. A failure changes nothing: it is forgotten then. */
async function forget(uploadId: string, transport: Transport): Promise<void> {
  const call = { method: "DELETE", path: pathOf(uploadId), maxTries: 1, timeoutMs: FAREWELL_MS } as const;
  await transport.request(call, z.unknown()).catch(() => undefined);
}

/** @throws `media_type_unsupported` */
async function pictureType(input: InputFile): Promise<string> {
  const type = imageType(await input.read(0, Math.min(HEAD_BYTES, input.sizeBytes)));
  if (type !== undefined) return type;
  const message = "The input is no picture of a known kind; give its contentType.";
  throw fail("media_type_unsupported", message, { accepted: ["image/*", "application/json"] });
}

function asInputFile(source: UploadSource): InputFile {
  if (source instanceof Uint8Array) {
    return {
      sizeBytes: source.byteLength,
      digest: () => digestOf(source),
      read: async (offset, sizeBytes) => source.subarray(offset, offset + sizeBytes),
    };
  }
  if (!(source instanceof Blob)) return source;
  const read = async (offset: number, sizeBytes: number): Promise<Uint8Array> =>
    new Uint8Array(await source.slice(offset, offset + sizeBytes).arrayBuffer());
  return { sizeBytes: source.size, digest: async () => digestOf(await read(0, source.size)), read };
}
