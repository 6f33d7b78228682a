/** What the load generator is told and what it answers. */

export interface LoadOrder {
  readonly host: string;
  readonly port: number;
  readonly caPem: string;
  /** One connection each, with one request in flight, sent again and again. */
  readonly connections: readonly LoadRequest[];
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface LoadRequest {
  /** The whole request as it goes over the wire. */
  readonly bytes: Uint8Array;
  /** Every response must have this in its body. */
  readonly expected: string;
}

export interface LoadResult {
  readonly requests: number;
  /** With those of the warm-up. */
  readonly allRequests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** CPU time that the generator itself took, as a share of one core. */
  readonly ownCores: number;
}

/** The same for large bodies. */
export interface BulkOrder extends Omit<LoadOrder, "connections"> {
  readonly connections: readonly BulkRequest[];
}

export interface BulkRequest {
  /** The whole request as it goes over the wire. */
  readonly bytes: Uint8Array;
  /** Every response must end with this. */
  readonly expected: Uint8Array;
}

export type BulkResult = Pick<LoadResult, "requests" | "perSecond" | "p50Ms" | "p99Ms">;
