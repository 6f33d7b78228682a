/** Under which addresses other machines of the site may reach this one, and which of theirs are close. */

import { BlockList, isIP } from "node:net";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

const MAX_ADDRESSES = 4;
/** Networks inside this machine: nobody else is in them. */
const INTERNAL = /^(docker|br-|veth|virbr|cni|flannel|lxc|podman)/;

export function ownAddresses(interfaces: Interfaces = networkInterfaces()): string[] {
  const usable = Object.entries(interfaces)
    .filter(([name]) => !INTERNAL.test(name))
    .flatMap(([, infos = []]) => infos)
    .filter(({ internal, address }) => !internal && !isLinkLocal(address));
  // Version 4 first: where both work they are the same machine.
  const ordered = [...usable].sort((a, b) => a.family.localeCompare(b.family));
  return ordered.map(({ address }) => address).slice(0, MAX_ADDRESSES);
}

/** Those in a network that this machine is in, first. */
export function nearestFirst<Item extends { readonly address: string }>(
  items: readonly Item[],
  interfaces: Interfaces = networkInterfaces(),
): Item[] {
  const near = new BlockList();
  for (const { cidr, family } of Object.values(interfaces).flatMap((infos = []) => infos)) {
    const [network, prefix] = cidr?.split("/") ?? [];
    if (network !== undefined && prefix !== undefined)
      near.addSubnet(network, Number(prefix), family === "IPv6" ? "ipv6" : "ipv4");
  }
  const isNear = ({ address }: Item): boolean => near.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  return [...items.filter(isNear), ...items.filter((item) => !isNear(item))];
}

function isLinkLocal(address: string): boolean {
  return /^(fe[89ab][0-9a-f]:|169\.254\.)/i.test(address);
}
