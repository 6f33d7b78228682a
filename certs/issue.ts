/** Issues X.509 version 3 certificates (RFC 5280) with ECDSA P-256: a private CA and the server certificates under it. */

import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { isIP } from "node:net";
import {
  addressBytes,
  bitString,
  type Der,
  explicit,
  implicit,
  integer,
  objectId,
  octetString,
  sequence,
  setOf,
  time,
  trueValue,
  utf8String,
} from "./der.ts";

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
/** The longest life that Apple's verifier accepts for a server certificate. */
const SERVER_DAYS = 825;

const ECDSA_WITH_SHA256 = sequence(objectId("1.2.840.10045.4.3.2"));
const SERVER_AUTH = objectId("1.3.6.1.5.5.7.3.1");

export function newPrivateKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** @returns the CA's certificate in PEM, valid for ten years. */
export function issueCa(key: KeyObject, nowMs: number): string {
  // Each CA has a name of its own, so that a client that pins another one says "unknown issuer", not "bad signature".
  const name = `legacygpu development CA ${randomBytes(4).toString("hex")}`;
  return issue({
    subject: name,
    issuer: name,
    subjectKey: key,
    signingKey: key,
    notBeforeMs: nowMs - DAY_MS,
    notAfterMs: nowMs + CA_DAYS * DAY_MS,
    extensions: [
      extension("2.5.29.19", sequence(trueValue, integer(Buffer.from([0]))), { critical: true }),
      // keyCertSign and cRLSign
      extension("2.5.29.15", bitString(Buffer.from([0b0000_0110]), 1), { critical: true }),
      extension("2.5.29.14", octetString(keyId(key))),
    ],
  });
}

export interface ServerCertificateRequest {
  readonly caName: string;
  readonly caKey: KeyObject;
  readonly caNotAfterMs: number;
  readonly key: KeyObject;
  /** Host names and IP addresses that the certificate is for. */
  readonly hosts: readonly string[];
}

/** @returns the server's certificate in PEM, valid for 825 days but never longer than its CA. */
export function issueServer(request: ServerCertificateRequest, nowMs: number): string {
  const { caName, caKey, key, hosts, caNotAfterMs } = request;
  return issue({
    subject: "legacygpu gateway",
    issuer: caName,
    subjectKey: key,
    signingKey: caKey,
    // One day back, for clients whose clock is behind.
    notBeforeMs: nowMs - DAY_MS,
    notAfterMs: Math.min(nowMs + (SERVER_DAYS - 1) * DAY_MS, caNotAfterMs),
    extensions: [
      extension("2.5.29.19", sequence(), { critical: true }),
      // digitalSignature
      extension("2.5.29.15", bitString(Buffer.from([0b1000_0000]), 7), { critical: true }),
      extension("2.5.29.37", sequence(SERVER_AUTH)),
      extension("2.5.29.17", sequence(...hosts.map(generalName))),
      extension("2.5.29.14", octetString(keyId(key))),
      extension("2.5.29.35", sequence(implicit(0, keyId(caKey)))),
    ],
  });
}

interface Contents {
  readonly subject: string;
  readonly issuer: string;
  readonly subjectKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly extensions: readonly Der[];
}

function issue(contents: Contents): string {
  const { subject, issuer, subjectKey, signingKey, notBeforeMs, notAfterMs, extensions } = contents;
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serial),
    ECDSA_WITH_SHA256,
    commonName(issuer),
    sequence(time(notBeforeMs), time(notAfterMs)),
    commonName(subject),
    publicKeyInfo(subjectKey),
    explicit(3, sequence(...extensions)),
  );
  const signature = sign("sha256", toBeSigned, signingKey);
  return toPem(sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature)));
}

function commonName(name: string): Der {
  return sequence(setOf(sequence(objectId("2.5.4.3"), utf8String(name))));
}

function extension(id: string, contents: Der, { critical = false } = {}): Der {
  const parts = critical ? [objectId(id), trueValue] : [objectId(id)];
  return sequence(...parts, octetString(contents));
}

function generalName(host: string): Der {
  return isIP(host) === 0 ? implicit(2, Buffer.from(host, "ascii")) : implicit(7, addressBytes(host));
}

function publicKeyInfo(key: KeyObject): Der {
  return createPublicKey(key).export({ type: "spki", format: "der" });
}

/** 160 bits of SHA-256 (RFC 7093, method 4). */
function keyId(key: KeyObject): Buffer {
  return createHash("sha256").update(publicKeyInfo(key)).digest().subarray(0, 20);
}

function toPem(der: Der): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
