/** Everything that the command line takes from its process, so that tests can give it instead. */

import type { Clock, Random } from "@legacygpu/shared/clock";
import type { Parts } from "./parts.ts";

export interface Output {
  write(text: string): void;
}

export type StopSignal = "SIGINT" | "SIGTERM";

export interface CliIo {
  /** Results. */
  readonly stdout: Output;
  /** Progress, remarks and errors. */
  readonly stderr: Output;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether `stderr` is a terminal that a person looks at. */
  readonly isTty: boolean;
  readonly clock: Clock;
  readonly random: Random;
  /** @returns what stops the listening. */
  onSignal(listener: (signal: StopSignal) => void): () => void;
  /** SIGHUP, by which servers are told that their files have changed. @returns what stops the listening. */
  onReload(listener: () => void): () => void;
  readonly parts: Parts;
}
