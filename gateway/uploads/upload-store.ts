/** All uploads of a gateway: who may begin one, who sees it, and when it is forgotten. */

import { UPLOAD_CONTENT_TYPES } from "@legacygpu/shared/api/uploads";
import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { SortableIds } from "@legacygpu/shared/ids";
import type { Logger } from "@legacygpu/shared/log";
import { isAdmin, type Principal } from "../auth/principal.ts";
import { type Part, StoredUpload, type UploadParts } from "./stored-upload.ts";
import { type UploadFacts, UploadFolder } from "./upload-folder.ts";

export interface UploadStoreOptions {
  /** A folder of its own. */
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default 256 MiB. */
  readonly maxUploadBytes?: number | undefined;
  /** Of one key, announced and neither sent in full nor used. Default 1 GiB. */
  readonly maxPendingBytes?: number | undefined;
  /** From the last byte or use. Default 24 h. */
  readonly lifeMs?: number | undefined;
  /** Bytes that may arrive before they are flushed. Default 4 MiB. */
  readonly flushBytes?: number | undefined;
}

/** What is to be uploaded; `sha256` is 64 hexadecimal digits. */
export interface Announcement {
  readonly sizeBytes: number;
  readonly contentType: string;
  readonly sha256?: string | undefined;
}

export interface UploadView {
  readonly id: string;
  readonly sizeBytes: number;
  readonly receivedBytes: number;
  readonly contentType: string;
  readonly isComplete: boolean;
  readonly expiresAtMs: number;
}

export interface UploadedInput {
  readonly contentType: string;
  readonly bytes: Buffer;
}

const MIB = 1024 ** 2;
const DEFAULT_MAX_UPLOAD_BYTES = 256 * MIB;
const DEFAULT_MAX_PENDING_BYTES = 1024 * MIB;
const DEFAULT_LIFE_MS = 24 * 3_600_000;
const DEFAULT_FLUSH_BYTES = 4 * MIB;
/** Files and memory cost something too, however few bytes they hold. */
const MAX_PENDING_UPLOADS = 10_000;
/** Uploads are used or given up in their owner's time; this only keeps the owner from asking all the time. */
const RETRY_AFTER_SECONDS = 30;
const SWEEP_INTERVAL_MS = 10 * 60_000;

export class UploadStore {
  readonly maxUploadBytes: number;
  readonly #maxPendingBytes: number;
  readonly #lifeMs: number;
  readonly #log: Logger;
  readonly #parts: UploadParts;
  readonly #ids = new SortableIds();
  readonly #uploads = new Map<string, StoredUpload>();
  readonly #sweep: Timer;
  /** Removals that nobody waits for but {@link close}. */
  readonly #removals = new Set<Promise<void>>();

  private constructor(options: UploadStoreOptions, folder: UploadFolder) {
    const { clock, log } = options;
    this.#maxPendingBytes = options.maxPendingBytes ?? DEFAULT_MAX_PENDING_BYTES;
    // More could never be announced, however long one waits.
    this.maxUploadBytes = Math.min(options.maxUploadBytes ?? DEFAULT_MAX_UPLOAD_BYTES, this.#maxPendingBytes);
    this.#lifeMs = options.lifeMs ?? DEFAULT_LIFE_MS;
    this.#log = log;
    this.#parts = { folder, clock, flushBytes: options.flushBytes ?? DEFAULT_FLUSH_BYTES };
    this.#sweep = every(clock, SWEEP_INTERVAL_MS, () => this.#removeExpired());
  }

  static async open(options: UploadStoreOptions): Promise<UploadStore> {
    const folder = await UploadFolder.open(options.folder, options.log);
    const kept = await folder.load();
    const store = new UploadStore(options, folder);
    for (const facts of kept) store.#uploads.set(facts.id, new StoredUpload(store.#parts, facts));
    store.#removeExpired();
    for (const upload of store.#uploads.values()) await upload.recover();
    return store;
  }

  /** @throws `body_too_large`, `media_type_unsupported`, `key_queue_full`, `store_full` */
  async create(principal: Principal, announced: Announcement): Promise<UploadView> {
    const { sizeBytes, sha256 = null } = announced;
    this.#checkSize(sizeBytes);
    const contentType = acceptedType(announced.contentType);
    this.#checkRoom(principal.tenant, sizeBytes);
    const nowMs = this.#parts.clock.now();
    const facts: UploadFacts = {
      version: 1,
      id: `upl_${this.#ids.next(nowMs)}`,
      owner: principal.tenant,
      contentType,
      sizeBytes,
      sha256,
      state: "receiving",
      receivedBytes: 0,
      touchedAtMs: nowMs,
      isUsed: false,
    };
    const upload = new StoredUpload(this.#parts, facts);
    // Before it is on disk: what is announced at the same moment must find its room taken.
    this.#uploads.set(facts.id, upload);
    try {
      await this.#parts.folder.create(facts);
    } catch (error) {
      this.#uploads.delete(facts.id);
      throw explained(error);
    }
    return this.#view(upload);
  }

  /**
   * Takes a part as it arrives; what came before it broke is kept.
   *
   * @throws `upload_not_found`, `upload_offset_wrong` with `details.offset`, `body_too_large`, `digest_mismatch`, `store_full`;
   * whatever `part.chunks` throws
   */
  async append(principal: Principal, id: string, part: Part): Promise<UploadView> {
    const upload = this.#find(principal, id);
    try {
      await upload.append(part);
    } catch (error) {
      throw explained(error);
    }
    return this.#view(upload);
  }

  /** @throws `upload_not_found` */
  get(principal: Principal, id: string): UploadView {
    return this.#view(this.#find(principal, id));
  }

  /** The whole input, for a task. It is kept for another life from now. @throws `upload_not_found`, `upload_incomplete` */
  async read(principal: Principal, id: string): Promise<UploadedInput> {
    const upload = this.#find(principal, id);
    return { contentType: upload.facts.contentType, bytes: await upload.read() };
  }

  /** A part that is still arriving is told. @throws `upload_not_found` */
  async remove(principal: Principal, id: string): Promise<void> {
    const upload = this.#find(principal, id);
    this.#uploads.delete(id);
    await upload.remove();
  }

  /** Waits for the parts that are arriving: close what they come through first. */
  async close(): Promise<void> {
    this.#sweep.cancel();
    await Promise.all([...this.#uploads.values()].map((upload) => upload.idle()));
    await Promise.all(this.#removals);
  }

  /** Another key's upload is as good as none. */
  #find(principal: Principal, id: string): StoredUpload {
    const upload = this.#uploads.get(id);
    const isVisible = upload?.facts.owner === principal.tenant || isAdmin(principal);
    if (upload !== undefined && isVisible && !this.#isExpired(upload)) return upload;
    throw fail("upload_not_found", `There is no upload ${id}.`, { upload: id });
  }

  #checkSize(sizeBytes: number): void {
    const limitBytes = this.maxUploadBytes;
    if (sizeBytes <= limitBytes) return;
    throw fail(
      "body_too_large",
      `An upload of ${sizeBytes} bytes is over the limit of ${limitBytes} bytes.`,
      {
        limitBytes,
      },
    );
  }

  #checkRoom(keyId: string, sizeBytes: number): void {
    let pendingBytes = 0;
    let pendingUploads = 0;
    for (const { facts } of this.#uploads.values()) {
      if (facts.owner !== keyId || (facts.isUsed && facts.state === "complete")) continue;
      pendingBytes += facts.sizeBytes;
      pendingUploads += 1;
    }
    if (pendingBytes + sizeBytes > this.#maxPendingBytes) {
      throw tooMuchPending("bytes", pendingBytes, this.#maxPendingBytes);
    }
    if (pendingUploads >= MAX_PENDING_UPLOADS) {
      throw tooMuchPending("uploads", pendingUploads, MAX_PENDING_UPLOADS);
    }
  }

  #isExpired(upload: StoredUpload): boolean {
    return !upload.isBusy && this.#expiresAtMs(upload) <= this.#parts.clock.now();
  }

  #expiresAtMs({ facts }: StoredUpload): number {
    return facts.touchedAtMs + this.#lifeMs;
  }

  #removeExpired(): void {
    for (const [id, upload] of this.#uploads) {
      if (!this.#isExpired(upload)) continue;
      this.#uploads.delete(id);
      const removal = upload
        .remove()
        .catch((err) => this.#log.error({ err, uploadId: id }, "an expired upload could not be removed"))
        .finally(() => this.#removals.delete(removal));
      this.#removals.add(removal);
    }
  }

  #view(upload: StoredUpload): UploadView {
    const { id, sizeBytes, receivedBytes, contentType } = upload.facts;
    return {
      id,
      sizeBytes,
      receivedBytes,
      contentType,
      isComplete: upload.state === "complete",
      expiresAtMs: this.#expiresAtMs(upload),
    };
  }
}

/** Without its parameters. @throws `media_type_unsupported` */
function acceptedType(contentType: string): string {
  const type = (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
  if (type === "application/json" || /^image\/[a-z0-9][a-z0-9.+-]*$/.test(type)) return type;
  const message = `An upload of \`${contentType}\` is of no use to a task; upload a picture as image/*, or an inference request as application/json.`;
  throw fail("media_type_unsupported", message, { accepted: UPLOAD_CONTENT_TYPES });
}

function tooMuchPending(unit: "bytes" | "uploads", pending: number, limit: number): Error {
  const message = `This key has announced ${pending} ${unit} that no task has used yet, of at most ${limit}. Use or delete some first.`;
  return fail("key_queue_full", message, { pending, limit, unit, retryAfterSeconds: RETRY_AFTER_SECONDS });
}

/** The one fault of the disk that a client can wait out. */
function explained(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  const message = "There is no room left on the disk for uploads; what was confirmed is kept.";
  return fail("store_full", message, {}, error);
}
