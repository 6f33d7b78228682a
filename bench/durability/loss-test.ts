/**
 * A test for losses in the style of Jepsen: clients submit tasks and remember every acknowledgement, while processes are killed and stopped and links
 * are broken; in the end each acknowledged task must be there and have ended, once, with the right answer.
 */

import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom } from "../../models/onnx/random.ts";
import { Api } from "./api.ts";
import { LoadClient } from "./client.ts";
import { readExecutions } from "./executions.ts";
import { Fleet, type StartProcess } from "./fleet.ts";
import { History } from "./history.ts";
import { type FaultCounts, Nemesis } from "./nemesis.ts";
import { Observer } from "./observer.ts";
import { judge, type Verdict } from "./verdict.ts";
import { MODELS, Workload } from "./workload.ts";

export interface LossTestOptions {
  /** Empty. */
  readonly folder: string;
  readonly start: StartProcess;
  /** How often the gateway is killed. */
  readonly kills: number;
  /** The same seed makes the same requests and the same faults at the same times; what meets what is up to the machine. */
  readonly seed: number;
  readonly say: (text: string) => void;
}

export interface LossReport extends Verdict {
  readonly faults: FaultCounts;
  readonly refusals: ReadonlyMap<string, number>;
}

/** What has not ended long after the last fault will not. Retries wait for up to a minute when a task was lost often. */
const DRAIN_LIMIT_MS = 120_000;

export async function runLossTest({ folder, start, kills, seed, say }: LossTestOptions): Promise<LossReport> {
  const history = new History();
  const fleet = await Fleet.start(folder, start, (fault) => history.violations.push(fault));
  const { clientUrl: url, clientKey: key } = fleet;
  const { caPem, adminKey } = fleet.gateway.address;
  const api = new Api({ url, caPem, key });
  const workload = new Workload(seededRandom(seed), `loss-${seed}`);
  const client = new LoadClient({ api, history, workload, random: seededRandom(seed + 100) });
  const observer = new Observer({ api, history, random: seededRandom(seed + 200) });
  const nemesis = new Nemesis({
    fleet,
    kills,
    seed,
    progress: () => history.progress,
    onKill: (count) => tellKill(say, history, count, kills),
  });
  try {
    await pushModels(new Api({ url, caPem, key: adminKey }));
    const observed = observer.run();
    const submitted = client.run();
    await nemesis.run();
    client.stop();
    await submitted;
    say(`no more faults; ${history.open.size} tasks have not ended`);
    await drained(history);
    observer.stop();
    await observed;
    const listed = await observer.audit();
    await fleet.gateway.kill();
    const executions = await readExecutions(fleet.executionsFolder);
    const { upTimes } = fleet.gateway;
    return {
      ...judge({ history, listed, executions, upTimes }),
      faults: nemesis.counts,
      refusals: history.refusals,
    };
  } finally {
    observer.stop();
    client.abandon();
    await api.close();
    await fleet.close();
  }
}

async function pushModels(api: Api): Promise<void> {
  for (const [name, { build }] of Object.entries(MODELS)) {
    const bytes = build();
    const file = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    await api.call({ method: "PUT", path: `/blobs/${file}`, body: bytes });
    await api.call({
      method: "PUT",
      path: `/models/${name}/versions/1`,
      body: JSON.stringify({ file, manifest: {} }),
    });
  }
  await api.close();
}

function tellKill(say: (text: string) => void, { accepted, open }: History, count: number, of: number): void {
  if (count % 10 === 0 || count === of)
    say(
      `the gateway was killed ${count} times; ${accepted.size} tasks accepted, ${open.size} have not ended`,
    );
}

async function drained({ open }: History): Promise<void> {
  const giveUpAtMs = performance.now() + DRAIN_LIMIT_MS;
  while (open.size > 0 && performance.now() < giveUpAtMs) await sleep(50);
}
