/**
 * Everything that wants to write to the network waits here until the end of this turn of the event loop.
 *
 * The server library loses data when it is written to from inside one of its own callbacks (see `server.ts`); gathering
 * the writes of a turn also means one TLS record and one system call per connection instead of one per frame.
 */

export interface Sender {
  /** Writes what is waiting. Handles its own faults: an exception here would stop the senders behind it. */
  flush(): void;
}

export class Outbox {
  #due: Sender[] = [];

  /** Has `sender` flushed once per call; a sender that queues itself twice is flushed twice. */
  add(sender: Sender): void {
    if (this.#due.push(sender) === 1) setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    const due = this.#due;
    this.#due = [];
    for (const sender of due) sender.flush();
  };
}
