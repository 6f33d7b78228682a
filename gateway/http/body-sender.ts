/** What an exchange needs of a body that is sent bit by bit, be it a file or a stream. */

/** `sent`: the response is complete. `failed`: it cannot be completed, cut the connection. */
export type BodyProgress = "waiting" | "sent" | "failed";

export interface BodySender {
  /** Whether the head can leave. @throws what the source threw before its first byte */
  isReady(): boolean;
  /** Writes as much as the socket takes, from the outbox only. @throws what the source threw on the way */
  pump(): BodyProgress;
  /** Gives the source back, in every case. Idempotent. */
  destroy(): void;
}

/** What a sender needs of its exchange. */
export interface BodyHost {
  /** Asks for a call of `pump`. */
  wake(): void;
  /** Told what the source threw when nobody waited for it any more. */
  onFault(error: unknown): void;
}
