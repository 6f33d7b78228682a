/**
 * One listener in front of one app per certificate, so that a certificate can be replaced while connections come and go.
 *
 * The server library reads a certificate when it makes an app, and never again. Therefore the app that listens has neither certificate
 * nor routes: it hands each connection that it accepts, before the handshake, to the app with the newest certificate. An earlier app keeps
 * the connections that it has and gets no more. The listening socket is never touched, so no connection that is on its way is
 * lost; and it makes no difference by which name, or by which address, a client calls.
 *
 * The library cannot free an app: each one that was replaced stays in memory, about 120 KiB with its routes. A renewal every two months
 * costs less than a megabyte a year. The time limits of its remaining connections go on.
 */

/** The app that listens. It must have TLS when the others do: the library hands a socket over without asking. */
export interface AcceptingApp {
  addChildAppDescriptor(descriptor: number): unknown;
  removeChildAppDescriptor(descriptor: number): unknown;
  close(): unknown;
}

export interface ServingApp {
  getDescriptor(): number;
  /** Cuts every connection of this app. */
  close(): unknown;
}

export class TlsApps {
  readonly #acceptor: AcceptingApp;
  readonly #earlier: ServingApp[] = [];
  #current: ServingApp;

  constructor(acceptor: AcceptingApp, first: ServingApp) {
    this.#acceptor = acceptor;
    this.#current = first;
    acceptor.addChildAppDescriptor(first.getDescriptor());
  }

  /** From now on new connections belong to `next`. */
  replace(next: ServingApp): void {
    // In this order, so that there is always one.
    this.#acceptor.addChildAppDescriptor(next.getDescriptor());
    this.#acceptor.removeChildAppDescriptor(this.#current.getDescriptor());
    this.#earlier.push(this.#current);
    this.#current = next;
  }

  /** Cuts every connection. The listening socket must be closed, and its last connections handed over, before: one turn. */
  close(): void {
    for (const app of [...this.#earlier, this.#current, this.#acceptor]) app.close();
  }
}
