/** How long a gateway takes to start when many tasks wait: from the start of its process until it has answered a request. */

import { Api } from "../durability/api.ts";
import type { GatewayAddress, GatewayOrder } from "../processes/gateway.ts";
import type { Bench } from "../run.ts";
import type { Depths } from "./depths.ts";
import type { Plan } from "./plan.ts";

export async function measureRecovery(
  bench: Bench,
  { pending, starts }: Plan,
  home: Depths["home"],
): Promise<number[]> {
  const taken: number[] = [];
  for (let start = 0; start < starts; start += 1) {
    const before = performance.now();
    const gateway = bench.startProfiled("processes/gateway", "gateway");
    const address = await gateway.ask<GatewayAddress>("start", {
      folder: home.folder,
    } satisfies GatewayOrder);
    const api = new Api({ ...address, key: home.adminKey });
    const { tasks_pending: found } = (await api.call({ method: "GET", path: "/cluster/metrics" })) as {
      tasks_pending: number;
    };
    taken.push(performance.now() - before);
    if (found !== pending)
      throw new Error(`${found} tasks wait after the start; there should be ${pending}.`);
    bench.say(`a start with ${pending.toLocaleString("en")} tasks took ${taken.at(-1)?.toFixed(0)} ms`);
    await api.close();
    gateway.kill();
    await gateway.exited;
  }
  return taken;
}
