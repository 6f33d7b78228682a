/** What addresses are counted as: whoever has one IPv6 address has all of its /64, and could come from a new one for every request. */

/**
 * IPv4 as it is, also when it is written as IPv6; of IPv6 the first 64 bits. What is no address is counted as it stands.
 *
 * @param address in any of the spellings that a socket gives.
 */
export function countedAddress(address: string): string {
  if (!address.includes(":")) return address;
  const groups = groupsOf(address);
  if (groups === undefined) return address;
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  if (!isMapped) return `${groups.slice(0, 4).map(hex).join(":")}::/64`;
  const [high = 0, low = 0] = groups.slice(6);
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
}

const hex = (group: number): string => group.toString(16);

/** The eight groups, or undefined when it is not IPv6. */
function groupsOf(address: string): number[] | undefined {
  const [withoutZone = ""] = address.split("%");
  const halves = withoutZone.split("::");
  if (halves.length > 2) return undefined;
  const [before = [], after = []] = halves.map(groupsIn);
  const missing = 8 - before.length - after.length;
  const groups = halves.length === 2 ? [...before, ...zeros(missing), ...after] : before;
  return groups.length === 8 && groups.every((group) => group >= 0 && group <= 0xffff) ? groups : undefined;
}

const zeros = (count: number): number[] => new Array<number>(Math.max(0, count)).fill(0);

function groupsIn(half: string): number[] {
  if (half === "") return [];
  return half.split(":").flatMap((text) => {
    const [, a, b, c, d] = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text) ?? [];
    if (d !== undefined) return [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)];
    return [/^[\da-f]{1,4}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN];
  });
}
