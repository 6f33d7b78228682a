/**
 * The certificate under which an agent shows its models to its neighbours: self-signed, new for every start, never on a disk.
 *
 * The gateway hands it to those who may fetch here, and they trust it and nothing else. A box therefore needs no CA, and its dates say
 * nothing: neighbours whose clocks disagree still understand each other.
 */

import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";

/** The name in every such certificate. Agents of other versions ask for it, so it never changes. */
export const PEER_NAME = "peer.legacygpu.internal";

export interface PeerCertificate {
  readonly keyPem: string;
  readonly certificatePem: string;
}

export function newPeerCertificate(): PeerCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const contents = toBeSigned(publicKey);
  const signature = sign("sha256", contents, privateKey);
  const certificate = sequence(contents, ECDSA_WITH_SHA256, bits(signature));
  return {
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    certificatePem: new X509Certificate(certificate).toString(),
  };
}

// ---- X.509 in DER (RFC 5280, X.690): the few forms that one fixed certificate needs.

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** `[0]` and `[3]` around what they hold, `[2]` in place of the tag of a string. */
  version: 0xa0,
  extensions: 0xa3,
  dnsName: 0x82,
} as const;

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body]);
};
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(TAG.sequence, ...parts);
const objectId = (hex: string): Buffer => der(TAG.objectId, Buffer.from(hex, "hex"));
const text = (tag: number, value: string): Buffer => der(tag, Buffer.from(value, "utf8"));
/** No unused bits in the last byte. */
const bits = (bytes: Uint8Array): Buffer => der(TAG.bitString, Buffer.from([0]), bytes);

const ECDSA_WITH_SHA256 = sequence(objectId("2a8648ce3d040302"));
const COMMON_NAME = objectId("550403");
const SUBJECT_ALT_NAME = objectId("551d11");
const BASIC_CONSTRAINTS = objectId("551d13");
const TRUE = der(TAG.boolean, Buffer.from([0xff]));
/** What RFC 5280 prescribes for a certificate without a meaningful end. */
const NO_END = "99991231235959Z";
/** 2000: years before 2050 have two digits. */
const LONG_AGO = "000101000000Z";

function toBeSigned(publicKey: KeyObject): Buffer {
  const serial = randomBytes(16);
  // Positive, and without a leading zero byte.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const name = sequence(der(TAG.set, sequence(COMMON_NAME, text(TAG.utf8String, PEER_NAME))));
  return sequence(
    der(TAG.version, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, serial),
    ECDSA_WITH_SHA256,
    name,
    sequence(text(TAG.utcTime, LONG_AGO), text(TAG.generalizedTime, NO_END)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(
      TAG.extensions,
      sequence(
        // It signs nobody else.
        sequence(BASIC_CONSTRAINTS, TRUE, der(TAG.octetString, sequence())),
        sequence(SUBJECT_ALT_NAME, der(TAG.octetString, sequence(text(TAG.dnsName, PEER_NAME)))),
      ),
    ),
  );
}

function lengthOf(count: number): Buffer {
  if (count < 0x80) return Buffer.from([count]);
  return count < 0x100 ? Buffer.from([0x81, count]) : Buffer.from([0x82, count >> 8, count & 0xff]);
}
