/** The quickstart: starts gateway and agent, pushes the digits model, sends one picture, and tells how to go on. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { sleep } from "@legacygpu/shared/clock";
import { fail, LegacyGpuError } from "@legacygpu/shared/errors";
import { openHome } from "@legacygpu/shared/home";
import { LegacyGpuClient, resultOf, type TaskJson } from "../index.ts";
import { pinnedFetch } from "../pinned-fetch.ts";
import { pushFile } from "./commands/model-push.ts";
import { serveStandalone, startUp } from "./commands/up.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { readManifest } from "./manifest-file.ts";
import type { Standalone } from "./standalone.ts";
import { durationText, facts } from "./table.ts";
import { taskText } from "./task-text.ts";

export interface QuickstartFlags {
  readonly modelDir: string;
  readonly expect: string;
  readonly port?: string;
  readonly once?: boolean;
}

const MODEL = "digits";
const HEALTHY_WITHIN_MS = 60_000;
const ANSWER_WITHIN_MS = 60_000;

export async function quickstart(context: Context, flags: QuickstartFlags): Promise<number> {
  const timer = new StepTimer(context);
  const standalone = await timer.step("start gateway and worker", () => startOnFreePort(context, flags));
  const { client, close } = await localClient(context, standalone);
  let exitCode: number;
  try {
    exitCode = await tryOut(context, flags, { timer, client, standalone });
  } catch (error) {
    await close();
    await standalone.close();
    if (context.signals.first.aborted) return EXIT.interrupted;
    throw error;
  }
  await close();
  if (flags.once !== true) {
    context.remark("Up until Ctrl-C.");
    await serveStandalone(context, standalone);
  } else {
    await standalone.close();
  }
  return exitCode;
}

async function startOnFreePort(context: Context, flags: QuickstartFlags): Promise<Standalone> {
  const given = flags.port === undefined ? {} : { port: flags.port };
  try {
    return await startUp(context, given, "warn");
  } catch (error) {
    const isTaken = error instanceof LegacyGpuError && error.code === "port_in_use";
    if (!isTaken || flags.port !== undefined) throw error;
    context.remark("Port 8000 is taken; using a free one.");
    return startUp(context, { port: "0" }, "warn");
  }
}

interface LocalClient {
  readonly client: LegacyGpuClient;
  close(): Promise<void>;
}

async function localClient({ io }: Context, { gateway, profile }: Standalone): Promise<LocalClient> {
  const { caFile } = gateway;
  const pin = caFile === undefined ? {} : { caPem: await readFile(caFile, "utf8"), caFile };
  const fetch = pinnedFetch(pin);
  const key = profile.key === undefined ? {} : { key: profile.key };
  const client = new LegacyGpuClient({ url: gateway.url, fetch, clock: io.clock, random: io.random, ...key });
  return { client, close: () => fetch.close() };
}

interface Stage {
  readonly timer: StepTimer;
  readonly client: LegacyGpuClient;
  readonly standalone: Standalone;
}

async function tryOut(
  context: Context,
  flags: QuickstartFlags,
  { timer, client, standalone }: Stage,
): Promise<number> {
  const signal = context.signals.first;
  const { modelDir } = flags;
  await timer.step("worker becomes healthy", () => untilHealthy(context, client, standalone));
  await timer.step("push the model", async () => {
    const manifest = await readManifest(join(modelDir, "manifest.json"));
    await pushFile(client, { name: MODEL, path: join(modelDir, "model.onnx"), manifest }, { signal });
  });
  const task = await timer.step("send a picture, get the answer", async () => {
    const bytes = await readFile(join(modelDir, "sample.png"));
    const { id } = await client.submitImage(MODEL, bytes, {}, signal);
    return client.wait(id, { timeoutMs: ANSWER_WITHIN_MS, signal });
  });
  return conclude(context, { task, expected: flags.expect, timer, standalone });
}

async function untilHealthy(context: Context, client: LegacyGpuClient, { agent }: Standalone): Promise<void> {
  const { clock } = context.io;
  const { first } = context.signals;
  const died = agent.closed.then((error) => {
    throw error ?? fail("worker_lost", "The worker stopped before it was ready.");
  });
  // Whoever loses the race must not become an unhandled rejection.
  died.catch(() => {});
  const deadline = clock.monotonic() + HEALTHY_WITHIN_MS;
  for (;;) {
    const workers = await Promise.race([client.workers(first), died]);
    const own = workers.find(({ id }) => id === agent.workerId);
    if (own?.state === "HEALTHY") return;
    if (clock.monotonic() > deadline) throw notHealthy(own?.cause);
    await Promise.race([sleep(clock, 50, first), died]);
  }
}

function notHealthy(cause: string | undefined): Error {
  const why = cause === undefined ? "it has not connected" : cause;
  return fail("timed_out", `The worker is not healthy after ${durationText(HEALTHY_WITHIN_MS)}: ${why}.`);
}

interface Outcome {
  readonly task: TaskJson;
  readonly expected: string;
  readonly timer: StepTimer;
  readonly standalone: Standalone;
}

function conclude(context: Context, { task, expected, timer, standalone }: Outcome): number {
  const best = resultOf(task).predictions?.[0]?.label;
  const isRight = best === expected;
  const { url, caFile, firstStart } = standalone.gateway;
  const document = {
    url,
    ca_file: caFile,
    expected,
    prediction: best ?? null,
    steps_ms: timer.stepsMs,
    task,
  };
  context.print(
    document,
    () => `\n${taskText(task)}\n${timer.text()}\n${howToGoOn(context, url, firstStart?.adminKey)}`,
  );
  if (isRight) return EXIT.ok;
  context.io.stderr.write(
    `error: the sample shows "${expected}", the model answered "${best ?? "nothing"}"\n`,
  );
  return EXIT.failed;
}

function howToGoOn({ io }: Context, url: string, adminKey: string | undefined): string {
  const { profileFile } = openHome(io.env);
  const known = facts([
    ["address", url],
    ["key", `in ${profileFile}`],
    ["admin key", adminKey === undefined ? undefined : `${adminKey} (shown only now)`],
    ["another picture", `npx legacygpu task submit --model ${MODEL} --input my.png --wait`],
    ["cluster", "npx legacygpu cluster status"],
    ["status address", `${url}/cluster/health`],
  ]);
  return `${known}\n`;
}

/** Measures the steps and says which one runs. */
class StepTimer {
  readonly #context: Context;
  readonly stepsMs: Record<string, number> = {};

  constructor(context: Context) {
    this.#context = context;
  }

  async step<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const { io, signals } = this.#context;
    const startedAt = io.clock.monotonic();
    const progress = this.#context.progress();
    progress.update(name);
    try {
      const result = await work();
      signals.first.throwIfAborted();
      this.stepsMs[name] = Math.round((io.clock.monotonic() - startedAt) * 10) / 10;
      return result;
    } finally {
      progress.stop();
    }
  }

  text(): string {
    return facts(Object.entries(this.stepsMs).map(([name, ms]) => [name, durationText(ms)] as const));
  }
}
