/**
 * One try to download a blob into its `.part`: goes on where an earlier one broke off, hashes on the way, and leaves a file that is whole
 * and right, or one to go on from.
 */

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import type { Digest } from "@legacygpu/shared/manifest";
import { blobTag } from "@legacygpu/shared/protocol/byte-range";
import type { HttpReply } from "../link/network.ts";
import { askedWait } from "../link/retry-after.ts";
import { type Pace, SpeedFloor } from "./pace.ts";

/** Somewhere a blob can be had. */
export interface BlobOrigin {
  /** For messages, and to know it again. */
  readonly name: string;
  /** One that is slower is given up. */
  readonly minBytesPerSecond?: number;
  /** Absent: as fast as it goes. */
  readonly pace?: Pace | undefined;
  open(digest: Digest, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpReply>;
  close?(): Promise<void>;
}

export interface Wanted {
  readonly digest: Digest;
  readonly maxBytes: number;
  /** Exact, when known. */
  readonly sizeBytes?: number | undefined;
}

export interface DownloadOptions {
  readonly part: string;
  readonly wanted: Wanted;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  onBytes(receivedBytes: number): void;
}

/** What lies in the `.part`. */
interface Received {
  readonly hash: Hash;
  bytes: number;
}

export class BlobDownload {
  readonly #options: DownloadOptions;
  /** From the last try, so that a large part is not hashed again for each. */
  #received: Received | undefined;

  constructor(options: DownloadOptions) {
    this.#options = options;
  }

  /** How much of it there is to go on from. */
  async receivedBytes(): Promise<number> {
    return (await sizeOf(this.#options.part)) ?? 0;
  }

  /**
   * Afterwards the `.part` is the blob.
   *
   * @throws `digest_mismatch` (the part is gone), `body_too_large`, `blob_not_found`, `auth_…`, `transfer_failed`, whatever network and disk say.
   */
  async from(origin: BlobOrigin): Promise<void> {
    const { part, wanted, signal } = this.#options;
    const received = await this.#present();
    if (received.bytes === 0 || received.bytes !== wanted.sizeBytes) {
      const reply = await origin.open(wanted.digest, resumeHeaders(wanted.digest, received.bytes), signal);
      // The part is no beginning of the file.
      if (reply.status === 416) await this.#discard();
      await expectBlob(reply, wanted.digest, origin.name);
      const start = startOf(reply);
      if (start !== 0 && start !== received.bytes)
        throw fail("transfer_failed", `Asked for a blob from byte ${received.bytes}, it came from ${start}.`);
      await this.#write(reply, origin, start === received.bytes ? received : nothing());
    }
    await this.#verify(part);
  }

  async #write(reply: HttpReply, origin: BlobOrigin, received: Received): Promise<void> {
    const { part, wanted, clock, signal, onBytes } = this.#options;
    const limit = wanted.sizeBytes ?? wanted.maxBytes;
    const floor =
      origin.minBytesPerSecond === undefined ? undefined : new SpeedFloor(clock, origin.minBytesPerSecond);
    this.#received = received;
    const file = await open(part, received.bytes > 0 ? "a" : "w", 0o640);
    try {
      for await (const chunk of reply.body as AsyncIterable<Buffer>) {
        if (received.bytes + chunk.length > limit)
          throw fail("body_too_large", `A blob is larger than the ${limit} bytes announced.`);
        await file.writeFile(chunk);
        received.hash.update(chunk);
        received.bytes += chunk.length;
        onBytes(received.bytes);
        floor?.check(chunk.length);
        if (origin.pace !== undefined) await origin.pace.spend(chunk.length, signal);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #verify(part: string): Promise<void> {
    const { digest, sizeBytes } = this.#options.wanted;
    const { hash, bytes } = await this.#present();
    if (sizeBytes !== undefined && bytes < sizeBytes)
      throw fail("transfer_failed", `The download ended after ${bytes} of ${sizeBytes} bytes.`);
    const actual = `sha256:${hash.copy().digest("hex")}`;
    if (actual === digest) return;
    await this.#discard();
    throw fail("digest_mismatch", `A blob should have the digest ${digest} and has ${actual}: ${part}.`);
  }

  async #present(): Promise<Received> {
    const { part, wanted } = this.#options;
    const sizeBytes = (await sizeOf(part)) ?? 0;
    if (sizeBytes > (wanted.sizeBytes ?? wanted.maxBytes)) await this.#discard();
    if (this.#received?.bytes !== sizeBytes) this.#received = await hashFile(part);
    return this.#received;
  }

  async #discard(): Promise<void> {
    this.#received = undefined;
    await rm(this.#options.part, { force: true });
  }
}

function resumeHeaders(digest: Digest, presentBytes: number): Record<string, string> {
  return presentBytes === 0 ? {} : { range: `bytes=${presentBytes}-`, "if-range": blobTag(digest) };
}

/** @returns where in the file the body begins. @throws `transfer_failed` when it is a part and does not say which */
function startOf({ status, headers }: HttpReply): number {
  if (status !== 206) return 0;
  const [, first] = /^bytes (\d+)-/.exec(String(headers["content-range"])) ?? [];
  if (first === undefined) throw fail("transfer_failed", "A part of a blob came without its place in it.");
  return Number(first);
}

const nothing = (): Received => ({ hash: createHash("sha256"), bytes: 0 });

async function hashFile(path: string): Promise<Received> {
  const received = nothing();
  if ((await sizeOf(path)) === undefined) return received;
  for await (const chunk of createReadStream(path)) {
    received.hash.update(chunk as Buffer);
    received.bytes += (chunk as Buffer).length;
  }
  return received;
}

export async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (found) => found.size,
    () => undefined,
  );
}

async function expectBlob(reply: HttpReply, digest: Digest, name: string): Promise<void> {
  if (reply.status === 200 || reply.status === 206) return;
  const said = (await reply.body.text()).slice(0, 300);
  const details = { status: reply.status, ...askedWait(reply.status, reply.headers) };
  if (reply.status === 404) throw fail("blob_not_found", `There is no blob ${digest} at ${name}.`, details);
  if (reply.status === 401) throw fail("auth_invalid", undefined, details);
  if (reply.status === 403) throw fail("auth_forbidden", undefined, details);
  throw fail("transfer_failed", `HTTP ${reply.status} from ${name} for a blob: ${said}`, details);
}
