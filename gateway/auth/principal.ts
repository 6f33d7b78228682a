/** Who is calling, as every later decision sees it. */

import type { Scope } from "@legacygpu/shared/api/keys";

export interface Principal {
  readonly keyId: string;
  readonly scopes: ReadonlySet<Scope>;
}

export function isAdmin(principal: Principal): boolean {
  return principal.scopes.has("admin");
}
