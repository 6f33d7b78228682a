/** The inner half of a process of a bench: answers the commands that the harness sends over Node's IPC channel. */

export interface CommandMessage {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}
export interface AnswerMessage {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

export type Command = (argument: never) => unknown;

/**
 * Serves until the harness is gone: a bench that is killed must leave nothing behind that disturbs the next one.
 *
 * @param commands `close` is called at the end when there is one, and the process ends after it.
 */
export function serveCommands(commands: Readonly<Record<string, Command>>): void {
  process.on("message", (message: CommandMessage) => void answer(commands, message));
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C reaches every process of the terminal; the harness decides about the order of their end.
  process.on("SIGINT", () => {});
}

async function answer(
  commands: Readonly<Record<string, Command>>,
  { id, name, argument }: CommandMessage,
): Promise<void> {
  const reply = (message: AnswerMessage): void => {
    process.send?.(message, () => name === "close" && process.exit(0));
  };
  try {
    const command = commands[name];
    if (command === undefined && name !== "close") throw new Error(`There is no command ${name}.`);
    reply({ id, value: await command?.(argument as never) });
  } catch (error) {
    reply({ id, error: (error as Error).stack ?? String(error) });
  }
}
