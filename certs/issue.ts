/** Issues X.509 version 3 certificates (RFC 5280) with ECDSA P-256: a private CA and the server certificates under it. */

import "reflect-metadata"; // The library below declares its ASN.1 types by decorators that need it.
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

cryptoProvider.set(webcrypto);

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
/** The longest life that Apple's verifier accepts for a server certificate. */
const SERVER_DAYS = 825;

export function newPrivateKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** @returns the CA's certificate in PEM, valid for ten years. */
export async function issueCa(key: KeyObject, nowMs: number): Promise<string> {
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
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new SubjectKeyIdentifierExtension(keyId(key)),
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
export async function issueServer(request: ServerCertificateRequest, nowMs: number): Promise<string> {
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
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        hosts.map((host) => ({ type: isIP(host) === 0 ? "dns" : "ip", value: host })),
      ),
      new SubjectKeyIdentifierExtension(keyId(key)),
      new AuthorityKeyIdentifierExtension(keyId(caKey)),
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
  readonly extensions: Extension[];
}

async function issue(contents: Contents): Promise<string> {
  const { subject, issuer, subjectKey, signingKey, notBeforeMs, notAfterMs, extensions } = contents;
  const certificate = await X509CertificateGenerator.create({
    subject: commonName(subject),
    issuer: commonName(issuer),
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
    publicKey: publicKeyInfo(subjectKey),
    signingKey: await webCryptoKey(signingKey),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions,
  });
  return `${certificate.toString("pem")}\n`;
}

/** Always UTF-8: verifiers compare the issuer with the CA's subject byte by byte. */
function commonName(name: string): Name {
  return new Name([{ CN: [{ utf8String: name }] }]);
}

function webCryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const jwk = key.export({ format: "jwk" });
  return webcrypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: String(jwk.crv) }, false, [
    "sign",
  ]);
}

function publicKeyInfo(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: "spki", format: "der" });
}

/** 160 bits of SHA-256 (RFC 7093, method 4), in hexadecimal. */
function keyId(key: KeyObject): string {
  return createHash("sha256").update(publicKeyInfo(key)).digest("hex").slice(0, 40);
}
