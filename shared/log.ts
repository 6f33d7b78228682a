/** Structured logging. Messages are sentences, data are fields; credentials never reach the output. */

import pino from "pino";

export type Logger = pino.Logger;
export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";

const CREDENTIAL = /\b(lg[kwij]_[0-9A-Za-z]{4})[\w-]+/g;
const JWT = /\b(eyJ[\w-]{4})[\w-]*\.[\w-]+\.[\w-]*/g;

/** Replaces the secret part of every credential and token in `text`. */
export function redactCredentials(text: string): string {
  return text.replace(CREDENTIAL, "$1…").replace(JWT, "$1…");
}

/**
 * @param destination where lines go; standard error when absent, so that standard output stays for results.
 */
export function createLogger(
  name: string,
  level: LogLevel,
  destination: { write(line: string): void } = process.stderr,
): Logger {
  return pino(
    {
      name,
      level,
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: ["authorization", "*.authorization", "key", "*.key", "secret", "*.secret"],
    },
    { write: (line: string) => destination.write(redactCredentials(line)) },
  );
}
