/** A set of page numbers, one bit each. */

export class PageSet {
  readonly #bits: Uint8Array;

  constructor(count: number) {
    this.#bits = new Uint8Array(Math.ceil(count / 8) + 1);
  }

  has(page: number): boolean {
    return (((this.#bits[Math.floor(page / 8)] ?? 0) >> (page % 8)) & 1) === 1;
  }

  /** False when it is there already. */
  add(page: number): boolean {
    if (this.has(page)) return false;
    const at = Math.floor(page / 8);
    this.#bits[at] = (this.#bits[at] ?? 0) | (1 << (page % 8));
    return true;
  }
}
