/**
 * The models that can be asked for: name and version → file, manifest, tensor specs. Versions never change; aliases move from one to
 * another.
 */

import { join } from "node:path";
import type { ModelJson } from "@legacygpu/shared/api/models";
import type { Clock } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { type Digest, type Manifest, manifestSchema, type Requirements } from "@legacygpu/shared/manifest";
import type { BlobUploadLimits } from "./blob-uploads.ts";
import { type Blobs, digestOf } from "./blobs.ts";
import type { ModelContents } from "./contents.ts";
import { describeAccepted, inspectModel } from "./inspection.ts";
import { checkManifest } from "./manifest-checks.ts";
import { assertFreeForVersion, ModelFamily } from "./model-family.ts";
import { ModelFiles } from "./model-files.ts";
import { type Families, ModelIndex } from "./model-index.ts";
import { type Model, type ModelRecord, modelJson, toModel } from "./model-record.ts";
import type { ScanPolicy } from "./scan-policy.ts";

export type { Model } from "./model-record.ts";

export interface CatalogueOptions {
  /** What models may be made of, where that differs from the default. */
  readonly policy?: Partial<ScanPolicy>;
  readonly uploads?: BlobUploadLimits;
}

const NO_ALIASES: ReadonlyMap<string, string> = new Map();

export class Catalogue {
  readonly files: ModelFiles;
  readonly #index: ModelIndex;
  readonly #clock: Clock;
  readonly #policy: Partial<ScanPolicy>;

  private constructor(files: ModelFiles, index: ModelIndex, clock: Clock, policy: Partial<ScanPolicy>) {
    this.files = files;
    this.#index = index;
    this.#clock = clock;
    this.#policy = policy;
  }

  /** @throws `config_invalid` when the index is damaged. */
  static async open(folder: string, clock: Clock, options: CatalogueOptions = {}): Promise<Catalogue> {
    let isNamed: (digest: Digest) => boolean = () => true;
    const files = await ModelFiles.open({
      folder,
      clock,
      limits: options.uploads,
      isNamed: (digest) => isNamed(digest),
    });
    const index = await ModelIndex.open(join(folder, "index.json"), (record) => load(record, files.blobs));
    isNamed = (digest) => names(index.families, digest);
    await files.care.removeAbandoned();
    return new Catalogue(files, index, clock, options.policy ?? {});
  }

  get blobs(): Blobs {
    return this.files.blobs;
  }

  /** Versions of one model beside each other, oldest first. */
  list(): Model[] {
    return [...this.#index.families.values()].flatMap(({ versions }) => [...versions.values()]);
  }

  /** All versions of one model, oldest first. @throws `model_not_found` */
  versions(name: string): Model[] {
    return [...this.family(name).versions.values()];
  }

  /** @throws `model_not_found` */
  family(name: string): ModelFamily {
    const family = this.#index.families.get(name);
    if (family !== undefined) return family;
    throw fail("model_not_found", `Request for unknown model: '${name}' is not found`, { model: name });
  }

  /** @param version or an alias of one; absent: the newest. @throws `model_not_found` */
  find(name: string, version?: string): Model {
    const family = this.family(name);
    return version === undefined ? family.newest : family.find(version);
  }

  /** What the manifest of this version asks of a worker; undefined: nothing, or it is not there. */
  needsOf({ name, version }: Pick<Model["ref"], "name" | "version">): Requirements | undefined {
    return this.#index.families.get(name)?.versions.get(version)?.manifest.requirements;
  }

  /** Whether this version is still there, with these contents: a removed one may have been pushed again as something else. */
  has({ name, version, file, manifest }: Model["ref"]): boolean {
    const known = this.#index.families.get(name)?.versions.get(version)?.ref;
    return known?.file === file && known.manifest === manifest;
  }

  /** Of a version: the names that point to it now. */
  aliasesOf({ ref }: Model): string[] {
    return this.#index.families.get(ref.name)?.aliasesOf(ref.version) ?? [];
  }

  json(model: Model): ModelJson {
    return modelJson(model, this.aliasesOf(model));
  }

  /**
   * Adds a version whose file was stored before. Idempotent.
   *
   * @throws `blob_not_found`, `model_invalid`, `store_full`; `request_invalid` when the version is named like an alias;
   * `model_version_exists` when it has other contents
   */
  add(
    name: string,
    version: string,
    file: Digest,
    given: Manifest,
  ): Promise<{ model: Model; isNew: boolean }> {
    const bytes = manifestBytes(given);
    const manifest = { bytes, digest: digestOf(bytes) };
    const { care } = this.files;
    return care.pinned(file, () =>
      care.pinned(manifest.digest, () => this.#add({ name, version, file }, given, manifest)),
    );
  }

  /** Moves the alias, or makes it. @param version or another alias of it. @throws `model_not_found`, `request_invalid`, `store_full` */
  async setAlias(name: string, alias: string, version: string): Promise<Model> {
    await this.#change(name, (family) => family.withAlias(alias, version));
    return this.find(name, alias);
  }

  /** @throws `model_not_found`, `request_invalid`, `store_full` */
  async removeAlias(name: string, alias: string): Promise<void> {
    await this.#change(name, (family) => family.withoutAlias(alias));
  }

  /**
   * Removes a model, or one of its versions with the aliases that point to it, and the files that no other model has.
   *
   * @throws `model_not_found`, `store_full`
   */
  async remove(name: string, version?: string): Promise<Model[]> {
    let removed: Model[] = [];
    await this.#change(name, (family) => {
      removed = version === undefined ? [...family.versions.values()] : [family.find(version)];
      return version === undefined ? undefined : family.withoutVersion(family.find(version).ref.version);
    });
    const { care } = this.files;
    await care.release(removed.flatMap(({ ref }) => [ref.file, ref.manifest]));
    await care.removeAbandoned();
    return removed;
  }

  async #add(
    named: Pick<ModelRecord, "name" | "version" | "file">,
    given: Manifest,
    stored: { readonly bytes: Buffer; readonly digest: Digest },
  ): Promise<{ model: Model; isNew: boolean }> {
    const { name, version, file } = named;
    const fileBytes = await this.blobs.read(file);
    const family = this.#index.families.get(name);
    const existing = family?.versions.get(version);
    if (existing !== undefined) return { model: sameContents(existing, file, stored.digest), isNew: false };
    assertFreeForVersion(version, family?.aliases ?? NO_ALIASES);
    const inspection = inspectModel(fileBytes, this.#policy);
    checkManifest(given, inspection);
    await this.blobs.receive(stored.digest, chunksOf(stored.bytes));
    const model: Model = {
      ref: { name, version, file, fileBytes: fileBytes.length, manifest: stored.digest },
      manifest: withoutSchemaKey(given),
      inputs: inspection.inputs,
      outputs: inspection.outputs,
      createdAtMs: this.#clock.now(),
      contents: inspection.contents,
    };
    return this.#insert(model);
  }

  /** Somebody else may have been pushing the same version meanwhile. */
  async #insert(model: Model): Promise<{ model: Model; isNew: boolean }> {
    const { name, version, file, manifest } = model.ref;
    let result = { model, isNew: true };
    await this.#index.change((families) => {
      const family = families.get(name);
      const existing = family?.versions.get(version);
      if (existing !== undefined) {
        result = { model: sameContents(existing, file, manifest), isNew: false };
        return families;
      }
      const next = family?.withVersion(model) ?? new ModelFamily(name, new Map([[version, model]]));
      return new Map(families).set(name, next);
    });
    return result;
  }

  /** @param edit undefined: nothing is left of it */
  #change(name: string, edit: (family: ModelFamily) => ModelFamily | undefined): Promise<void> {
    return this.#index.change((families) => {
      const next = edit(families.get(name) ?? this.family(name));
      const changed = new Map(families);
      if (next === undefined) changed.delete(name);
      else changed.set(name, next);
      return changed;
    });
  }
}

async function load(record: ModelRecord, blobs: Blobs): Promise<Model> {
  const manifest = manifestSchema.parse(JSON.parse((await blobs.read(record.manifest)).toString("utf8")));
  const contents = record.contents ?? (await contentsOfFile(record.file, blobs));
  return toModel(contents === undefined ? record : { ...record, contents }, manifest);
}

/** For what an earlier gateway accepted without keeping this. A file that cannot be read now was served until now. */
async function contentsOfFile(file: Digest, blobs: Blobs): Promise<ModelContents | undefined> {
  try {
    return describeAccepted(await blobs.read(file)).contents;
  } catch {
    return undefined;
  }
}

function names(families: Families, digest: Digest): boolean {
  for (const { versions } of families.values())
    for (const { ref } of versions.values()) if (ref.file === digest || ref.manifest === digest) return true;
  return false;
}

async function* chunksOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** For editors only: the same manifest with and without it is the same manifest. */
function withoutSchemaKey({ $schema: _, ...manifest }: Manifest): Manifest {
  return manifest;
}

function manifestBytes(manifest: Manifest): Buffer {
  return Buffer.from(JSON.stringify(withoutSchemaKey(manifest)));
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
