/** Chunks that wait to be sent: put in as they are made, taken out in pieces of the size that suits the socket. */

const NOTHING = new Uint8Array(0);

export class ChunkQueue {
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Chunks without a byte count too. */
  get count(): number {
    return this.#chunks.length;
  }

  push(chunk: string | Uint8Array): void {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    this.#chunks.push(bytes);
    this.#sizeBytes += bytes.byteLength;
  }

  /** Removes and returns the first bytes, at most `maxBytes`, whatever chunks they came in. */
  take(maxBytes: number): Uint8Array {
    let count = 0;
    let sizeBytes = 0;
    while (count < this.#chunks.length && sizeBytes < maxBytes) {
      sizeBytes += this.#chunks[count]?.byteLength ?? 0;
      count += 1;
    }
    const taken = this.#chunks.splice(0, count);
    const excessBytes = sizeBytes - maxBytes;
    if (excessBytes > 0) this.#putBack(taken, excessBytes);
    this.#sizeBytes -= Math.min(sizeBytes, maxBytes);
    return taken.length === 1 ? (taken[0] ?? NOTHING) : Buffer.concat(taken);
  }

  clear(): void {
    this.#chunks = [];
    this.#sizeBytes = 0;
  }

  /** The last `sizeBytes` of what was taken wait on. */
  #putBack(taken: Uint8Array[], sizeBytes: number): void {
    const last = taken.pop() ?? NOTHING;
    const end = last.byteLength - sizeBytes;
    taken.push(last.subarray(0, end));
    this.#chunks.unshift(last.subarray(end));
  }
}
