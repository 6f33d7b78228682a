/** The networks that a credential may be used from. */

import { BlockList, isIP } from "node:net";

export class Networks {
  readonly #list = new BlockList();

  /** @param cidrs valid CIDR, IPv4 and IPv6. */
  constructor(cidrs: readonly string[]) {
    for (const cidr of cidrs) {
      const [address = "", prefix] = cidr.split("/");
      this.#list.addSubnet(address, Number(prefix), isIP(address) === 6 ? "ipv6" : "ipv4");
    }
  }

  /** In any spelling; an IPv4 address that is written as IPv6 (`::ffff:…`) is the IPv4 address. What is no address is nowhere. */
  includes(address: string): boolean {
    const version = isIP(address);
    return version !== 0 && this.#list.check(address, version === 6 ? "ipv6" : "ipv4");
  }
}
