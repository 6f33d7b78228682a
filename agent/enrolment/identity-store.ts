/**
 * What an enrolled box keeps in its state folder, readable by its owner only:
 *
 * - `identity.key`: its private key, which leaves it never;
 * - `enrolment.json`: what it joined, with the CAs that it trusts: one file, so that address and trust change together;
 * - `joining.json`: that it has asked to join and has not seen the answer;
 * - `identity-token.json`: its latest identity, so that a restart needs no new one. It can be lost without harm.
 */

import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import { z } from "zod";

const enrolmentSchema = z.object({
  /** `https://HOST:PORT` */
  gateway: z.url(),
  workerId: z.string(),
  /** Empty until the gateway has said it. */
  site: z.string(),
  /** Of the join token: SHA-256 of the public keys of the gateway's CAs. */
  pins: z.array(z.string()),
  /** The CAs that are trusted now; absent: those that the system knows. */
  caPem: z.string().optional(),
  /** SHA-256 of the join token's secret: tells a new token from the one that was used. */
  tokenHash: z.string(),
  /** The gateway has said that this worker is revoked: its key is of no use any more. */
  isRevoked: z.boolean(),
});
export type Enrolment = Readonly<z.infer<typeof enrolmentSchema>>;

const joiningSchema = z.object({ tokenHash: z.string() });

const storedIdentitySchema = z.object({
  /** Of which enrolment it is. */
  tokenHash: z.string(),
  /** `lgi_…` */
  bearer: z.string(),
  lifeMs: z.number().positive(),
  /** By the wall clock of this machine. */
  obtainedAtMs: z.number(),
});
export type StoredIdentity = Readonly<z.infer<typeof storedIdentitySchema>>;

const SECRET = { mode: 0o600 };

export class IdentityStore {
  readonly #dir: string;

  constructor(stateDir: string) {
    this.#dir = stateDir;
  }

  /** @returns undefined when there is none. @throws `config_invalid` when it is not an Ed25519 key. */
  async readKey(): Promise<KeyObject | undefined> {
    const file = this.#path("identity.key");
    const pem = await readIfPresent(file);
    if (pem === undefined) return undefined;
    try {
      const key = createPrivateKey(pem);
      if (key.asymmetricKeyType === "ed25519") return key;
    } catch {
      // Told below, without what the file holds.
    }
    const message = `${file} is not an Ed25519 private key. Move it away and join again with a new join token.`;
    throw fail("config_invalid", message, { file });
  }

  /** In the place of the one before. */
  async createKey(): Promise<KeyObject> {
    const { privateKey } = generateKeyPairSync("ed25519");
    const pem = privateKey.export({ type: "pkcs8", format: "pem" });
    await writeFileAtomic(this.#path("identity.key"), pem, SECRET);
    return privateKey;
  }

  readEnrolment(): Promise<Enrolment | undefined> {
    return readJsonFile(this.#path("enrolment.json"), "worker's enrolment", enrolmentSchema);
  }

  /** A new enrolment ends what was kept of the one before. */
  async writeEnrolment(enrolment: Enrolment): Promise<void> {
    await this.#write("enrolment.json", enrolment);
    await rm(this.#path("joining.json"), { force: true });
  }

  /** @returns whether this box has asked to join with this token and has not seen the answer. */
  async isJoining(tokenHash: string): Promise<boolean> {
    const joining = await readJsonFile(this.#path("joining.json"), "note about joining", joiningSchema);
    return joining?.tokenHash === tokenHash;
  }

  async beginJoining(tokenHash: string): Promise<void> {
    await this.#write("joining.json", { tokenHash });
  }

  async endJoining(): Promise<void> {
    await rm(this.#path("joining.json"), { force: true });
  }

  /** @returns undefined also for one that is damaged: the box can prove itself again. */
  async readIdentity(tokenHash: string): Promise<StoredIdentity | undefined> {
    const text = await readIfPresent(this.#path("identity-token.json"));
    const stored = storedIdentitySchema.safeParse(parseJson(text));
    return stored.success && stored.data.tokenHash === tokenHash ? stored.data : undefined;
  }

  async writeIdentity(identity: StoredIdentity): Promise<void> {
    await this.#write("identity-token.json", identity);
  }

  async #write(name: string, document: object): Promise<void> {
    await writeFileAtomic(this.#path(name), `${JSON.stringify(document, null, 2)}\n`, SECRET);
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }
}

async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function parseJson(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}
