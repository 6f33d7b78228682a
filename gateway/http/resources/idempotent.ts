/** Requests that make something and carry an `Idempotency-Key`: the second one finds what the first one made. */

import { createHash } from "node:crypto";
import { z } from "zod";
import type { Principal } from "../../auth/principal.ts";
import type { Document } from "../../store/task-store.ts";
import type { Idempotency } from "../../tasks/idempotency.ts";
import { parse } from "../endpoint.ts";
import type { Request } from "../exchange.ts";

/** As headers carry it. */
const keySchema = z.object({
  "Idempotency-Key": z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, "expected 1 to 255 printable ASCII characters without spaces"),
});

export const REPLAYED = { "idempotency-replayed": "true" };

export interface Idempotent<Made> {
  /** @param documents to be stored with what is made */
  make(documents: (madeId: string) => readonly Document[]): Promise<Made>;
  find(madeId: string): Promise<Made> | Made;
}

/** @throws `request_invalid`, `idempotency_conflict`, `idempotency_in_progress`, and what `make` and `find` throw */
export async function idempotently<Made>(
  idempotency: Idempotency,
  request: Request,
  principal: Principal,
  { make, find }: Idempotent<Made>,
): Promise<{ made: Made; isReplay: boolean }> {
  const given = request.headers.get("idempotency-key");
  if (given === undefined) return { made: await make(() => []), isReplay: false };
  const key = parse({ "Idempotency-Key": given }, keySchema)["Idempotency-Key"];
  const begun = idempotency.begin(principal.tenant, key, hashOf(request));
  if (begun.kind === "replay") return { made: await find(begun.madeId), isReplay: true };
  try {
    return { made: await make((madeId) => [begun.document(madeId)]), isReplay: false };
  } finally {
    begun.done();
  }
}

/** What tells a repeated request from another one. */
export function hashOf({ method, path, query, headers, body }: Request): string {
  const head = [method, path, query.toString(), headers.get("content-type") ?? ""].join("\n");
  return createHash("sha256").update(head).update("\n").update(body).digest("hex");
}
