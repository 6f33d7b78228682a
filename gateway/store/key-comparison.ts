/**
 * Whether tables have the keys that the records ask for. Counts and sums of checksums tell whether they have, for millions of keys in no memory;
 * only when those differ are the keys themselves compared, in a second pass.
 */

/** `expected` by a record, or `found` in the table. */
export type KeySide = "expected" | "found";

export class KeyComparison {
  readonly #balances = new Map<string, { count: number; sum: number }>();

  /** @param crc of the key. */
  add(side: KeySide, table: string, crc: number): void {
    let balance = this.#balances.get(table);
    if (balance === undefined) {
      balance = { count: 0, sum: 0 };
      this.#balances.set(table, balance);
    }
    const sign = side === "expected" ? 1 : -1;
    balance.count += sign;
    balance.sum = (balance.sum + sign * crc) >>> 0;
  }

  /** Tables that do not have the keys that they should have. */
  get differing(): Set<string> {
    const differing = [...this.#balances].filter(([, { count, sum }]) => count !== 0 || sum !== 0);
    return new Set(differing.map(([table]) => table));
  }
}

/** The keys of some tables that are expected and not found, or the other way round. */
export class KeyDifferences {
  readonly #balances: ReadonlyMap<string, Map<string, number>>;

  constructor(tables: ReadonlySet<string>) {
    this.#balances = new Map([...tables].map((table) => [table, new Map()]));
  }

  concerns(table: string): boolean {
    return this.#balances.has(table);
  }

  add(side: KeySide, table: string, key: string): void {
    const keys = this.#balances.get(table);
    if (keys === undefined) return;
    const balance = (keys.get(key) ?? 0) + (side === "expected" ? 1 : -1);
    if (balance === 0) keys.delete(key);
    else keys.set(key, balance);
  }

  *only(side: KeySide): Generator<{ readonly table: string; readonly key: string }> {
    for (const [table, keys] of this.#balances)
      for (const [key, balance] of keys) if ((side === "expected") === balance > 0) yield { table, key };
  }
}
