/**
 * The one door: every request and every handshake comes through here before anything of it is read but its head.
 *
 * In this order: has this address failed too often, who is it, may they do this, and do their limits allow it now. Refusals are
 * counted against the address and told to the audit log.
 */

import type { Scope } from "@legacygpu/shared/api/keys";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { AuditLog } from "../audit/audit-log.ts";
import type { RequestHead } from "../http/exchange.ts";
import type { Authenticator } from "./authenticator.ts";
import { type Principal, requireScope } from "./principal.ts";

/** One request of somebody, from the door to its end. */
export interface Visit {
  /** For the answer: how much of its limit is left; absent when it has none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** @param receivedBytes of its body */
  leave(receivedBytes: number): void;
}

/** What the limits must do for the door. Addresses are only asked for when a limit needs one: it is a system call. */
export interface Limits {
  /** @throws `rate_limited` when the address has failed to authenticate too often. */
  checkAddress(head: RequestHead): void;
  authenticationFailed(head: RequestHead): void;
  /** @throws `rate_limited` for requests that need no credential. */
  enterUnknown(head: RequestHead): Visit;
  /** @throws `rate_limited`, `quota_exceeded` */
  enter(principal: Principal, head: RequestHead): Visit;
  /** @throws `rate_limited` when the address opens sockets too fast. */
  openSocket(head: RequestHead): void;
}

export interface Admitted {
  readonly principal: Principal;
  readonly visit: Visit;
}

export interface GatekeeperParts {
  readonly authenticator: Authenticator;
  readonly limits: Limits;
  readonly audit: Pick<AuditLog, "record">;
}

const NOBODY: Principal = { kind: "client", keyId: "", tenant: "", name: "", scopes: new Set() };

export class Gatekeeper {
  readonly #parts: GatekeeperParts;

  constructor(parts: GatekeeperParts) {
    this.#parts = parts;
  }

  /**
   * @param scope absent: open to everybody.
   * @throws `auth_missing`, `auth_invalid`, `auth_forbidden`, `rate_limited`, `quota_exceeded`
   */
  admit(head: RequestHead, scope: Scope | undefined): Admitted | Promise<Admitted> {
    const { limits, authenticator } = this.#parts;
    if (scope === undefined) return { principal: NOBODY, visit: limits.enterUnknown(head) };
    limits.checkAddress(head);
    const found = this.#orRefused(head, () => authenticator.authenticate(head));
    return found instanceof Promise ? this.#letInLater(found, head, scope) : this.#letIn(found, head, scope);
  }

  /** A handshake of the agent link. Throws like {@link admit}. */
  admitWorker(head: RequestHead): Principal {
    const { limits, authenticator } = this.#parts;
    limits.openSocket(head);
    limits.checkAddress(head);
    const principal = this.#orRefused(head, () => authenticator.authenticateWorker(head));
    this.#check(principal, head, "worker");
    return principal;
  }

  async #letInLater(found: Promise<Principal>, head: RequestHead, scope: Scope): Promise<Admitted> {
    let principal: Principal;
    try {
      principal = await found;
    } catch (error) {
      throw this.#refused(error, head);
    }
    return this.#letIn(principal, head, scope);
  }

  #letIn(principal: Principal, head: RequestHead, scope: Scope): Admitted {
    this.#check(principal, head, scope);
    return { principal, visit: this.#parts.limits.enter(principal, head) };
  }

  #check(principal: Principal, head: RequestHead, scope: Scope): void {
    try {
      requireScope(principal, scope);
    } catch (error) {
      const { keyId: actor, name: actorName, tenant } = principal;
      this.#record("auth.forbidden", head, { actor, actorName, tenant, details: { scope } });
      throw error;
    }
  }

  #orRefused<Value>(head: RequestHead, authenticate: () => Value): Value {
    try {
      return authenticate();
    } catch (error) {
      throw this.#refused(error, head);
    }
  }

  #refused(error: unknown, head: RequestHead): unknown {
    const { code } = asLegacyGpuError(error);
    if (code !== "auth_missing" && code !== "auth_invalid") return error;
    this.#parts.limits.authenticationFailed(head);
    this.#record("auth.refused", head, { details: { code } });
    // Anew, so that no cause and no detail of the credential gets any further.
    return fail(code);
  }

  #record(
    action: string,
    head: RequestHead,
    more: {
      actor?: string;
      actorName?: string;
      tenant?: string;
      details: Record<string, string>;
    },
  ): void {
    this.#parts.audit.record({
      action,
      target: `${head.method} ${head.path}`.slice(0, 200),
      outcome: "refused",
      address: head.remoteAddress,
      requestId: head.id,
      ...more,
    });
  }
}
