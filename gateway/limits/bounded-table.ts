/**
 * What is remembered of keys, tenants and addresses, made when somebody comes and forgotten when it says nothing any more.
 *
 * Every newcomer makes the table look at a few of its oldest rows: idle ones are forgotten, others become the youngest. So a table shrinks
 * several times as fast as it grew, nothing costs more than a few look-ups, and when it is full of rows that still say something the
 * oldest one goes.
 */

/** How many of the oldest rows a newcomer makes the table look at. */
const LOOKED_AT = 4;
/** A row and its buckets are a few hundred bytes. */
const MAX_ROWS = 100_000;

export interface Forgettable {
  /** A new one would be the same. */
  isIdle(nowUs: number): boolean;
}

export class BoundedTable<Row extends Forgettable> {
  readonly #rows = new Map<string, Row>();
  readonly #maxRows: number;
  readonly #make: (nowUs: number) => Row;

  constructor(make: (nowUs: number) => Row, maxRows = MAX_ROWS) {
    this.#maxRows = maxRows;
    this.#make = make;
  }

  get size(): number {
    return this.#rows.size;
  }

  known(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  get(key: string, nowUs: number): Row {
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    this.#makeRoom(nowUs);
    const row = this.#make(nowUs);
    this.#rows.set(key, row);
    return row;
  }

  #makeRoom(nowUs: number): void {
    let lookedAt = 0;
    for (const [key, row] of this.#rows) {
      if (lookedAt === LOOKED_AT) break;
      lookedAt += 1;
      this.#rows.delete(key);
      if (!row.isIdle(nowUs)) this.#rows.set(key, row);
    }
    if (this.#rows.size < this.#maxRows) return;
    const [oldest] = this.#rows.keys();
    if (oldest !== undefined) this.#rows.delete(oldest);
  }
}
