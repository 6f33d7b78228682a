/** From what a request presents to whoever sent it: each kind of credential to the part that knows it. */

import { fail } from "@legacygpu/shared/errors";
import type { RequestHead } from "../http/exchange.ts";
import type { Principal } from "./principal.ts";

/** @throws `auth_invalid`, the same and in the same time for an unknown, wrong, revoked and expired credential. */
export interface CredentialSource {
  /** @param head for the address that it comes from. */
  authenticate(presented: string, head: RequestHead): Principal;
}

/** @throws `auth_invalid`; `timed_out` when the issuer of the token cannot be asked for its keys. */
export interface TokenSource {
  /** @param head for the address that it comes from. */
  authenticate(token: string, head: RequestHead): Promise<Principal>;
}

export interface AuthenticatorParts {
  /** `lgk_…`, `lgw_…`, and whatever stands in the configuration. */
  readonly keys: CredentialSource;
  /** `lgi_…`: identities of enrolled workers. */
  readonly identities: CredentialSource;
  /** JWTs. */
  readonly tokens: TokenSource;
  /** Whoever shows nothing, where nobody has to. */
  readonly anybody?: Principal | undefined;
}

export const JWT_FORM = /^[\w-]+\.[\w-]+\.[\w-]*$/;
export const IDENTITY_PREFIX = "lgi_";

export class Authenticator {
  readonly #parts: AuthenticatorParts;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  /** At once for keys, later for tokens. @throws `auth_missing`, `auth_invalid` */
  authenticate(head: RequestHead): Principal | Promise<Principal> {
    const { anybody } = this.#parts;
    if (anybody !== undefined && !head.headers.has("authorization") && !isOfWebPage(head)) return anybody;
    const presented = bearerOf(head);
    return JWT_FORM.test(presented)
      ? this.#parts.tokens.authenticate(presented, head)
      : this.#authenticateHere(presented, head);
  }

  /** For handshakes of the agent link, where tokens are for nobody. @throws `auth_missing`, `auth_invalid` */
  authenticateWorker(head: RequestHead): Principal {
    return this.#authenticateHere(bearerOf(head), head);
  }

  #authenticateHere(presented: string, head: RequestHead): Principal {
    const { keys, identities } = this.#parts;
    const source = presented.startsWith(IDENTITY_PREFIX) ? identities : keys;
    return source.authenticate(presented, head);
  }
}

/** A browser sends these by itself, and a page of anybody's can make it call an address on its own machine, under any name. */
function isOfWebPage({ headers }: RequestHead): boolean {
  const isLocalName = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(headers.get("host") ?? "");
  return !isLocalName || headers.has("origin") || headers.has("sec-fetch-site");
}

/** @throws `auth_missing` */
export function bearerOf({ headers }: RequestHead): string {
  const match = /^bearer +(\S+)$/i.exec(headers.get("authorization") ?? "");
  if (match?.[1] === undefined) throw fail("auth_missing");
  return match[1];
}
