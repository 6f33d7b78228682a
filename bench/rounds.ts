/**
 * Statistics of alternating rounds.
 *
 * Both sides of a comparison take their turn in every round, and only the ratios within a round count: whatever else the machine is
 * doing changes slowly, so it strikes both sides of one round alike.
 */

/** Fewer would let one disturbed round decide. */
export const LEAST_ROUNDS = 5;

/** Smallest, median and largest of the rounds. */
export type Spread = readonly [min: number, median: number, max: number];

export type Side<Result> = () => Promise<Result>;

/** What each side measured in one round. */
export type Round<Name extends string, Result> = Readonly<Record<Name, Result>>;

/**
 * Runs every side once per round, the order turned around each time, so that neither always finds the machine as the other left it.
 *
 * @throws RangeError for fewer than {@link LEAST_ROUNDS} rounds.
 */
export async function alternate<Name extends string, Result>(
  rounds: number,
  sides: Readonly<Record<Name, Side<Result>>>,
  onRound: (round: Round<Name, Result>, index: number) => void = () => {},
): Promise<Round<Name, Result>[]> {
  if (rounds < LEAST_ROUNDS) throw new RangeError(`${rounds} rounds are too few; take ${LEAST_ROUNDS}.`);
  const names = Object.keys(sides) as Name[];
  const results: Round<Name, Result>[] = [];
  for (let index = 0; index < rounds; index += 1) {
    const round: Partial<Record<Name, Result>> = {};
    for (const name of index % 2 === 0 ? names : names.toReversed()) round[name] = await sides[name]();
    results.push(round as Round<Name, Result>);
    onRound(round as Round<Name, Result>, index);
  }
  return results;
}

/** The ratio of the rounds: its middle is the median of the ratios, not the ratio of two medians. */
export function ratioOf<Value>(rounds: readonly Value[], ratio: (round: Value) => number): Spread {
  return spreadOf(rounds.map(ratio));
}

/** @throws RangeError when there are no values, or one is not a finite number: a ratio to nothing must not look like a result. */
export function spreadOf(values: readonly number[]): Spread {
  const wrong = values.find((value) => !Number.isFinite(value));
  if (wrong !== undefined) throw new RangeError(`${wrong} is not a measurement.`);
  const sorted = values.toSorted((a, b) => a - b);
  const [first] = sorted;
  const last = sorted.at(-1);
  if (first === undefined || last === undefined) throw new RangeError("Nothing was measured.");
  return [first, middleOf(sorted), last];
}

export function median(values: readonly number[]): number {
  return spreadOf(values)[1];
}

function middleOf(sorted: readonly number[]): number {
  const half = sorted.length / 2;
  const upper = sorted[Math.floor(half)] ?? Number.NaN;
  if (sorted.length % 2 === 1) return upper;
  return ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}
