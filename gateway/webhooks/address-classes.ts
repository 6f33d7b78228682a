/** Which addresses are global unicast, and what the others are. */

import { BlockList, isIP } from "node:net";
import { fail } from "@legacygpu/shared/errors";

/**
 * From the special-purpose registries of IANA (RFC 6890 and later). What a table of routes would carry nowhere, or only to machines that trust
 * whoever reaches them.
 */
const NETWORKS_BY_CLASS: Readonly<Record<string, readonly string[]>> = {
  unspecified: ["0.0.0.0/8", "::/128"],
  loopback: ["127.0.0.0/8", "::1/128"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"],
  "link-local": ["169.254.0.0/16", "fe80::/10"],
  "shared by a carrier's customers": ["100.64.0.0/10"],
  "reserved for protocols": ["192.0.0.0/24", "2001::/23"],
  documentation: ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"],
  benchmarking: ["198.18.0.0/15"],
  "a tunnel to IPv4": ["192.88.99.0/24", "2002::/16"],
  "a cloud's inner service": ["168.63.129.16/32"],
  multicast: ["224.0.0.0/4", "ff00::/8"],
  "reserved or broadcast": ["240.0.0.0/4"],
};

const CLASSES = Object.entries(NETWORKS_BY_CLASS).map(([name, networks]) => ({
  name,
  list: networkList(networks),
}));

/** All of IPv6's global unicast that has been given out lies in here. */
const GLOBAL_IPV6 = networkList(["2000::/3"]);

/** IPv6 addresses that stand for the IPv4 address in their last 32 bits: mapped ones and those of the well-known NAT64 prefix. */
const EMBEDDING = networkList(["::ffff:0:0/96", "64:ff9b::/96"]);

type Family = "ipv4" | "ipv6";

/** An address as the checks see it: one that only stands for another has been replaced by that. */
export interface PlainAddress {
  readonly text: string;
  readonly family: Family;
}

/** Undefined when `address` is none, or names a zone: only link-local addresses have zones. */
export function plainAddress(address: string): PlainAddress | undefined {
  const version = address.includes("%") ? 0 : isIP(address);
  if (version === 0) return undefined;
  if (version === 4) return { text: address, family: "ipv4" };
  if (EMBEDDING.check(address, "ipv6")) return { text: lastFourBytes(address), family: "ipv4" };
  return { text: address, family: "ipv6" };
}

/** What an address is when it is not global unicast. */
export function specialClassOf({ text, family }: PlainAddress): string | undefined {
  const special = CLASSES.find(({ list }) => list.check(text, family));
  if (special !== undefined) return special.name;
  return family === "ipv4" || GLOBAL_IPV6.check(text, family) ? undefined : "not global unicast";
}

/** @throws `config_invalid` when one of `networks` is neither an address nor an address with the length of a prefix. */
export function networkList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const { address, prefix, family } = parseNetwork(network);
    list.addSubnet(address, prefix, family);
  }
  return list;
}

function parseNetwork(text: string): { address: string; prefix: number; family: Family } {
  const [address = "", prefixText, ...rest] = text.trim().split("/");
  const version = address.includes("%") ? 0 : isIP(address);
  const bits = version === 4 ? 32 : 128;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  const isPrefix = prefixText === undefined || (/^\d{1,3}$/.test(prefixText) && prefix <= bits);
  if (version !== 0 && isPrefix && rest.length === 0)
    return { address, prefix, family: version === 4 ? "ipv4" : "ipv6" };
  throw fail(
    "config_invalid",
    `"${text}" is not a network: write it like 10.1.0.0/16, fd00::/8 or 10.1.2.3.`,
    {
      network: text,
    },
  );
}

/** @param address a valid IPv6 address, in any spelling. */
function lastFourBytes(address: string): string {
  // WHATWG URL writes every IPv6 address in one way: groups in hexadecimal, the longest run of zeros left out.
  const groups = new URL(`http://[${address}]/`).hostname.slice(1, -1).split(":");
  return groups
    .slice(-2)
    .map((group) => Number.parseInt(group === "" ? "0" : group, 16))
    .flatMap((group) => [group >> 8, group & 0xff])
    .join(".");
}
