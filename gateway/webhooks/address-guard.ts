/**
 * Decides where the gateway may send webhooks, so that nobody can use it to reach what only it can reach (server-side request forgery).
 *
 * The addresses that were checked are handed back, and the connection is made to one of them: a name that resolves to something else a moment
 * later changes nothing.
 */

import { promises as dns, type LookupAddress } from "node:dns";
import { type BlockList, isIP } from "node:net";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { networkList, plainAddress, specialClassOf } from "./address-classes.ts";
import { orAborted } from "./time-limit.ts";

/** All addresses of a name. */
export type Lookup = (host: string) => Promise<readonly LookupAddress[]>;

/** An address of the web that may be called, and the only addresses of the network at which it may be called. */
export interface Target {
  readonly url: URL;
  readonly addresses: readonly LookupAddress[];
}

export interface AddressGuardOptions {
  /** Networks in CIDR notation that are allowed though they are not public, also for plain HTTP. */
  readonly allowedNetworks: readonly string[];
  readonly lookup?: Lookup | undefined;
}

/** How the operating system resolves names. */
const systemLookup: Lookup = (host) => dns.lookup(host, { all: true });

export class AddressGuard {
  readonly #allowed: BlockList;
  readonly #lookup: Lookup;

  /** @throws `config_invalid` when an allowed network is none. */
  constructor({ allowedNetworks, lookup = systemLookup }: AddressGuardOptions) {
    this.#allowed = networkList(allowedNetworks);
    this.#lookup = lookup;
  }

  /** @throws `webhook_address_refused`; the reason of `signal` when it aborts. */
  async check(given: string, signal: AbortSignal): Promise<Target> {
    const url = parseUrl(given);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const addresses = await this.#addressesOf(host, signal);
    if (addresses.length === 0) throw refuse(host, undefined, "the name has no address");
    for (const { address } of addresses) this.#assertReachable(host, address, url.protocol === "http:");
    return { url, addresses };
  }

  async #addressesOf(host: string, signal: AbortSignal): Promise<readonly LookupAddress[]> {
    const version = isIP(host);
    if (version !== 0) return [{ address: host, family: version }];
    try {
      return await orAborted(this.#lookup(host), signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const cause = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw refuse(host, undefined, `the name does not resolve (${cause})`, error);
    }
  }

  /** One bad address among several is enough to refuse: whoever chooses the name chooses all of them. */
  #assertReachable(host: string, address: string, isPlain: boolean): void {
    const plain = plainAddress(address);
    if (plain === undefined) throw refuse(host, address, "it is not an address that can be routed");
    if (this.#allowed.check(plain.text, plain.family)) return;
    const special = specialClassOf(plain);
    if (special !== undefined) throw refuse(host, address, `this address is ${special}, not public`);
    if (isPlain) throw refuse(host, address, "plain HTTP is for allowed networks only; use https");
  }
}

function parseUrl(given: string): URL {
  if (!URL.canParse(given)) throw refuse(given, undefined, "it is not a URL");
  // The parser also turns every spelling of an IPv4 address (decimal, octal, hexadecimal, fewer parts) into the usual one.
  const url = new URL(given);
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw refuse(url.hostname, undefined, `the scheme is ${url.protocol.slice(0, -1)}; use https`);
  if (url.username !== "" || url.password !== "")
    throw refuse(
      url.hostname,
      undefined,
      "the URL has a user name or a password; webhooks are signed instead",
    );
  url.hash = "";
  return url;
}

function refuse(host: string, address: string | undefined, why: string, cause?: unknown): LegacyGpuError {
  const where = address === undefined || address === host ? `"${host}"` : `"${host}" (${address})`;
  const message =
    `No webhook is sent to ${where}: ${why}. Give a public HTTPS address, or let the operator allow the network with ` +
    "`webhooks.allowed_networks`.";
  return fail("webhook_address_refused", message, { host, address, reason: why }, cause);
}
