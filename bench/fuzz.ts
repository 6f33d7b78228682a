/**
 * Whether input from strangers can do harm: good input, bent in the ways in which transmissions break and attackers bend, to everything that
 * reads it.
 *
 * `requests` are bytes at the gateway's TLS port, `links` agents that do not keep to the protocol (before they have introduced themselves and
 * after), the rest are the parsers by themselves. A crash is a process that ends or an error that nobody planned; a hang is an order that does not
 * come to an end. `--seed` repeats a run.
 */

import { type Hunt, huntGateway, huntParser } from "./fuzz/hunt.ts";
import { planOf } from "./fuzz/plan.ts";
import { soundStore } from "./fuzz/sound-store.ts";
import { startGatewayUnderFire } from "./fuzz/under-fire.ts";
import { runBench } from "./run.ts";

const MIB = 1024 ** 2;

await runBench("fuzz", async (bench) => {
  const plan = planOf(bench);
  bench.say(`seed ${bench.seed}`);
  const hunts: Hunt[] = [];
  const tell = (hunt: Hunt): void => {
    hunts.push(hunt);
    bench.say(`${hunt.name}: ${hunt.inputs} inputs, ${hunt.crashes} crashes, ${hunt.hangs} hangs`);
  };
  for (const { target, inputs, batch } of plan.parsers) {
    const sound = target === "store" ? await soundStore(bench.folder) : undefined;
    tell(await huntParser(bench, { target, inputs, batch, sound }));
  }
  const gateway = await startGatewayUnderFire(bench);
  tell(await huntGateway(bench, gateway, "requests", plan.requests));
  tell(await huntGateway(bench, gateway, "links", plan.linkMessages));
  await gateway.close();

  const sum = (of: (hunt: Hunt) => number): number => hunts.reduce((total, hunt) => total + of(hunt), 0);
  const each = (of: (hunt: Hunt) => number): Record<string, number> =>
    Object.fromEntries(hunts.map((hunt) => [hunt.name, of(hunt)]));
  return {
    ratios: {},
    counts: {
      inputs: sum(({ inputs }) => inputs),
      crashes: sum(({ crashes }) => crashes),
      hangs: sum(({ hangs }) => hangs),
      inputs_of: each(({ inputs }) => inputs),
      refused_of: each(({ refused }) => refused),
    },
    figures: {
      seed: bench.seed,
      rss_growth_mb: Math.max(...hunts.map(({ growthBytes }) => growthBytes)) / MIB,
      growth_mb_of: each(({ growthBytes }) => growthBytes / MIB),
      slowest_ms_of: each(({ slowestMs }) => slowestMs),
    },
    broken: hunts.flatMap(({ findings }) => findings),
  };
});
