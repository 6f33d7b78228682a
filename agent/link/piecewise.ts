/** One download in pieces, so that never more of it is on its way than the window allows. A gateway that knows no ranges sends it as a whole. */

import { fail } from "@legacygpu/shared/errors";
import type { HttpReply } from "./network.ts";
import type { Piece, PieceWindow } from "./piece-window.ts";

export interface PiecewiseOptions {
  readonly window: PieceWindow;
  /** @param range value of the header. @throws what is no success, as the caller wants it told */
  open(range: string, signal: AbortSignal): Promise<HttpReply>;
  readonly signal: AbortSignal;
}

/** Where in the whole a reply belongs; undefined: it is the whole. */
interface Place {
  readonly first: number;
  readonly totalBytes: number;
}

/** @throws `transfer_failed`, what `open` throws, the reason of the signal */
export async function downloadInPieces(options: PiecewiseOptions): Promise<Uint8Array> {
  const download = new Download(options);
  try {
    return await download.run();
  } catch (error) {
    throw download.failure ?? error;
  } finally {
    download.stop();
  }
}

class Download {
  readonly #options: PiecewiseOptions;
  readonly #stopping = new AbortController();
  readonly #signal: AbortSignal;
  /** The first; the others that follow from it say less. */
  failure: unknown;

  constructor(options: PiecewiseOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#stopping.signal]);
  }

  async run(): Promise<Uint8Array> {
    const { window } = this.#options;
    const head = await window.enter("all", this.#signal);
    const { reply, place } = await this.#open(head, 0);
    if (place === undefined) return this.#whole(head, reply);
    const all = new Uint8Array(place.totalBytes);
    const pieces = [this.#watched(this.#fill(all, head, 0, reply))];
    for (let next = head.maxBytes; next < all.length; ) {
      const piece = await window.enter("one", this.#signal);
      pieces.push(this.#watched(this.#fetch(all, piece, next)));
      next += piece.maxBytes;
    }
    await Promise.all(pieces);
    if (this.failure !== undefined) throw this.failure;
    return all;
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** What fails ends the others. */
  #watched(piece: Promise<void>): Promise<void> {
    return piece.catch((error: unknown) => {
      this.failure ??= error;
      this.stop();
    });
  }

  async #fetch(all: Uint8Array, piece: Piece, first: number): Promise<void> {
    const { reply, place } = await this.#open(piece, first);
    if (place?.totalBytes !== all.length)
      throw fail("transfer_failed", `A piece of ${all.length} bytes came as one of ${place?.totalBytes}.`);
    await this.#fill(all, piece, first, reply);
  }

  async #open(piece: Piece, first: number): Promise<{ reply: HttpReply; place: Place | undefined }> {
    try {
      const range = `bytes=${first}-${first + piece.maxBytes - 1}`;
      const reply = await this.#options.open(range, this.#signal);
      const place = placeOf(reply);
      if (place !== undefined && place.first !== first)
        throw fail("transfer_failed", `Asked for a piece from byte ${first}, it came from ${place.first}.`);
      piece.began(Math.min(piece.maxBytes, (place?.totalBytes ?? 0) - first));
      return { reply, place };
    } catch (error) {
      piece.ended();
      throw error;
    }
  }

  async #fill(all: Uint8Array, piece: Piece, first: number, reply: HttpReply): Promise<void> {
    try {
      const bytes = new Uint8Array(await reply.body.arrayBuffer());
      const expectedBytes = Math.min(piece.maxBytes, all.length - first);
      if (bytes.length !== expectedBytes)
        throw fail("transfer_failed", `A piece of ${expectedBytes} bytes came with ${bytes.length}.`);
      all.set(bytes, first);
    } finally {
      piece.ended();
    }
  }

  async #whole(piece: Piece, reply: HttpReply): Promise<Uint8Array> {
    try {
      return new Uint8Array(await reply.body.arrayBuffer());
    } finally {
      piece.ended();
    }
  }
}

/** @throws `transfer_failed` when it is a part and does not say which */
function placeOf({ status, headers }: HttpReply): Place | undefined {
  if (status !== 206) return undefined;
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(String(headers["content-range"])) ?? [];
  if (first === undefined) throw fail("transfer_failed", "A piece came without its place in the whole.");
  return { first: Number(first), totalBytes: Number(total) };
}
