/** The command line as a function: arguments and a process in, exit status out. */

import { asLegacyGpuError } from "@legacygpu/shared/errors";
import { VERSION } from "@legacygpu/shared/version";
import { Command, CommanderError } from "commander";
import type { Action, Cli } from "./command.ts";
import { addAuditCommand } from "./commands/audit.ts";
import { addBatchCommands } from "./commands/batch.ts";
import { addCertsCommands } from "./commands/certs.ts";
import { addClusterCommands } from "./commands/cluster.ts";
import { addApiCommands } from "./commands/gateway.ts";
import { addJoinTokenCommands } from "./commands/join-token.ts";
import { addKeyCommands } from "./commands/key.ts";
import { addModelCommands } from "./commands/model.ts";
import { addQuickstartCommand } from "./commands/quickstart.ts";
import { addStoreCommands } from "./commands/store.ts";
import { addTaskCommands } from "./commands/task.ts";
import { addUpCommand } from "./commands/up.ts";
import { addUsageCommand } from "./commands/usage.ts";
import { addWorkerCommands } from "./commands/worker.ts";
import { Context, type GlobalFlags } from "./context.ts";
import { describeError } from "./error-report.ts";
import { EXIT, exitCodeOf } from "./exit-codes.ts";
import type { CliIo } from "./io.ts";
import { Interrupted, type StopSignals, unlessAborted, watchSignals } from "./stop-signals.ts";

export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const signals = watchSignals(io);
  const runner = new Runner(io, signals);
  const isJson = isJsonAsked(argv);
  try {
    await buildProgram(io, runner, { isJson }).parseAsync([...argv], { from: "user" });
    return runner.exitCode;
  } catch (error) {
    return report(error, io, isJson);
  } finally {
    signals.dispose();
  }
}

/** Also for errors in the arguments themselves, which are found before the flags are known. */
function isJsonAsked(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end === -1 ? argv.length : end).includes("--json");
}

function report(error: unknown, io: CliIo, isJson: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.ok;
    if (isJson) io.stderr.write(`${JSON.stringify(usageError(error))}\n`);
    return EXIT.usage;
  }
  if (error instanceof Interrupted) {
    return error.signal === "SIGTERM" ? EXIT.terminated : EXIT.interrupted;
  }
  const known = asLegacyGpuError(error);
  const level = io.env.LEGACYGPU_LOG_LEVEL ?? io.env.LOG_LEVEL ?? "";
  io.stderr.write(describeError(known, { isJson, isVerbose: /^(debug|trace)$/i.test(level) }));
  return exitCodeOf(known);
}

function usageError({ message, code }: CommanderError): object {
  return {
    code: "usage",
    message: message.replace(/^error: /, ""),
    retryable: false,
    details: { reason: code },
  };
}

class Runner implements Cli {
  readonly #io: CliIo;
  readonly #signals: StopSignals;
  exitCode: number = EXIT.ok;

  constructor(io: CliIo, signals: StopSignals) {
    this.#io = io;
    this.#signals = signals;
  }

  command<Flags, Args extends readonly unknown[]>(command: Command, action: Action<Flags, Args>): Command {
    return this.#add(command, action, this.#signals.first);
  }

  server<Flags, Args extends readonly unknown[]>(command: Command, action: Action<Flags, Args>): Command {
    return this.#add(command, action, this.#signals.second);
  }

  #add<Flags, Args extends readonly unknown[]>(
    command: Command,
    action: Action<Flags, Args>,
    end: AbortSignal,
  ): Command {
    return addGlobalFlags(command).action(async (...given: unknown[]) => {
      // commander passes the arguments, then the options, then the command.
      const args = given.slice(0, -2) as unknown as Args;
      const flags = command.optsWithGlobals() as GlobalFlags & Flags;
      const context = new Context(this.#io, flags, this.#signals);
      this.exitCode = (await unlessAborted(action(context, flags, ...args), end)) ?? EXIT.ok;
    });
  }
}

function addGlobalFlags(command: Command): Command {
  return command
    .option("--url <address>", "gateway, https://HOST:PORT (LEGACYGPU_URL)")
    .option("--key <key>", "API key (LEGACYGPU_KEY, which other users of this machine cannot see)")
    .option("--ca <file>", "certificate of the gateway's private CA (LEGACYGPU_CA)")
    .option("--json", "one JSON document on standard output, errors as JSON on standard error");
}

function buildProgram(io: CliIo, cli: Cli, { isJson }: { readonly isJson: boolean }): Command {
  const program = new Command("legacygpu")
    .description("One inference endpoint from GPU boxes scattered behind NAT")
    .version(VERSION, "--version")
    .exitOverride()
    // Otherwise `model push --version 2` would print the version of the program.
    .enablePositionalOptions()
    .showHelpAfterError("Run the command with --help to see what it takes.")
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // With --json the one thing on standard error is the error's document.
      writeErr: (text) => (isJson ? undefined : io.stderr.write(text)),
    });
  addGlobalFlags(program);
  addUpCommand(program, cli);
  addApiCommands(program, cli);
  addClusterCommands(program, cli);
  addWorkerCommands(program, cli);
  addJoinTokenCommands(program, cli);
  addTaskCommands(program, cli);
  addBatchCommands(program, cli);
  addModelCommands(program, cli);
  addKeyCommands(program, cli);
  addUsageCommand(program, cli);
  addAuditCommand(program, cli);
  addCertsCommands(program, cli, () => io.parts.certificateTools());
  addStoreCommands(program, cli);
  addQuickstartCommand(program, cli);
  return program;
}
