/**
 * What strangers may do: limits that are counted before anybody knows who is calling, by address.
 *
 * An address that has failed to authenticate too often is refused before its credential is looked at, right keys included: an answer that
 * depended on the credential would tell which guess was right. It heals by time, at the rate of the limit.
 */

import type { RequestHead } from "../http/exchange.ts";
import { BoundedTable } from "./bounded-table.ts";
import { countedAddress } from "./counted-address.ts";
import type { AddressConfig } from "./limits-config.ts";
import { rateLimited, refusalOf, stateOf } from "./refusal.ts";
import { type GivenRate, Rate, TokenBucket } from "./token-bucket.ts";

interface AddressBuckets {
  readonly rate: Rate;
  readonly table: BoundedTable<TokenBucket>;
}

export class AddressLimits {
  readonly #failures: AddressBuckets | undefined;
  readonly #sockets: AddressBuckets | undefined;
  readonly #unauthenticated: AddressBuckets | undefined;
  /** Until then somebody is refused; 0: nobody is. */
  #someBlockedUntilUs = 0;

  /** @throws `config_invalid` */
  constructor({
    failedAuthenticationsPerMinute: failures = 60,
    newSocketsPerSecond: sockets = 200,
    newSocketBurst = 1000,
    unauthenticatedRequestsPerSecond: unauthenticated = 50,
    unauthenticatedRequestBurst = 200,
  }: AddressConfig) {
    this.#failures = buckets({ name: "failedAuthenticationsPerMinute", count: failures, seconds: 60 });
    this.#sockets = buckets({ name: "newSocketsPerSecond", count: sockets, burst: newSocketBurst });
    this.#unauthenticated = buckets({
      name: "unauthenticatedRequestsPerSecond",
      count: unauthenticated,
      burst: unauthenticatedRequestBurst,
    });
  }

  /** Otherwise neither the time nor anybody's address need be asked for. */
  get mayRefuse(): boolean {
    return this.#someBlockedUntilUs > 0;
  }

  /** @throws `rate_limited` */
  checkFailures(head: RequestHead, nowUs: number): void {
    if (nowUs >= this.#someBlockedUntilUs) this.#someBlockedUntilUs = 0;
    if (this.#failures === undefined || !this.mayRefuse) return;
    const bucket = this.#failures.table.known(countedAddress(head.remoteAddress));
    const refusal = bucket && refusalOf(bucket, "failed authentications from this address", nowUs);
    if (refusal !== undefined) throw rateLimited(refusal);
  }

  failed(head: RequestHead, nowUs: number): void {
    const address = head.remoteAddress;
    // Who has hung up has no address any more, and learns nothing.
    if (this.#failures === undefined || address === "") return;
    const { rate, table } = this.#failures;
    const bucket = table.get(countedAddress(address), nowUs);
    // Many may have been let in before the first was found wrong. They lengthen the wait, but not for hours.
    bucket.take(1, nowUs, rate.burst);
    const waitUs = bucket.waitUs(1, nowUs);
    if (waitUs > 0) this.#someBlockedUntilUs = Math.max(this.#someBlockedUntilUs, nowUs + waitUs);
  }

  /** @throws `rate_limited` */
  openSocket(head: RequestHead, nowUs: number): void {
    if (this.#sockets !== undefined) takeOne(this.#sockets, head, "new sockets of this address", nowUs);
  }

  /** @throws `rate_limited` */
  enterUnauthenticated(head: RequestHead, nowUs: number): void {
    if (this.#unauthenticated === undefined) return;
    takeOne(this.#unauthenticated, head, "requests without a credential from this address", nowUs);
  }
}

type Given = Omit<GivenRate, "count"> & { readonly count: number | null };

function buckets({ name, count, seconds, burst }: Given): AddressBuckets | undefined {
  if (count === null) return undefined;
  const rate = new Rate({ name: `perAddress.${name}`, count, seconds, burst });
  return { rate, table: new BoundedTable((nowUs) => new TokenBucket(rate, nowUs)) };
}

function takeOne({ table }: AddressBuckets, head: RequestHead, limit: string, nowUs: number): void {
  const bucket = table.get(countedAddress(head.remoteAddress), nowUs);
  const refusal = refusalOf(bucket, limit, nowUs);
  if (refusal !== undefined) throw rateLimited({ ...refusal, rateLimit: stateOf(bucket, nowUs) });
  bucket.take(1, nowUs);
}
