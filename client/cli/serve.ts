/** Keeps a server command running until it is told to stop, or a part of it stops by itself. */

import type { Context } from "./context.ts";
import { aborted } from "./stop-signals.ts";

export interface Served {
  /** Settles when something stopped that should run; with the reason. */
  readonly failed?: Promise<Error | undefined>;
  /** What the first signal does, for the person who sent it. */
  readonly whatStops: string;
  /** Reads again what may have changed on the disk. */
  readonly reload?: () => Promise<unknown>;
  close(): Promise<void>;
}

/** @throws the reason for which a part stopped by itself, after the rest was closed. */
export async function serveUntilStopped(context: Context, served: Served): Promise<void> {
  const stopped = aborted(context.signals.first).then(() => undefined);
  const { reload } = served;
  const stopListening = reload === undefined ? () => {} : context.io.onReload(() => void reload());
  const failure = await Promise.race([stopped, ...(served.failed === undefined ? [] : [served.failed])]);
  if (context.signals.first.aborted) {
    context.remark(`\n${served.whatStops} Press Ctrl-C again to stop at once.`);
  }
  stopListening();
  await served.close();
  if (failure !== undefined) throw failure;
  context.remark("Stopped.");
}
