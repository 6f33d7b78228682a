/** Everything that is wrong with a store's file, for those who have the time to read all of it. */

import { Audit, type Damage, openPages, refusal } from "./audit.ts";
import type { PageFile } from "./pages/page-file.ts";

/** Of one table: a damaged page can make a million of them. */
const MAX_LISTED = 1000;

export interface Inspection {
  /** Entries by table. */
  readonly checked: Readonly<Record<string, number>>;
  readonly damaged: readonly Damage[];
  /** Beyond those in the list. */
  readonly unlistedCount: number;
}

/** All that there is to find in a file that nobody writes. @throws `store_too_new`, `store_failed` */
export function inspect(path: string): Inspection {
  const damaged: Damage[] = [];
  const counts = new Map<string, number>();
  let unlistedCount = 0;
  const onDamage = (damage: Damage): void => {
    const count = (counts.get(damage.table) ?? 0) + 1;
    counts.set(damage.table, count);
    if (count <= MAX_LISTED) damaged.push(damage);
    else unlistedCount += 1;
  };
  let checked = {};
  const file = openPages(path, onDamage);
  try {
    if (file !== undefined) checked = auditAll(file, onDamage);
  } finally {
    file?.close();
  }
  return { checked, damaged, unlistedCount };
}

/** @returns entries by table. @throws `store_corrupt` */
export function assertAllSound(path: string): Inspection["checked"] {
  const { checked, damaged } = inspect(path);
  const [first] = damaged;
  if (first !== undefined) throw refusal(path, first);
  return checked;
}

function auditAll(file: PageFile, onDamage: (damage: Damage) => void): Inspection["checked"] {
  const audit = new Audit(file, { depth: "everything", onDamage });
  audit.run();
  return audit.checked;
}
