/** The forms of documents that people write, for their editors. Open to everybody: there is nothing in them that is not in the source. */

import { manifestJsonSchema } from "@legacygpu/shared/manifest-schema";
import { type Endpoint, json } from "../endpoint.ts";

export function schemaEndpoints(): Endpoint[] {
  const manifest = manifestJsonSchema();
  return [{ method: "GET", pattern: "/schemas/manifest.json", handle: () => json(200, manifest) }];
}
