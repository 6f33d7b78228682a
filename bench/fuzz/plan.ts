/** How many inputs go where. What runs inside one process is quick; over TLS each takes a connection or a round trip. */

export interface Plan {
  /** Each in orders of `batch` inputs: as many as are done well within the limit. */
  readonly parsers: readonly { readonly target: string; readonly inputs: number; readonly batch: number }[];
  readonly requests: number;
  readonly linkMessages: number;
}

const BATCHES = { frames: 5000, documents: 5000, configuration: 500, models: 2000, store: 100 };
type Target = keyof typeof BATCHES;

const LONG = plan(
  { frames: 450_000, documents: 300_000, configuration: 40_000, models: 110_000, store: 5000 },
  { requests: 60_000, linkMessages: 100_000 },
);
const SHORT = plan(
  { frames: 22_000, documents: 16_000, configuration: 2000, models: 5000, store: 200 },
  { requests: 3000, linkMessages: 5000 },
);

export const planOf = ({ isShort }: { readonly isShort: boolean }): Plan => (isShort ? SHORT : LONG);

function plan(inputs: Readonly<Record<Target, number>>, network: Omit<Plan, "parsers">): Plan {
  const targets = Object.keys(BATCHES) as Target[];
  const parsers = targets.map((target) => ({ target, inputs: inputs[target], batch: BATCHES[target] }));
  return { parsers, ...network };
}
