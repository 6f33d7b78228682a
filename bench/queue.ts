/**
 * What the durable queue costs: to accept a task, and to work with a long queue.
 *
 * `durable_N`: tasks of 64 bytes that N callers submit, each waiting until its own is on the disk, against the same bytes put into LMDB in the
 * same way. `ten_thousand_cost`, `million_cost`: the processor time that an operation takes with so many tasks waiting, against none, of the operation
 * (`queue/costs.ts`) for which it is worst; the time on the clock, most of which is the disk's, is in `time`. Beside that, how much memory a waiting
 * task takes, and how long a gateway takes to start when so many wait. The short form says in `figures.pending` how many stood for the million.
 */

import { costFigures, costRatios, fillQueues, measureCosts } from "./queue/depths.ts";
import { planOf } from "./queue/plan.ts";
import { measureRates, rateFigures, rateRatios } from "./queue/rate-rounds.ts";
import { measureRecovery } from "./queue/recovery.ts";
import { median } from "./rounds.ts";
import { runBench } from "./run.ts";

await runBench("queue", async (bench) => {
  const plan = planOf(bench);
  const rates = await measureRates(bench, plan);
  const depths = await fillQueues(bench, plan);
  const costs = await measureCosts(bench, plan, depths.children);
  await depths.children.million.close();
  const recoveryMs = await measureRecovery(bench, plan, depths.home);
  const { used, anonymous } = depths.memory;
  return {
    ratios: { ...rateRatios(rates), ...costRatios(costs) },
    counts: { starts: recoveryMs.length },
    figures: {
      pending: plan.pending,
      bytes_per_pending_task: used.perTask,
      bytes_per_further_task: used.perFurtherTask,
      anonymous_bytes_per_pending_task: anonymous.perTask,
      recovery_ms_million: median(recoveryMs),
      ...rateFigures(rates),
      time_us: costFigures(costs, "elapsedUs"),
      cpu_us: costFigures(costs, "cpuUs"),
    },
  };
});
