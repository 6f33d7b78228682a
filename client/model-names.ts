/** Names of models, versions and aliases before they become part of an address: what is no path segment would lead elsewhere. */

import { fail } from "@legacygpu/shared/errors";
import { modelNameSchema, modelVersionSchema } from "@legacygpu/shared/manifest";

const SCHEMAS = { name: modelNameSchema, version: modelVersionSchema, alias: modelVersionSchema } as const;
type Kind = keyof typeof SCHEMAS;

/** @throws `request_invalid` with the name and the reason */
export function assertNames(given: { readonly [kind in Kind]?: string | undefined }): void {
  for (const kind of Object.keys(SCHEMAS) as Kind[]) {
    const text = given[kind];
    const parsed = text === undefined ? undefined : SCHEMAS[kind].safeParse(text);
    if (parsed === undefined || parsed.success) continue;
    const reason = parsed.error.issues[0]?.message;
    throw fail("request_invalid", `${kind}: "${text}" cannot be used: ${reason}`, { path: kind });
  }
}
