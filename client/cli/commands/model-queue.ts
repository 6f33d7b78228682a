/** `legacygpu model queue NAME`: what waits for a model, and the valve in front of it. */

import { type Command, Option } from "commander";
import type { LegacyGpuClient, ModelQueueJson } from "../../index.ts";
import type { Cli } from "../command.ts";
import type { Context } from "../context.ts";
import { durationText, facts } from "../table.ts";

interface QueueFlags {
  readonly pause?: boolean;
  readonly resume?: boolean;
  readonly purge?: boolean;
}

export function addModelQueueCommand(group: Command, cli: Cli): void {
  cli.command(
    group
      .command("queue")
      .description("what waits for a model")
      .argument("<name>")
      .addOption(new Option("--pause", "hand out no more tasks").conflicts(["resume", "purge"]))
      .addOption(new Option("--resume", "hand out tasks again").conflicts(["purge"]))
      .option("--purge", "cancel every task that waits"),
    queue,
  );
}

async function queue(context: Context, flags: QueueFlags, model: string): Promise<undefined> {
  const { first } = context.signals;
  const state = await context.withGateway(({ client }) => act(client, flags, model, first));
  context.print(state, () => queueText(state));
  return undefined;
}

function act(
  client: LegacyGpuClient,
  { pause, resume, purge }: QueueFlags,
  model: string,
  signal: AbortSignal,
): Promise<ModelQueueJson> {
  if (pause === true) return client.pauseQueue(model, signal);
  if (resume === true) return client.resumeQueue(model, signal);
  return purge === true ? client.purgeQueue(model, signal) : client.queue(model, signal);
}

function queueText(queue: ModelQueueJson): string {
  const { ready, busy, loading, unable } = queue.workers;
  const { oldest_age_ms: oldest, delay_ms: delay } = queue;
  return facts([
    ["model", queue.model],
    ["tasks", `${queue.pending} pending, ${queue.running} running`],
    ["paused", queue.is_paused ? "yes; --resume hands out tasks again" : undefined],
    ["oldest", oldest === null ? "-" : durationText(oldest)],
    ["workers", `${ready} ready, ${busy} busy, ${loading} loading, ${unable} unable`],
    ["delay", delay === null ? "-" : `p50 ${durationText(delay.p50)}, p95 ${durationText(delay.p95)}`],
  ]);
}
