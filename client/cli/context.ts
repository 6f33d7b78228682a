/** What every command gets: its process, its flags, the gateway, and how to print. */

import { type Connection, type ConnectionFlags, connect } from "./connection.ts";
import type { CliIo } from "./io.ts";
import { noProgress, type Progress, startProgress } from "./progress.ts";
import type { StopSignals } from "./stop-signals.ts";

export interface GlobalFlags extends ConnectionFlags {
  readonly json?: boolean;
}

export class Context {
  readonly io: CliIo;
  readonly flags: GlobalFlags;
  readonly signals: StopSignals;

  constructor(io: CliIo, flags: GlobalFlags, signals: StopSignals) {
    this.io = io;
    this.flags = flags;
    this.signals = signals;
  }

  get isJson(): boolean {
    return this.flags.json === true;
  }

  /** Runs `use` with the gateway that flags, environment or profile name. */
  async withGateway<Result>(use: (connection: Connection) => Promise<Result>): Promise<Result> {
    const connection = await connect(this.flags, this.io);
    try {
      return await use(connection);
    } finally {
      await connection.close();
    }
  }

  /** The result on standard output: with --json the document, otherwise the text. */
  print(document: unknown, text: () => string): void {
    this.io.stdout.write(this.isJson ? `${JSON.stringify(document, null, 2)}\n` : text());
  }

  /** A remark for people on standard error. */
  remark(text: string): void {
    if (!this.isJson) this.io.stderr.write(`${text}\n`);
  }

  progress(): Progress {
    return this.isJson ? noProgress : startProgress(this.io.stderr, this.io.clock, { isTty: this.io.isTty });
  }
}
