/** The names that a server certificate is for: normal form, and reading them back from a certificate. */

import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { fail } from "@legacygpu/shared/errors";

/** Always in the certificate: the machine itself is a client too. */
const LOCAL = ["localhost", "127.0.0.1", "::1"];

/** Past this, names that are no longer asked for are dropped, the oldest first: addresses of a laptop change for ever. */
const MAX_NAMES = 64;

const DNS_NAME = /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** @throws `certificate_invalid` for what is neither a host name nor an IP address. */
export function normalHosts(hosts: readonly string[]): string[] {
  return [...new Set([...LOCAL, ...hosts.map(normalHost)])];
}

function normalHost(host: string): string {
  const bare = host
    .trim()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "")
    .toLowerCase();
  if (isIP(bare) === 4) return bare;
  if (isIP(bare) === 6) return normalAddress6(bare);
  const ascii = domainToASCII(bare.replace(/^\*\./, ""));
  const name = bare.startsWith("*.") ? `*.${ascii}` : ascii;
  if (ascii !== "" && name.length <= 253 && DNS_NAME.test(name)) return name;
  throw fail(
    "certificate_invalid",
    `A certificate cannot be made for "${host}": write a host name or an IP address.`,
    {
      host,
    },
  );
}

/** The one spelling that URL parsers use. */
function normalAddress6(address: string): string {
  return new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
}

/** @param subjectAltName as `X509Certificate` gives it: `DNS:localhost, IP Address:127.0.0.1`. */
export function hostsOf(subjectAltName: string | undefined): string[] {
  const hosts: string[] = [];
  for (const entry of (subjectAltName ?? "").split(", ")) {
    const [kind, name] = splitOnce(entry);
    if (kind === "DNS") hosts.push(name);
    if (kind === "IP Address") hosts.push(isIP(name) === 6 ? normalAddress6(name) : name);
  }
  return hosts;
}

function splitOnce(entry: string): [string, string] {
  const colon = entry.indexOf(":");
  return [entry.slice(0, colon), entry.slice(colon + 1)];
}

export function unitedHosts(wanted: readonly string[], previous: readonly string[]): string[] {
  return [...new Set([...wanted, ...previous])].slice(0, Math.max(MAX_NAMES, wanted.length));
}
