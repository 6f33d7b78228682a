/** All versions of one model and the names that point to one of them. Never changes: a change makes another one. */

import { fail } from "@legacygpu/shared/errors";
import type { Model } from "./model-record.ts";

/** Points by itself to the version that was pushed last. */
export const LATEST = "latest";

export class ModelFamily {
  readonly name: string;
  /** Oldest first; at least one. */
  readonly versions: ReadonlyMap<string, Model>;
  /** Those that were given; {@link LATEST} is not among them. */
  readonly aliases: ReadonlyMap<string, string>;
  readonly newest: Model;

  constructor(
    name: string,
    versions: ReadonlyMap<string, Model>,
    aliases: ReadonlyMap<string, string> = new Map(),
  ) {
    this.name = name;
    this.versions = versions;
    this.aliases = aliases;
    this.newest = [...versions.values()].at(-1) as Model;
  }

  /** @param version or an alias */
  seek(version: string): Model | undefined {
    // Its own name first: an index of an earlier gateway may have a version that is called like an alias.
    const own = this.versions.get(version);
    if (own !== undefined) return own;
    return version === LATEST ? this.newest : this.versions.get(this.aliases.get(version) ?? "");
  }

  /** A version by its own name or by one that points to it. @throws `model_not_found` */
  find(version: string): Model {
    const model = this.seek(version);
    if (model !== undefined) return model;
    throw fail(
      "model_not_found",
      `Request for unknown model: '${this.name}' version ${version} is not found`,
      {
        model: this.name,
        versions: [...this.versions.keys()],
        aliases: [...this.aliases.keys()],
      },
    );
  }

  /** The names that point to a version, {@link LATEST} first. */
  aliasesOf(version: string): string[] {
    const given = this.#givenTo(version);
    return version === this.newest.ref.version ? [LATEST, ...given] : given;
  }

  /** @throws `request_invalid` when the version is named like an alias */
  withVersion(model: Model): ModelFamily {
    const { version } = model.ref;
    assertFreeForVersion(version, this.aliases);
    return new ModelFamily(this.name, new Map(this.versions).set(version, model), this.aliases);
  }

  /** Its aliases go with it. @returns undefined when it was the last. */
  withoutVersion(version: string): ModelFamily | undefined {
    const versions = new Map(this.versions);
    versions.delete(version);
    if (versions.size === 0) return undefined;
    const aliases = new Map(this.aliases);
    for (const alias of this.#givenTo(version)) aliases.delete(alias);
    return new ModelFamily(this.name, versions, aliases);
  }

  /** @throws `model_not_found`; `request_invalid` when it is a version's name or moves by itself */
  withAlias(alias: string, version: string): ModelFamily {
    if (alias === LATEST) throw movesByItself();
    if (this.versions.has(alias)) {
      const message = `alias: ${alias} is a version of ${this.name}; an alias needs a name of its own`;
      throw fail("request_invalid", message, { path: "alias" });
    }
    const aliases = new Map(this.aliases).set(alias, this.find(version).ref.version);
    return new ModelFamily(this.name, this.versions, aliases);
  }

  /** @throws `model_not_found`, `request_invalid` */
  withoutAlias(alias: string): ModelFamily {
    if (alias === LATEST) throw movesByItself();
    const aliases = new Map(this.aliases);
    if (aliases.delete(alias)) return new ModelFamily(this.name, this.versions, aliases);
    throw fail("model_not_found", `Model ${this.name} has no alias ${alias}.`, {
      model: this.name,
      aliases: [...this.aliases.keys()],
    });
  }

  #givenTo(version: string): string[] {
    return [...this.aliases].filter(([, target]) => target === version).map(([alias]) => alias);
  }
}

/** @throws `request_invalid` */
export function assertFreeForVersion(version: string, aliases: ReadonlyMap<string, string>): void {
  if (version !== LATEST && !aliases.has(version)) return;
  const message = `version: ${version} is an alias, which points to a version; a version needs a name of its own`;
  throw fail("request_invalid", message, { path: "version" });
}

function movesByItself(): Error {
  return fail("request_invalid", "alias: latest moves by itself to the version that was pushed last", {
    path: "alias",
  });
}
