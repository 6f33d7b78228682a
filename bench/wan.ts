/**
 * What a WAN does to the choice of workers: a gateway process and three agent processes, each at a site of its own behind an emulated line of 2, 40 or
 * 180 ms round trip (`test/support/wan-link.ts`).
 *
 * Ratios: a request to a worker 150 ms away against the round trip plus what it takes without one, and how busy that worker is kept. Figures: who gets
 * which share of the tasks under each strategy, what happens when a line or a worker becomes bad, and what a large payload does to heartbeats.
 */

import { runBench } from "./run.ts";
import { grayFailure, slowCard } from "./wan/bad-workers.ts";
import { DISTANCES_MS, farWorker } from "./wan/far-worker.ts";
import { heartbeatsBesidePayload } from "./wan/heartbeat.ts";
import { RTT_MS, SITES, startSites } from "./wan/sites.ts";
import { degradation, sharesBySite, use } from "./wan/strategies.ts";

await runBench("wan", async (bench) => {
  const sites = await startSites(bench, DISTANCES_MS);
  try {
    bench.say("a worker 150 ms away, beside one at no distance …");
    const { ratios, figures } = await farWorker(bench, sites);
    for (const site of SITES) sites.links[site].change({ delayMs: RTT_MS[site] / 2 });
    bench.say("heartbeats beside a large payload …");
    const heartbeats = await heartbeatsBesidePayload(bench, sites);
    bench.say("shares by site …");
    const shares = await sharesBySite(bench, sites);
    await use(sites, "ADAPTIVE");
    bench.say("a worker that answers with errors …");
    const gray = await grayFailure(bench, sites);
    bench.say("a card that becomes five times slower …");
    const slowed = await slowCard(bench, sites);
    // The last: until the gateway believes in the short line again, nothing else is as it was.
    bench.say("the near site's line grows from 2 to 300 ms …");
    const degraded = await degradation(bench, sites);
    const failed = [degraded, gray, slowed].reduce((sum, numbers) => sum + Number(numbers.failed), 0);
    return {
      ratios,
      counts: { failed },
      figures: {
        ...figures,
        heartbeats,
        shares,
        degraded_line: degraded,
        gray_worker: gray,
        slowed_card: slowed,
      },
      broken:
        failed === 0 ? [] : [`${failed} requests failed although other workers could have served them.`],
    };
  } finally {
    await sites.close();
  }
});
