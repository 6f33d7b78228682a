/** Waits for a task by long polling: the gateway answers as soon as the task differs from what was seen last. */

import { type TaskJson, taskJsonSchema } from "@legacygpu/shared/api/tasks";
import { isFinal } from "@legacygpu/shared/task";
import type { WaitTools } from "./patience.ts";
import type { Transport } from "./transport.ts";
import { type WaitOptions, waitUntilEnded } from "./wait.ts";

const POLL_SECONDS = 30;
/** Who watches is told of events at once, and of place in the queue and progress, which are no events, so often. */
const WATCHED_POLL_SECONDS = 5;
/** A poll that the gateway holds for its full time must not run into the limit. */
const SLACK_MS = 15_000;
const MIN_POLL_MS = 100;

export function waitForTask(
  transport: Transport,
  id: string,
  options: WaitOptions,
  tools: WaitTools,
): Promise<TaskJson> {
  const isWatched = options.onUpdate !== undefined;
  let etag: string | undefined;
  let isToBeLookedAt = isWatched;
  const poll = async (signal: AbortSignal): Promise<TaskJson | undefined> => {
    const waitSeconds = isWatched ? WATCHED_POLL_SECONDS : POLL_SECONDS;
    const call = {
      method: "GET",
      path: `/tasks/${encodeURIComponent(id)}`,
      query: { wait: isToBeLookedAt ? undefined : waitSeconds },
      headers: { "if-none-match": isToBeLookedAt ? undefined : etag },
      timeoutMs: waitSeconds * 1000 + SLACK_MS,
      maxTries: 1,
    } as const;
    const answer = await transport.exchange(call, signal);
    const isSame = answer.status === 304;
    isToBeLookedAt = isWatched && isSame;
    if (isSame) return undefined;
    etag = answer.header("etag") ?? undefined;
    return transport.parse(call, answer.text, taskJsonSchema);
  };
  const awaited = {
    name: `Task ${id}`,
    details: { task: id },
    minPollMs: MIN_POLL_MS,
    poll,
    hasEnded: ({ status }: TaskJson) => isFinal(status),
    hasChanged,
    describe: ({ status, reason }: TaskJson) => (reason === undefined ? status : `${status}: ${reason}`),
  };
  return waitUntilEnded(awaited, options, tools);
}

function hasChanged(before: TaskJson, now: TaskJson): boolean {
  return (
    before.status !== now.status ||
    before.attempt !== now.attempt ||
    before.reason !== now.reason ||
    before.queue?.position !== now.queue?.position ||
    before.queue?.eta_ms !== now.queue?.eta_ms ||
    before.progress?.phase !== now.progress?.phase ||
    before.progress?.percent !== now.progress?.percent
  );
}
