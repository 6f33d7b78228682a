/** Uploads on disk: for each a file of bytes and a small file of facts; both are there before anybody is told of them. */

import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { asLegacyGpuError } from "@legacygpu/shared/errors";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";

const factsSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(/^upl_[0-9a-z]{26}$/),
  /** Id of the key that began it. */
  owner: z.string(),
  contentType: z.string(),
  sizeBytes: z.int().min(1),
  /** 64 hexadecimal digits; null: nothing was announced. */
  sha256: z.string().nullable(),
  state: z.enum(["receiving", "complete"]),
  /** So many bytes of the data file were flushed; what lies behind them does not count. */
  receivedBytes: z.int().nonnegative(),
  /** When it began, or the last byte came, or it was last used. */
  touchedAtMs: z.number(),
  isUsed: z.boolean(),
});
export type UploadFacts = z.infer<typeof factsSchema>;

const FACTS_FILE = /^(upl_[0-9a-z]{26})\.json$/;
const DATA_FILE = /^(upl_[0-9a-z]{26})\.data$/;
/** What a crash leaves of a file that was being replaced. */
const LEFTOVER_FILE = /^upl_[0-9a-z]{26}\.json\.[0-9a-f]+\.tmp$/;
const FILE_MODE = 0o600;
const READ_CHUNK_BYTES = 256 * 1024;

export class UploadFolder {
  readonly #folder: string;
  readonly #log: Logger;

  private constructor(folder: string, log: Logger) {
    this.#folder = folder;
    this.#log = log;
  }

  static async open(folder: string, log: Logger): Promise<UploadFolder> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new UploadFolder(folder, log);
  }

  /** What was kept, brought into agreement with its bytes; removes what belongs to no upload. */
  async load(): Promise<UploadFacts[]> {
    const names = await readdir(this.#folder);
    const ids = names.map((name) => FACTS_FILE.exec(name)?.[1]).filter((id) => id !== undefined);
    const known = new Set(ids);
    for (const name of names) {
      const owner = DATA_FILE.exec(name)?.[1];
      const isOrphan = owner !== undefined && !known.has(owner);
      if (isOrphan || LEFTOVER_FILE.test(name)) await rm(join(this.#folder, name), { force: true });
    }
    const loaded: UploadFacts[] = [];
    for (const id of ids) {
      const facts = await this.#readFacts(id);
      if (facts !== undefined) loaded.push(await this.#reconcile(facts));
    }
    return loaded;
  }

  async create(facts: UploadFacts): Promise<void> {
    try {
      await (await open(this.#dataPath(facts.id), "wx", FILE_MODE)).close();
      // Its flush of the folder covers the data file's name too.
      await this.save(facts);
    } catch (error) {
      await this.remove(facts.id);
      throw error;
    }
  }

  async save(facts: UploadFacts): Promise<void> {
    await writeFileAtomic(this.#factsPath(facts.id), JSON.stringify(facts), { mode: FILE_MODE });
    await this.#syncFolder();
  }

  /** Writes go to the end of the file. Never creates it: a part that is still arriving must not bring back what was removed. */
  openData(id: string): Promise<FileHandle> {
    return open(this.#dataPath(id), constants.O_WRONLY | constants.O_APPEND);
  }

  truncate(id: string, sizeBytes: number): Promise<void> {
    return truncate(this.#dataPath(id), sizeBytes);
  }

  read(id: string): Promise<Buffer> {
    return readFile(this.#dataPath(id));
  }

  /** 64 hexadecimal digits. */
  async sha256(id: string): Promise<string> {
    const hash = createHash("sha256");
    const stream = createReadStream(this.#dataPath(id), { highWaterMark: READ_CHUNK_BYTES });
    for await (const chunk of stream) hash.update(chunk as Buffer);
    return hash.digest("hex");
  }

  /** Facts first: bytes without facts are removed at the next start, facts without bytes would be an upload. */
  async remove(id: string): Promise<void> {
    await rm(this.#factsPath(id), { force: true });
    await rm(this.#dataPath(id), { force: true });
  }

  /** Damaged facts cost one upload, which can be sent again, not the start of the gateway. */
  async #readFacts(id: string): Promise<UploadFacts | undefined> {
    try {
      const facts = await readJsonFile(this.#factsPath(id), "record of an upload", factsSchema);
      if (facts === undefined || facts.id === id) return facts;
    } catch (error) {
      if (asLegacyGpuError(error).code !== "config_invalid") throw error;
    }
    this.#log.warn({ uploadId: id }, "the record of an upload was damaged; the upload was removed");
    await this.remove(id);
    return undefined;
  }

  async #reconcile(facts: UploadFacts): Promise<UploadFacts> {
    const sizeBytes = await this.#dataSizeBytes(facts.id);
    if (sizeBytes > facts.receivedBytes) await this.truncate(facts.id, facts.receivedBytes);
    if (sizeBytes >= facts.receivedBytes) return facts;
    const shorter: UploadFacts = { ...facts, state: "receiving", receivedBytes: sizeBytes };
    this.#log.warn(
      { uploadId: facts.id, sizeBytes },
      "bytes of an upload are missing; it goes on before them",
    );
    await this.save(shorter);
    return shorter;
  }

  async #dataSizeBytes(id: string): Promise<number> {
    const file = await open(this.#dataPath(id), "a", FILE_MODE);
    try {
      return (await file.stat()).size;
    } finally {
      await file.close();
    }
  }

  /** A renamed file is only safe once its folder was flushed. Windows cannot, and does not need to. */
  async #syncFolder(): Promise<void> {
    if (process.platform === "win32") return;
    const folder = await open(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  #factsPath(id: string): string {
    return join(this.#folder, `${id}.json`);
  }

  #dataPath(id: string): string {
    return join(this.#folder, `${id}.data`);
  }
}
