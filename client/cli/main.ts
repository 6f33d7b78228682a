/** Entry point of the command line: the only file here that touches the process. */

import { waitingClock } from "../waiting-clock.ts";
import type { CliIo, StopSignal } from "./io.ts";
import { installedParts } from "./parts.ts";
import { runCli } from "./program.ts";

const SIGNALS: readonly StopSignal[] = ["SIGINT", "SIGTERM"];

const io: CliIo = {
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  env: process.env,
  isTty: process.stderr.isTTY === true,
  clock: waitingClock,
  random: Math.random,
  onSignal(listener) {
    for (const signal of SIGNALS) process.on(signal, listener);
    return () => {
      for (const signal of SIGNALS) process.off(signal, listener);
    };
  },
  onReload(listener) {
    process.on("SIGHUP", listener);
    return () => process.off("SIGHUP", listener);
  },
  parts: installedParts,
};

// `legacygpu task list | head` closes the pipe early; that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

const exitCode = await runCli(process.argv.slice(2), io);
// Something may still hold the process, such as a server that a second Ctrl-C did not wait for.
process.stdout.write("", () => process.exit(exitCode));
