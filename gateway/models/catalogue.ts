/** The models that can be asked for: name and version → file, manifest, tensor specs. Versions never change. */

import { join } from "node:path";
import type { ModelJson } from "@legacygpu/shared/api/models";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import {
  type Digest,
  digestSchema,
  type Manifest,
  manifestSchema,
  modelNameSchema,
  modelVersionSchema,
} from "@legacygpu/shared/manifest";
import type { ModelRef } from "@legacygpu/shared/protocol/messages";
import { tensorSpecSchema } from "@legacygpu/shared/tensor";
import { z } from "zod";
import { modelKey } from "../tasks/record.ts";
import { Blobs, digestOf } from "./blobs.ts";
import { checkManifest, inspectModel, type ModelInterface } from "./inspection.ts";
import type { ScanPolicy } from "./scan-policy.ts";

const recordSchema = z.strictObject({
  name: modelNameSchema,
  version: modelVersionSchema,
  file: digestSchema,
  fileBytes: z.number(),
  manifest: digestSchema,
  inputs: z.array(tensorSpecSchema),
  outputs: z.array(tensorSpecSchema),
  createdAtMs: z.number(),
});
type ModelRecord = z.infer<typeof recordSchema>;
const indexSchema = z.strictObject({ version: z.literal(1), models: z.array(recordSchema) });

export interface Model extends ModelInterface {
  readonly ref: ModelRef;
  readonly manifest: Manifest;
  readonly createdAtMs: number;
}

export class Catalogue {
  readonly blobs: Blobs;
  readonly #indexFile: string;
  readonly #clock: Clock;
  readonly #policy: Partial<ScanPolicy>;
  /** By `name@version`, in the order of creation. */
  readonly #models = new Map<string, Model>();
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(blobs: Blobs, indexFile: string, clock: Clock, policy: Partial<ScanPolicy>) {
    this.blobs = blobs;
    this.#policy = policy;
    this.#indexFile = indexFile;
    this.#clock = clock;
  }

  /**
   * @param policy what models may be made of, where that differs from the default
   * @throws `config_invalid` when the index is damaged.
   */
  static async open(folder: string, clock: Clock, policy: Partial<ScanPolicy> = {}): Promise<Catalogue> {
    const catalogue = new Catalogue(
      await Blobs.open(join(folder, "blobs")),
      join(folder, "index.json"),
      clock,
      policy,
    );
    const index = await readJsonFile(catalogue.#indexFile, "model index", indexSchema);
    for (const record of index?.models ?? []) {
      const manifest = manifestSchema.parse(
        JSON.parse((await catalogue.blobs.read(record.manifest)).toString("utf8")),
      );
      catalogue.#models.set(modelKey(record), toModel(record, manifest));
    }
    return catalogue;
  }

  list(): Model[] {
    return [...this.#models.values()];
  }

  /** All versions of one model, oldest first. @throws `model_not_found` */
  versions(name: string): Model[] {
    const versions = this.list().filter(({ ref }) => ref.name === name);
    if (versions.length === 0)
      throw fail("model_not_found", `Request for unknown model: '${name}' is not found`, { model: name });
    return versions;
  }

  /** @param version absent: the newest. @throws `model_not_found` */
  find(name: string, version?: string): Model {
    if (version === undefined) return this.versions(name).at(-1) as Model;
    const model = this.#models.get(modelKey({ name, version }));
    if (model !== undefined) return model;
    const known = this.versions(name).map(({ ref }) => ref.version);
    throw fail("model_not_found", `Request for unknown model: '${name}' version ${version} is not found`, {
      model: name,
      versions: known,
    });
  }

  /**
   * Adds a version whose file was stored before. Idempotent.
   *
   * @throws `blob_not_found`, `model_invalid`; `model_version_exists` when the version has other contents
   */
  async add(
    name: string,
    version: string,
    file: Digest,
    manifest: Manifest,
  ): Promise<{ model: Model; isNew: boolean }> {
    const fileBytes = await this.blobs.read(file);
    const manifestBytes = Buffer.from(JSON.stringify(manifest));
    const manifestDigest = digestOf(manifestBytes);
    const existing = this.#models.get(modelKey({ name, version }));
    if (existing !== undefined) return { model: sameContents(existing, file, manifestDigest), isNew: false };
    const modelInterface = inspectModel(fileBytes, this.#policy);
    checkManifest(manifest, modelInterface);
    await this.blobs.receive(manifestDigest, chunksOf(manifestBytes));
    const record: ModelRecord = {
      name,
      version,
      file,
      fileBytes: fileBytes.length,
      manifest: manifestDigest,
      inputs: [...modelInterface.inputs],
      outputs: [...modelInterface.outputs],
      createdAtMs: this.#clock.now(),
    };
    const model = toModel(record, manifest);
    this.#models.set(modelKey(record), model);
    await this.#save();
    return { model, isNew: true };
  }

  #save(): Promise<unknown> {
    const write = (): Promise<void> => {
      const index = { version: 1, models: this.list().map(toRecord) };
      return writeFileAtomic(this.#indexFile, `${JSON.stringify(index, null, 2)}\n`, { mode: 0o600 });
    };
    this.#writing = this.#writing.then(write, write);
    return this.#writing;
  }
}

export function modelJson({ ref, manifest, inputs, outputs, createdAtMs }: Model): ModelJson {
  return {
    name: ref.name,
    version: ref.version,
    file: ref.file,
    size_bytes: ref.fileBytes,
    ...(manifest.description === undefined ? {} : { description: manifest.description }),
    inputs: [...inputs],
    outputs: [...outputs],
    accepts_images: manifest.preprocess !== undefined,
    created_at: new Date(createdAtMs).toISOString(),
  };
}

async function* chunksOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

function sameContents(existing: Model, file: Digest, manifest: Digest): Model {
  if (existing.ref.file === file && existing.ref.manifest === manifest) return existing;
  const { name, version } = existing.ref;
  throw fail(
    "model_version_exists",
    `Version ${version} of ${name} exists with other contents; versions never change. Push under a new version.`,
    { model: name, version, file: existing.ref.file },
  );
}

function toModel(record: ModelRecord, manifest: Manifest): Model {
  const { name, version, file, fileBytes, manifest: manifestDigest, inputs, outputs, createdAtMs } = record;
  return {
    ref: { name, version, file, fileBytes, manifest: manifestDigest },
    manifest,
    inputs,
    outputs,
    createdAtMs,
  };
}

function toRecord({ ref, inputs, outputs, createdAtMs }: Model): ModelRecord {
  return { ...ref, inputs: [...inputs], outputs: [...outputs], createdAtMs };
}
