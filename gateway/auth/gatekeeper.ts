/**
 * The one door: every request and every handshake comes through here before anything of it is read but its head.
 *
 * In this order: has this address failed too often, who is it, may they do this, and do their limits allow it now. Refusals are
 * counted against the address and told to the audit log.
 */

import type { Scope } from "@legacygpu/shared/api/keys";
import type { Clock, Timer } from "@legacygpu/shared/clock";
import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { AuditLog } from "../audit/audit-log.ts";
import type { RequestHead } from "../http/exchange.ts";
import type { Authenticator } from "./authenticator.ts";
import { isByToken, type Principal, requireKey, requireScope } from "./principal.ts";

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

/** Credentials that can end before their time. */
export interface Revocable {
  /** @param listener is told the `keyId` of each principal whose credential has ended. */
  onRevoked(listener: (keyId: string) => void): void;
}

/** Who may come in by a route. */
export interface Access {
  /** Absent: everybody. any: a credential is needed, whatever it permits. */
  readonly scope?: Scope | "any" | undefined;
  /** Nobody who comes with a token. */
  readonly isForKeys?: boolean | undefined;
}

export interface GatekeeperParts {
  readonly clock: Clock;
  readonly authenticator: Authenticator;
  readonly revocable: readonly Revocable[];
  readonly limits: Limits;
  readonly audit: Pick<AuditLog, "record">;
}

const NOBODY: Principal = { kind: "client", keyId: "", tenant: "", name: "", scopes: new Set() };

export class Gatekeeper {
  readonly #parts: GatekeeperParts;
  /** By `keyId`. */
  readonly #endings = new Map<string, Set<() => void>>();

  constructor(parts: GatekeeperParts) {
    this.#parts = parts;
    for (const source of parts.revocable) source.onRevoked((keyId) => this.#ended(keyId));
  }

  /**
   * Calls `listener` once, should the credential of a principal that was admitted end: a token by itself too, of which nobody else would
   * tell. @returns how to stop that.
   */
  whenEnded(principal: Principal, listener: () => void): () => void {
    const { clock } = this.#parts;
    const { keyId, expiresAtMs } = principal;
    const listeners = this.#endings.get(keyId) ?? new Set();
    let expiry: Timer | undefined;
    const stop = (): void => {
      expiry?.cancel();
      listeners.delete(end);
      if (listeners.size === 0 && this.#endings.get(keyId) === listeners) this.#endings.delete(keyId);
    };
    const end = (): void => {
      stop();
      listener();
    };
    this.#endings.set(keyId, listeners.add(end));
    if (isByToken(principal) && expiresAtMs !== undefined)
      expiry = clock.after(Math.max(0, expiresAtMs - clock.now()), end);
    return stop;
  }

  #ended(keyId: string): void {
    const listeners = this.#endings.get(keyId) ?? [];
    this.#endings.delete(keyId);
    for (const listener of listeners) listener();
  }

  /** @throws `auth_missing`, `auth_invalid`, `auth_forbidden`, `rate_limited`, `quota_exceeded` */
  admit(head: RequestHead, access: Access): Admitted | Promise<Admitted> {
    const { limits, authenticator } = this.#parts;
    if (access.scope === undefined) return { principal: NOBODY, visit: limits.enterUnknown(head) };
    limits.checkAddress(head);
    const found = this.#orRefused(head, () => authenticator.authenticate(head));
    return found instanceof Promise
      ? this.#letInLater(found, head, access)
      : this.#letIn(found, head, access);
  }

  /** A handshake of the agent link. Throws like {@link admit}. */
  admitWorker(head: RequestHead): Principal {
    const { limits, authenticator } = this.#parts;
    limits.openSocket(head);
    limits.checkAddress(head);
    const principal = this.#orRefused(head, () => authenticator.authenticateWorker(head));
    this.#check(principal, head, { scope: "worker" });
    return principal;
  }

  /** @returns what tells the audit log that it was done; nothing is told of what was refused as wrong. */
  witness(action: string, { keyId, name, tenant }: Principal, head: RequestHead): () => void {
    const { path: target, id: requestId, remoteAddress: address } = head;
    const event = { action, actor: keyId, actorName: name, tenant, target, address, requestId };
    return () => this.#parts.audit.record(event);
  }

  async #letInLater(found: Promise<Principal>, head: RequestHead, access: Access): Promise<Admitted> {
    let principal: Principal;
    try {
      principal = await found;
    } catch (error) {
      throw this.#refused(error, head);
    }
    return this.#letIn(principal, head, access);
  }

  #letIn(principal: Principal, head: RequestHead, access: Access): Admitted {
    this.#check(principal, head, access);
    return { principal, visit: this.#parts.limits.enter(principal, head) };
  }

  #check(principal: Principal, head: RequestHead, { scope = "any", isForKeys = false }: Access): void {
    try {
      if (scope !== "any") requireScope(principal, scope);
      if (isForKeys) requireKey(principal);
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
    const { limits } = this.#parts;
    this.#record("auth.refused", head, { details: { code } });
    // Who shows nothing has guessed nothing. Any web page can make a browser ask so, and must not lock out all who share its address.
    if (code === "auth_missing") limits.enterUnknown(head).leave(0);
    else limits.authenticationFailed(head);
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
