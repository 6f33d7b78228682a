/** What two sets of scopes have in common, where `admin` stands for all but `worker`. */

import { SCOPES, type Scope } from "@legacygpu/shared/api/keys";

export function includesScope(scopes: ReadonlySet<Scope>, scope: Scope): boolean {
  return scopes.has(scope) || (scopes.has("admin") && scope !== "worker");
}

/** Never `worker`: a token is for people and their programs, not for machines. */
export function commonScopes(one: ReadonlySet<Scope>, other: ReadonlySet<Scope>): ReadonlySet<Scope> {
  if (one.has("admin") && other.has("admin")) return new Set<Scope>(["admin"]);
  return new Set(
    SCOPES.filter((scope) => scope !== "worker" && includesScope(one, scope) && includesScope(other, scope)),
  );
}
