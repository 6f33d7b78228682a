/** From a request to whoever sent it, if they may. */

import type { Scope } from "@legacygpu/shared/api/keys";
import { fail } from "@legacygpu/shared/errors";
import type { RequestHead } from "../http/exchange.ts";
import type { KeyRing } from "./key-ring.ts";
import { isAdmin, type Principal } from "./principal.ts";

/**
 * @throws `auth_missing`, `auth_invalid`; `auth_forbidden` when the key lacks `scope`. `admin` includes every scope but `worker`: a
 * person's key must not be able to pose as a machine.
 */
export function authenticate(keys: KeyRing, head: RequestHead, scope: Scope): Principal {
  const principal = keys.authenticate(bearerOf(head));
  const isPermitted = principal.scopes.has(scope) || (isAdmin(principal) && scope !== "worker");
  if (isPermitted) return principal;
  throw fail("auth_forbidden", `This key does not have the scope \`${scope}\`.`, {
    requiredScope: scope,
    scopes: [...principal.scopes],
  });
}

function bearerOf(head: RequestHead): string {
  const header = head.headers.get("authorization");
  if (header === undefined || header === "") throw fail("auth_missing");
  const match = /^bearer +(\S+)$/i.exec(header);
  if (match?.[1] === undefined) throw fail("auth_missing");
  return match[1];
}
