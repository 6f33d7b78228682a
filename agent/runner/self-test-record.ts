/**
 * What self-tests have found out on this machine, so that each costs once: by model, provider, and machine.
 *
 * A provider that was found wrong is tried again after a day: a driver's bad hour must not last for ever. What it was wrong about was this machine with
 * these drivers and this build; when one of those changes, all begins anew.
 */

import { readFile } from "node:fs/promises";
import type { Clock } from "@legacygpu/shared/clock";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";
import type { SelfTest, TestedProvider } from "./self-test.ts";

export interface SelfTestRecordOptions {
  /** Absent: remembered in memory only. */
  readonly path?: string | undefined;
  /** Of the machine, its drivers and this build. */
  readonly fingerprint: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const WRONG_FOR_MS = 24 * 3600 * 1000;
const MAX_ENTRIES = 2000;

const entrySchema = z.object({
  model: z.string(),
  provider: z.string(),
  outcome: z.enum(["passed", "untested", "wrong"]),
  reason: z.string().optional(),
  testedAtMs: z.number(),
});
type Entry = z.infer<typeof entrySchema>;
const fileSchema = z.object({ fingerprint: z.string(), tests: z.array(entrySchema) });

export class SelfTestRecord {
  readonly #options: SelfTestRecordOptions;
  readonly #entries = new Map<string, Entry>();
  #writing: Promise<void> = Promise.resolve();

  constructor(options: SelfTestRecordOptions) {
    this.#options = options;
  }

  /** With what earlier starts have found out. */
  static async open(options: SelfTestRecordOptions): Promise<SelfTestRecord> {
    const record = new SelfTestRecord(options);
    const text = options.path === undefined ? "" : await readFile(options.path, "utf8").catch(() => "");
    const parsed = fileSchema.safeParse(parseJson(text));
    if (parsed.success && parsed.data.fingerprint === options.fingerprint)
      for (const entry of parsed.data.tests) record.#entries.set(keyOf(entry.model, entry.provider), entry);
    return record;
  }

  isTrusted(model: string, provider: string): boolean {
    const entry = this.#entries.get(keyOf(model, provider));
    return entry !== undefined && entry.outcome !== "wrong";
  }

  /** Why the provider is not to be used for the model; undefined when nothing is known against it. */
  objection(model: string, provider: string): string | undefined {
    const entry = this.#entries.get(keyOf(model, provider));
    if (entry?.outcome !== "wrong") return undefined;
    return this.#options.clock.now() - entry.testedAtMs < WRONG_FOR_MS
      ? (entry.reason ?? "unknown")
      : undefined;
  }

  note(model: string, { provider, test }: TestedProvider): void {
    const { log } = this.#options;
    const { outcome } = test;
    const reason = "reason" in test ? test.reason.slice(0, 1000) : undefined;
    if (outcome === "untested")
      log.warn({ model, provider, reason }, "a provider computes a model without having been tested");
    else if (outcome === "wrong") log.error({ model, provider, reason }, "a provider failed its self-test");
    else log.info({ model, provider }, "a provider passed its self-test");
    const testedAtMs = this.#options.clock.now();
    this.#keep({ model, provider, outcome, testedAtMs, ...(reason === undefined ? {} : { reason }) });
  }

  /** Resolves when it is on the disk. */
  close(): Promise<void> {
    return this.#writing;
  }

  #keep(entry: Entry): void {
    const key = keyOf(entry.model, entry.provider);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) break;
      this.#entries.delete(oldest);
    }
    const { path, fingerprint, log } = this.#options;
    if (path === undefined) return;
    const contents = JSON.stringify({ fingerprint, tests: [...this.#entries.values()] });
    this.#writing = this.#writing
      .then(() => writeFileAtomic(path, contents))
      .catch((err) => log.warn({ err }, "the outcome of a self-test cannot be kept"));
  }
}

export const crashedWhileLoading = (how: string): SelfTest => ({
  outcome: "wrong",
  reason: `It took its process down while it loaded the model: ${how}`,
});

const keyOf = (model: string, provider: string): string => `${provider} ${model}`;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
