/** Reads files that hold several certificates: a CA with the one that is to follow it, or a server's with its chain. For Node only. */

import { X509Certificate } from "node:crypto";

/**
 * All certificates in `pem`, in their order.
 *
 * @throws what the parser says when one of them is damaged, or when there is none.
 */
export function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem
    .split(/(?=^-----BEGIN )/m)
    .filter((block) => /^-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/.test(block));
  return (blocks.length === 0 ? [pem] : blocks).map((block) => new X509Certificate(block));
}
