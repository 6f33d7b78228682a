/** Which models there are, in memory and in a file. Changes happen one after the other, and nobody sees one before it is on disk. */

import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import { modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";
import { z } from "zod";
import { explainFault } from "./disk-fault.ts";
import { ModelFamily } from "./model-family.ts";
import { type Model, type ModelRecord, modelRecordSchema, toRecord } from "./model-record.ts";

const aliasSchema = z.strictObject({
  model: modelNameSchema,
  alias: modelVersionSchema,
  version: modelVersionSchema,
});
/** 1 had neither aliases nor contents. */
const indexSchema = z.union([
  z.strictObject({ version: z.literal(1), models: z.array(modelRecordSchema) }),
  z.strictObject({
    version: z.literal(2),
    models: z.array(modelRecordSchema),
    aliases: z.array(aliasSchema),
  }),
]);

export type Families = ReadonlyMap<string, ModelFamily>;

export class ModelIndex {
  readonly #file: string;
  #families: Families = new Map();
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(file: string) {
    this.#file = file;
  }

  /**
   * @param load makes a model of what the index says about it
   * @throws `config_invalid` when the file is damaged
   */
  static async open(file: string, load: (record: ModelRecord) => Promise<Model>): Promise<ModelIndex> {
    const index = new ModelIndex(file);
    const kept = await readJsonFile(file, "model index", indexSchema);
    const versions = new Map<string, Map<string, Model>>();
    for (const record of kept?.models ?? []) {
      const family = versions.get(record.name) ?? new Map<string, Model>();
      versions.set(record.name, family.set(record.version, await load(record)));
    }
    const aliases = new Map<string, Map<string, string>>();
    for (const { model, alias, version } of kept?.version === 2 ? kept.aliases : [])
      aliases.set(model, (aliases.get(model) ?? new Map<string, string>()).set(alias, version));
    index.#families = new Map(
      [...versions].map(([name, known]) => [name, new ModelFamily(name, known, aliases.get(name))]),
    );
    return index;
  }

  get families(): Families {
    return this.#families;
  }

  /** @param edit looks at the families as they are when its turn has come; @returns those to be, the same ones for no change */
  change(edit: (now: Families) => Families): Promise<void> {
    const turn = this.#changing.then(async () => {
      const next = edit(this.#families);
      if (next === this.#families) return;
      await this.#write(next);
      this.#families = next;
    });
    this.#changing = turn.catch(() => undefined);
    return turn;
  }

  async #write(families: Families): Promise<void> {
    const all = [...families.values()];
    const document = {
      version: 2,
      models: all.flatMap(({ versions }) => [...versions.values()].map(toRecord)),
      aliases: all.flatMap(({ name, aliases }) =>
        [...aliases].map(([alias, version]) => ({ model: name, alias, version })),
      ),
    } satisfies z.infer<typeof indexSchema>;
    try {
      await writeFileAtomic(this.#file, `${JSON.stringify(document, null, 2)}\n`, { mode: 0o600 });
    } catch (error) {
      throw explainFault(error);
    }
  }
}
