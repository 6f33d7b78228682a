/** Who is calling, as every later decision sees it. Made from a credential only, never from what a request says. */

import type { Scope } from "@legacygpu/shared/api/keys";
import { fail } from "@legacygpu/shared/errors";

export interface Principal {
  /**
   * client: an API key, or a token that was made from one. worker: a worker key or the identity of an enrolled worker. external: a
   * token of a configured OpenID Connect issuer.
   */
  readonly kind: "client" | "worker" | "external";
  /** Public id of the key, of the enrolled worker, or of the subject at its issuer. */
  readonly keyId: string;
  /** Owns what the caller makes; nobody of another tenant gets to see it. */
  readonly tenant: string;
  /** For people: audit log, lists. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** The only models that it may use; absent: all. */
  readonly models?: ReadonlySet<string> | undefined;
  /** The only sites that its tasks may run at, or that it may be a worker of; absent: all. */
  readonly sites?: ReadonlySet<string> | undefined;
  /** Of an enrolled worker: the only worker id that it may use. */
  readonly workerId?: string | undefined;
  /** When it came with an access token: the id of the token. */
  readonly tokenId?: string | undefined;
  /** When the credential ends by itself. */
  readonly expiresAtMs?: number | undefined;
}

export function isAdmin(principal: Principal): boolean {
  return principal.scopes.has("admin");
}

/**
 * @throws `auth_forbidden` naming the scope. `admin` includes every scope but `worker`: a person's key must not be able to pose as a machine.
 */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.has(scope) || (isAdmin(principal) && scope !== "worker")) return;
  throw fail("auth_forbidden", `This credential does not have the scope \`${scope}\`.`, {
    requiredScope: scope,
    scopes: [...principal.scopes],
  });
}

/** Whether it came with a token, its own or of another issuer, and not with a key. */
export function isByToken({ kind, tokenId }: Principal): boolean {
  return kind === "external" || tokenId !== undefined;
}

/** @throws `auth_forbidden` for whoever came with a token: what outlives a token must not be made with one that was stolen. */
export function requireKey(principal: Principal): void {
  if (!isByToken(principal)) return;
  throw fail("auth_forbidden", "What this makes would outlive your access token: come with an API key.");
}

export function mayUseModel({ models }: Principal, name: string): boolean {
  return models === undefined || models.has(name);
}

/** @throws `auth_forbidden` */
export function requireModel(principal: Principal, name: string): void {
  if (mayUseModel(principal, name)) return;
  throw fail("auth_forbidden", `This credential may not use the model ${name}.`, { model: name });
}
