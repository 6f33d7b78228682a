/** Callers as the gateway sees them, for tests that begin behind the door. */

import type { Scope } from "@legacygpu/shared/api/keys";
import type { Principal } from "../../gateway/auth/principal.ts";

/** A client whose key is a tenant of its own. */
export function principal(keyId: string, ...scopes: Scope[]): Principal {
  return { kind: "client", keyId, tenant: keyId, name: keyId, scopes: new Set(scopes) };
}
