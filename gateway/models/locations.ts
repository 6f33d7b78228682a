/**
 * Which worker has which blob, and who may fetch what from where: so that a blob crosses a site's line once.
 *
 * Per site and blob, a worker that wants it is
 *
 * | it is    | when                                                  | leaves it                                                       |
 * | -------- | ----------------------------------------------------- | --------------------------------------------------------------- |
 * | fetching | nobody has it and nobody fetches: it asks the gateway | has it; gives up; is not heard of for 6 s → the next one may    |
 * | waiting  | somebody fetches, or those who have it are busy       | those who have it have room → copying; nobody fetches → fetching |
 * | copying  | it was told of neighbours that have it                | has it; asks again → waiting; is not heard of for 60 s          |
 *
 * A worker that fetches and loses its link stays the one that fetches until its 6 s are over: when a line breaks, whoever has half of
 * the file goes on with it. All of this is advice: what a worker receives it checks by the digest, and it asks the gateway itself when
 * advice is late or bad.
 */

import type { Clock } from "@legacygpu/shared/clock";
import type { Digest } from "@legacygpu/shared/manifest";
import { BLOB_TOKEN_KEY_BYTES, mintBlobToken } from "@legacygpu/shared/protocol/blob-token";
import type {
  AgentMessage,
  BlobSource,
  GatewayMessage,
  MessageOf,
} from "@legacygpu/shared/protocol/messages";

type BlobServer = MessageOf<AgentMessage, "blob_server">;
type BlobState = MessageOf<AgentMessage, "blob_state">;
type BlobSources = MessageOf<GatewayMessage, "blob_sources">;

/** A worker's connection. */
export interface BlobLink {
  send(message: BlobSources): void;
}

export interface Arrival {
  readonly workerId: string;
  readonly site: string;
  /** What it has, as far as its greeting says. */
  readonly digests: readonly Digest[];
  readonly link: BlobLink;
}

export interface BlobLocationsOptions {
  readonly clock: Clock;
}

/** As long as a fetch may make no progress while others wait for it. */
const FETCH_SILENCE_MS = 6_000;
const COPY_SILENCE_MS = 60_000;
/** Those who wait are told so again, and go their own way when they are not. */
const WAIT_REMINDER_MS = 10_000;
const TOKEN_LIFE_MS = 5 * 60_000;
const COPIES_PER_SOURCE = 4;
const MAX_SOURCES = 6;
/** What one worker may have us remember. */
const MAX_HELD = 2_000;
const MAX_WANTED = 64;

/** A worker that is connected, or was a moment ago. */
interface Member {
  readonly workerId: string;
  readonly site: string;
  readonly held: Set<Digest>;
  /** Of the blobs that it waits for, copies or fetches. */
  wantedCount: number;
  server: BlobServer | undefined;
  link: BlobLink | undefined;
}

interface Waiting {
  readonly receivedBytes: number;
  toldAtMs: number;
}

/** A blob that somebody at a site wants. Times are monotonic. */
interface Demand {
  readonly site: string;
  readonly digest: Digest;
  fetching: { readonly member: Member; heardAtMs: number } | undefined;
  readonly waiting: Map<Member, Waiting>;
  readonly copying: Map<Member, number>;
  /** Where the next list of sources begins, so that they take turns. */
  turn: number;
}

export class BlobLocations {
  readonly #clock: Clock;
  readonly #members = new Map<string, Member>();
  readonly #demands = new Map<string, Demand>();

  constructor({ clock }: BlobLocationsOptions) {
    this.#clock = clock;
  }

  /** A worker has connected, for the first time or again. */
  arrive({ workerId, site, digests, link }: Arrival): void {
    const known = this.#members.get(workerId);
    if (known !== undefined && known.site !== site) this.#forget(known);
    const member = known?.site === site ? known : newMember(workerId, site);
    // What it waited for on an earlier link it asks for again.
    for (const demand of this.#demands.values()) this.#stopWanting(demand, member);
    member.held.clear();
    for (const digest of digests.slice(0, MAX_HELD)) member.held.add(digest);
    member.link = link;
    member.server = undefined;
    this.#members.set(workerId, member);
  }

  /** Its link is gone. One that has been replaced by a later one changes nothing. */
  depart(workerId: string, link: BlobLink): void {
    const member = this.#members.get(workerId);
    if (member === undefined || member.link !== link) return;
    member.link = undefined;
    member.server = undefined;
    for (const demand of [...this.#demands.values()]) {
      this.#stopWanting(demand, member);
      this.#settle(demand);
    }
    this.#tidy(member);
  }

  /** Whether the worker has it on its disk, as far as it has told. */
  holds(workerId: string, digest: Digest): boolean {
    return this.#members.get(workerId)?.held.has(digest) ?? false;
  }

  serves(workerId: string, server: BlobServer): void {
    const member = this.#members.get(workerId);
    if (member === undefined || server.tokenKey.length !== BLOB_TOKEN_KEY_BYTES) return;
    // The frame's memory is used again.
    member.server = { ...server, tokenKey: new Uint8Array(server.tokenKey) };
    for (const digest of member.held) this.#settle(this.#demands.get(keyOf(member.site, digest)));
  }

  heard(workerId: string, { digest, state, receivedBytes = 0 }: BlobState): void {
    const member = this.#members.get(workerId);
    if (member === undefined) return;
    const key = keyOf(member.site, digest);
    switch (state) {
      case "wanted":
        this.#want(member, digest, receivedBytes);
        return;
      case "fetching":
        this.#noteProgress(this.#demands.get(key), member);
        return;
      case "held":
        if (member.held.size < MAX_HELD) member.held.add(digest);
        this.#ended(this.#demands.get(key), member);
        return;
      case "dropped":
        member.held.delete(digest);
        return;
      case "failed":
        this.#ended(this.#demands.get(key), member);
    }
  }

  /** To be called about once a second: who is silent too long is not waited for. */
  sweep(): void {
    const nowMs = this.#clock.monotonic();
    for (const demand of [...this.#demands.values()]) {
      const { fetching } = demand;
      if (fetching !== undefined && nowMs - fetching.heardAtMs > FETCH_SILENCE_MS) {
        this.#stopFetching(demand, fetching.member);
        this.#tidy(fetching.member);
      }
      for (const [member, heardAtMs] of demand.copying)
        if (nowMs - heardAtMs > COPY_SILENCE_MS) this.#stopWanting(demand, member);
      this.#settle(demand);
      remind(demand, nowMs);
    }
  }

  // ---- what a demand goes through

  #want(member: Member, digest: Digest, receivedBytes: number): void {
    member.held.delete(digest);
    const key = keyOf(member.site, digest);
    let demand = this.#demands.get(key);
    if (demand === undefined) {
      demand = newDemand(member.site, digest);
      this.#demands.set(key, demand);
    }
    this.#stopFetching(demand, member);
    this.#stopWanting(demand, member);
    if (member.wantedCount >= MAX_WANTED) {
      tell(member, digest, "fetch");
      this.#settle(demand);
      return;
    }
    member.wantedCount += 1;
    const toldAtMs = this.#clock.monotonic();
    demand.waiting.set(member, { receivedBytes, toldAtMs });
    this.#settle(demand);
    if (demand.waiting.has(member)) tell(member, digest, "wait");
  }

  #noteProgress(demand: Demand | undefined, member: Member): void {
    if (demand === undefined) return;
    const heardAtMs = this.#clock.monotonic();
    if (demand.copying.has(member)) demand.copying.set(member, heardAtMs);
    else if (demand.fetching?.member === member) demand.fetching.heardAtMs = heardAtMs;
  }

  /** It has the blob, or will not have it. */
  #ended(demand: Demand | undefined, member: Member): void {
    if (demand === undefined) return;
    this.#stopFetching(demand, member);
    this.#stopWanting(demand, member);
    this.#settle(demand);
  }

  /** Gives everybody who waits something to do, as far as there is something. */
  #settle(demand: Demand | undefined): void {
    if (demand === undefined) return;
    const holders = this.#holdersOf(demand);
    if (holders.length > 0) this.#sendToNeighbours(demand, holders);
    else if (demand.fetching === undefined) this.#elect(demand);
    if (demand.fetching === undefined && demand.waiting.size === 0 && demand.copying.size === 0)
      this.#demands.delete(keyOf(demand.site, demand.digest));
  }

  #sendToNeighbours(demand: Demand, holders: readonly Member[]): void {
    const { digest, waiting, copying } = demand;
    for (const member of [...waiting.keys()]) {
      if (copying.size >= holders.length * COPIES_PER_SOURCE) return;
      waiting.delete(member);
      copying.set(member, this.#clock.monotonic());
      tell(member, digest, "neighbours", this.#sources(demand, holders));
    }
  }

  /** Whoever has most of it already; among equals one who can serve it afterwards, then who asked first. */
  #elect(demand: Demand): void {
    let best: [Member, Waiting] | undefined;
    for (const candidate of demand.waiting)
      if (best === undefined || suitability(candidate) > suitability(best)) best = candidate;
    if (best === undefined) return;
    const [member] = best;
    demand.waiting.delete(member);
    demand.fetching = { member, heardAtMs: this.#clock.monotonic() };
    tell(member, demand.digest, "fetch");
  }

  #sources(demand: Demand, holders: readonly Member[]): BlobSource[] {
    const expiresAtMs = Math.round(this.#clock.now()) + TOKEN_LIFE_MS;
    const sources: BlobSource[] = [];
    for (let index = 0; index < holders.length && sources.length < MAX_SOURCES; index += 1) {
      const server = holders[(demand.turn + index) % holders.length]?.server;
      if (server === undefined) continue;
      const { port, certificate, tokenKey } = server;
      const token = mintBlobToken(tokenKey, demand.digest, expiresAtMs);
      for (const address of server.addresses) sources.push({ address, port, certificate, token });
    }
    demand.turn += 1;
    return sources.slice(0, MAX_SOURCES);
  }

  #holdersOf({ site, digest }: Demand): Member[] {
    const holders: Member[] = [];
    for (const member of this.#members.values())
      if (member.site === site && isServing(member) && member.held.has(digest)) holders.push(member);
    return holders;
  }

  #stopFetching(demand: Demand, member: Member): void {
    if (demand.fetching?.member !== member) return;
    demand.fetching = undefined;
    member.wantedCount -= 1;
  }

  #stopWanting(demand: Demand, member: Member): void {
    const wasWaiting = demand.waiting.delete(member);
    if (demand.copying.delete(member) || wasWaiting) member.wantedCount -= 1;
  }

  #forget(member: Member): void {
    for (const demand of [...this.#demands.values()]) this.#ended(demand, member);
    this.#members.delete(member.workerId);
  }

  /** A member without a link is remembered for as long as something is still expected of it. */
  #tidy(member: Member): void {
    if (member.link !== undefined || this.#members.get(member.workerId) !== member) return;
    for (const { fetching } of this.#demands.values()) if (fetching?.member === member) return;
    this.#members.delete(member.workerId);
  }
}

function newMember(workerId: string, site: string): Member {
  return { workerId, site, held: new Set(), wantedCount: 0, server: undefined, link: undefined };
}

function newDemand(site: string, digest: Digest): Demand {
  return { site, digest, fetching: undefined, waiting: new Map(), copying: new Map(), turn: 0 };
}

function isServing({ link, server }: Member): boolean {
  return link !== undefined && server !== undefined && server.addresses.length > 0;
}

function suitability([member, { receivedBytes }]: [Member, Waiting]): number {
  return receivedBytes * 2 + (isServing(member) ? 1 : 0);
}

function remind({ digest, waiting }: Demand, nowMs: number): void {
  for (const [member, entry] of waiting) {
    if (nowMs - entry.toldAtMs < WAIT_REMINDER_MS) continue;
    entry.toldAtMs = nowMs;
    tell(member, digest, "wait");
  }
}

function tell(
  { link }: Member,
  digest: Digest,
  decision: BlobSources["decision"],
  sources: BlobSource[] = [],
): void {
  link?.send({ type: "blob_sources", digest, decision, sources });
}

const keyOf = (site: string, digest: Digest): string => `${digest} ${site}`;
