/**
 * The events of a task as they happen, through drops of the network: a stream that broke off goes on after the last event that was seen.
 *
 * The stream is over when the gateway ends it after an event with the task as it ended. A task that was tried again has ended before: such an end
 * comes without the task, and the stream goes on.
 */

import { TASK_EVENTS, type TaskEventJson, taskEventSchema } from "@legacygpu/shared/api/task-events";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { isFinal } from "@legacygpu/shared/task";
import { serverSentEvents } from "./event-stream.ts";
import { Patience, type WaitTools } from "./patience.ts";
import type { Call, Transport } from "./transport.ts";

export type TaskEventName = (typeof TASK_EVENTS)[number];
export interface TaskEvent extends TaskEventJson {
  readonly event: TaskEventName;
}

export interface EventOptions {
  /** `seq` of the last event that is known already. Default: all events that the gateway still has. */
  readonly after?: number;
  readonly signal?: AbortSignal;
  /** Called for each failure that is bridged by connecting again. */
  readonly onTrouble?: (error: LegacyGpuError) => void;
}

/** The gateway gives a sign of life every 15 s. */
const SILENCE_MS = 45_000;

export async function* taskEvents(
  transport: Transport,
  id: string,
  { after, signal, onTrouble }: EventOptions,
  tools: WaitTools,
): AsyncGenerator<TaskEvent, void> {
  const path = `/tasks/${encodeURIComponent(id)}/events`;
  const patience = new Patience(tools, onTrouble);
  let lastId = after === undefined ? undefined : String(after);
  let hasEnded = false;
  while (!hasEnded) {
    const headers = { accept: "text/event-stream", "last-event-id": lastId };
    const call: Call = { method: "GET", path, headers, timeoutMs: SILENCE_MS };
    let failure: unknown;
    try {
      const pieces = noticed(transport.stream(call, signal), patience);
      for await (const received of serverSentEvents(pieces)) {
        patience.refresh();
        lastId = received.lastId ?? lastId;
        if (!isKnown(received.name)) continue;
        const event = { event: received.name, ...transport.parse(call, received.data, taskEventSchema) };
        if (event.seq !== undefined) lastId = String(event.seq);
        hasEnded = event.snapshot !== undefined && isFinal(event.snapshot.status);
        yield event;
      }
      failure = brokenOff(transport.address, id);
    } catch (error) {
      failure = error;
    }
    if (!hasEnded) await patience.waitOut(failure, signal);
  }
}

/** Signs of life are no events, but they tell that the gateway is there. */
async function* noticed(
  pieces: AsyncIterable<Uint8Array>,
  patience: Patience,
): AsyncGenerator<Uint8Array, void> {
  for await (const piece of pieces) {
    patience.sawLife();
    yield piece;
  }
}

/** Newer gateways may tell of more. */
function isKnown(name: string): name is TaskEventName {
  return (TASK_EVENTS as readonly string[]).includes(name);
}

function brokenOff(address: string, id: string): LegacyGpuError {
  const message = `${address} ended the events of task ${id} before the task has ended.`;
  return fail("gateway_unreachable", message, { address, task: id });
}
