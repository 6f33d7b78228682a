/** How busy this machine is: processor time between two looks. */

import { cpus } from "node:os";

interface Sample {
  readonly busy: number;
  readonly total: number;
}

export class CpuMeter {
  #last: Sample = takeSample();

  /** Percent of all cores since the last call, 0 to 100. */
  read(): number {
    const now = takeSample();
    const total = now.total - this.#last.total;
    const busy = now.busy - this.#last.busy;
    this.#last = now;
    return total > 0 ? Math.min(100, Math.max(0, (busy / total) * 100)) : 0;
  }
}

function takeSample(): Sample {
  let busy = 0;
  let total = 0;
  for (const { times } of cpus()) {
    const used = times.user + times.nice + times.sys + times.irq;
    busy += used;
    total += used + times.idle;
  }
  return { busy, total };
}
