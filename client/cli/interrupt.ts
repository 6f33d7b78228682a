/** What Ctrl-C says about work that goes on without the command. */

import type { Context } from "./context.ts";
import type { Progress } from "./progress.ts";

/**
 * Shows progress while `work` runs, and takes it away before anything else is said.
 *
 * @param farewell asked when a signal ends the command: how to go on; undefined: there is nothing to go on with.
 */
export async function withProgress<Result>(
  context: Context,
  farewell: () => string | undefined,
  work: (progress: Progress) => Promise<Result>,
): Promise<Result> {
  const progress = context.progress();
  const { first } = context.signals;
  const tell = (): void => {
    progress.stop();
    const text = farewell();
    if (text !== undefined) context.remark(text);
  };
  first.addEventListener("abort", tell, { once: true });
  try {
    return await work(progress);
  } finally {
    progress.stop();
    first.removeEventListener("abort", tell);
  }
}
