/** What the agent shows to the gateway so that it is let in: a port, and the simplest thing behind it, a worker key. */

export interface Credentials {
  /**
   * The bearer credential to send now.
   *
   * @throws what keeps it from being had.
   */
  bearer(): Promise<string>;
  /** The gateway does not accept `bearer`. @returns whether {@link bearer} may now give one that it does. */
  refused(bearer: string): boolean;
}

/** A worker key (`lgw_…`) is good until somebody revokes it, and there is no other. */
export function workerKey(key: string): Credentials {
  return { bearer: () => Promise.resolve(key), refused: () => false };
}
