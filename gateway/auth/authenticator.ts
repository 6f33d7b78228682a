/** From what a request presents to whoever sent it: each kind of credential to the part that knows it. */

import { fail } from "@legacygpu/shared/errors";
import type { RequestHead } from "../http/exchange.ts";
import type { Principal } from "./principal.ts";

/** @throws `auth_invalid`, the same and in the same time for an unknown, wrong, revoked and expired credential. */
export interface CredentialSource {
  /** @param head for the address that it comes from. */
  authenticate(presented: string, head: RequestHead): Principal;
}

/** @throws `auth_invalid` */
export interface TokenSource {
  authenticate(token: string): Promise<Principal>;
}

export interface AuthenticatorParts {
  /** `lgk_…`, `lgw_…`, and whatever stands in the configuration. */
  readonly keys: CredentialSource;
  /** `lgi_…`: identities of enrolled workers. */
  readonly identities: CredentialSource;
  /** JWTs. */
  readonly tokens: TokenSource;
}

const JWT_FORM = /^[\w-]+\.[\w-]+\.[\w-]*$/;
const IDENTITY_PREFIX = "lgi_";

export class Authenticator {
  readonly #parts: AuthenticatorParts;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  /** At once for keys, later for tokens. @throws `auth_missing`, `auth_invalid` */
  authenticate(head: RequestHead): Principal | Promise<Principal> {
    const presented = bearerOf(head);
    return JWT_FORM.test(presented)
      ? this.#parts.tokens.authenticate(presented)
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

/** @throws `auth_missing` */
export function bearerOf({ headers }: RequestHead): string {
  const match = /^bearer +(\S+)$/i.exec(headers.get("authorization") ?? "");
  if (match?.[1] === undefined) throw fail("auth_missing");
  return match[1];
}
