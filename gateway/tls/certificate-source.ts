/**
 * Knows the server certificate that is in force, and notices when its files have changed: once a minute, and when asked to.
 *
 * Contents are compared, not times: tools that renew rename, link and touch in many ways. What cannot be used is an error in the log, today
 * and every day that it lasts, and the certificate in force stays.
 */

import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { asLegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { CertificateFiles } from "../http/preflight.ts";
import { type CertificateOrigin, readOrigin, type StoredCertificate } from "./certificate-origin.ts";

const CHECK_INTERVAL_MS = 60_000;
const DAY_MS = 86_400_000;
/** By then it should long have been renewed: somebody has to look. */
const CERTIFICATE_WARNING_MS = 7 * DAY_MS;
const CA_WARNING_MS = 90 * DAY_MS;

export interface CertificateSourceOptions {
  readonly origin: CertificateOrigin;
  readonly clock: Clock;
  readonly log: Logger;
}

export type ReloadOutcome = "unchanged" | "replaced" | "failed";

export class CertificateSource {
  readonly #origin: CertificateOrigin;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** When each was last logged. */
  readonly #problems = new Map<string, number>();
  readonly #ends = new Map<string, number>();
  #current: StoredCertificate;
  #replace: ((files: CertificateFiles) => void) | undefined;
  #timer: Timer | undefined;
  /** Reloads run one after the other: the last one sees what is there when it was asked for. */
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  private constructor({ origin, clock, log }: CertificateSourceOptions, first: StoredCertificate) {
    this.#origin = origin;
    this.#clock = clock;
    this.#log = log;
    this.#current = first;
  }

  /** @throws `certificate_invalid`: there is nothing to begin with. */
  static async open(options: CertificateSourceOptions): Promise<CertificateSource> {
    return new CertificateSource(options, await readOrigin(options.origin, options.clock));
  }

  /** The files as the server reads them; the paths never change. */
  get files(): CertificateFiles {
    const { certFile, keyFile } = this.#current;
    return { certFile, keyFile };
  }

  /** What agents and clients pin; two certificates while the CA is being changed. Undefined: nothing, the CA is a public one. */
  get caPem(): string | undefined {
    return this.#current.caPem;
  }

  get caFile(): string | undefined {
    return this.#current.caFile;
  }

  /** @param replace puts the new certificate in force; when it throws, the one before is. */
  watch(replace: (files: CertificateFiles) => void): void {
    this.#replace = replace;
    this.#warnOfEnds();
    this.#timer = every(this.#clock, CHECK_INTERVAL_MS, () => {
      if (this.#waiting === 0) void this.#enqueue();
    });
  }

  /** Looks now, and says in the log also what it has said today. */
  reload(): Promise<ReloadOutcome> {
    this.#problems.clear();
    this.#ends.clear();
    return this.#enqueue();
  }

  /** Waits for a reload that is under way. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#turn;
  }

  #enqueue(): Promise<ReloadOutcome> {
    this.#waiting += 1;
    const outcome = this.#turn
      .then(() => this.#check())
      .finally(() => {
        this.#waiting -= 1;
      });
    this.#turn = outcome;
    return outcome;
  }

  /** Never throws. */
  async #check(): Promise<ReloadOutcome> {
    try {
      const found = await readOrigin(this.#origin, this.#clock);
      const outcome = this.#take(found);
      this.#problems.clear();
      this.#warnOfEnds();
      return outcome;
    } catch (error) {
      const known = asLegacyGpuError(error);
      this.#daily(this.#problems, known.message, () =>
        this.#log.error({ err: known }, "the certificate on disk cannot be used; the one in force stays"),
      );
      return "failed";
    }
  }

  #take(found: StoredCertificate): ReloadOutcome {
    const isSame = found.digest === this.#current.digest;
    if (!isSame) this.#replace?.({ certFile: found.certFile, keyFile: found.keyFile });
    if (found.caPem !== this.#current.caPem) {
      this.#log.info({ caFile: found.caFile }, "agents and clients are to pin another CA file");
    }
    this.#current = found;
    if (isSame) return "unchanged";
    this.#ends.clear();
    const until = new Date(found.endsAtMs).toISOString();
    this.#log.info({ certFile: found.certFile, until }, "a new certificate is in force");
    return "replaced";
  }

  #warnOfEnds(): void {
    const { certFile, caFile, endsAtMs, caEndsAtMs } = this.#current;
    this.#warnOfEnd(
      certFile,
      endsAtMs,
      CERTIFICATE_WARNING_MS,
      "the certificate ends soon and was not renewed",
    );
    if (caEndsAtMs === undefined) return;
    this.#warnOfEnd(caFile, caEndsAtMs, CA_WARNING_MS, "the CA ends soon: begin to change it");
  }

  #warnOfEnd(file: string | undefined, endsAtMs: number, warningMs: number, text: string): void {
    if (endsAtMs - this.#clock.now() > warningMs) return;
    this.#daily(this.#ends, text, () =>
      this.#log.error({ file, ends: new Date(endsAtMs).toISOString() }, text),
    );
  }

  #daily(said: Map<string, number>, text: string, say: () => void): void {
    const nowMs = this.#clock.now();
    const saidAtMs = said.get(text);
    if (saidAtMs !== undefined && nowMs - saidAtMs < DAY_MS) return;
    said.set(text, nowMs);
    say();
  }
}
