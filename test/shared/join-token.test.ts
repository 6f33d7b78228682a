import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { decodeJoinToken, encodeJoinToken, type JoinToken, pinOf } from "@legacygpu/shared/join-token";
import { redactCredentials } from "@legacygpu/shared/log";
import fc from "fast-check";
import { makeCertificate } from "../support/certificate.ts";

const SECRET = "lgj_0123456789_abcdefghijklmnopqrstuvwxyzABCDEF012345";
const TOKEN: JoinToken = {
  url: "https://gpu.example.org:8000",
  pins: ["q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"],
  secret: SECRET,
};
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** What `decodeJoinToken` says of a text that it refuses. */
function refusalOf(text: string): string {
  try {
    decodeJoinToken(text);
  } catch (error) {
    const { code, message, details } = error as LegacyGpuError;
    assert.equal(code, "join_token_malformed");
    assert.deepEqual(details, {}, "nothing of a token is repeated");
    return message;
  }
  return assert.fail(`accepted: ${text}`);
}

/** The checksum by its description, not by the code under test. */
function withChecksum(text: string): string {
  let rest = crc32(text);
  const digits = Array.from({ length: 6 }, () => {
    const digit = ALPHABET.charAt(rest % 62);
    rest = Math.floor(rest / 62);
    return digit;
  });
  return text + digits.reverse().join("");
}

const anyToken: fc.Arbitrary<JoinToken> = fc.record(
  {
    url: fc
      .oneof(
        fc.domain(),
        fc.ipV4(),
        fc.ipV6().map((address) => `[${address}]`),
      )
      .chain((host) =>
        fc.integer({ min: 1, max: 65_535 }).map((port) => new URL(`https://${host}:${port}`).origin),
      ),
    pins: fc.array(
      fc
        .uint8Array({ minLength: 32, maxLength: 32 })
        .map((bytes) => Buffer.from(bytes).toString("base64url")),
      { maxLength: 2 },
    ),
    secret: fc.stringMatching(/^lgj_[0-9A-Za-z]{10}_[0-9A-Za-z]{38}$/),
  },
  { noNullPrototype: true },
);

describe("a join token", () => {
  test("gives back what went in, and is one word that neither a shell nor a double click splits", () => {
    fc.assert(
      fc.property(anyToken, (token) => {
        const text = encodeJoinToken(token);
        assert.match(text, /^lgj_1[0-9A-Za-z]+$/);
        assert.deepEqual(decodeJoinToken(text), token);
        assert.deepEqual(decodeJoinToken(`  ${text}\r\n`), token, "what a copied line has around it");
      }),
    );
  });

  test("of today is read by every later version", () => {
    const text =
      "lgj_11MYBT6GV4c5IwOhsRgfAMLirLHhEVGVvRuJmluaNmdJ4wVcJO8xROvaGx2BO42j0yJeVi2TaKCKgFLEfpFpPlRwsMkvagUkH5yodk6K4zZgIm10XFMKIJefOBXHZPiDldH9nm3EtCcnIMin6hgUPpx9SHkUNm3IyFHIvWv1JH337yd5N";
    assert.equal(encodeJoinToken(TOKEN), text);
    assert.deepEqual(decodeJoinToken(text), TOKEN);
  });

  test("with a character lost, doubled, swapped or changed is refused as damaged", () => {
    const text = encodeJoinToken(TOKEN);
    for (let i = "lgj_".length; i < text.length; i += 1) {
      const changed = ALPHABET.charAt((ALPHABET.indexOf(text.charAt(i)) + 1) % 62);
      const damaged = [
        text.slice(0, i) + text.slice(i + 1),
        text.slice(0, i + 1) + text.slice(i),
        text.slice(0, i) + changed + text.slice(i + 1),
        text.slice(0, i) + text.slice(i + 1, i + 2) + text.charAt(i) + text.slice(i + 2),
      ];
      for (const wrong of damaged) if (wrong !== text) assert.match(refusalOf(wrong), /is damaged/);
    }
  });

  test("of a newer version asks for an update instead of calling itself damaged", () => {
    assert.match(refusalOf(withChecksum("lgj_2WhateverItHolds")), /has version 2.*understands version 1/);
  });

  test("says of other texts that they are none, whatever they are", () => {
    const others = [
      "",
      "lgj_",
      "lgj_1",
      "lgk_0123456789_abc",
      SECRET,
      "lgj_1abc-def0123456",
      `lgj_1${"a".repeat(100_000)}`,
    ];
    for (const other of others) assert.match(refusalOf(other), /not a join token/);
    fc.assert(
      fc.property(fc.string(), (text) => {
        assert.match(refusalOf(text), /not a join token|is damaged/);
      }),
    );
  });

  test("with a right checksum around anything else is refused, however it looks", () => {
    assert.match(refusalOf(withChecksum("lgj_1")), /does not hold the address/);
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9A-Za-z]{0,200}$/), (digits) => {
        assert.match(refusalOf(withChecksum(`lgj_1${digits}`)), /does not hold the address/);
      }),
    );
  });

  test("is only made of what can be read again", () => {
    const wrong: Partial<JoinToken>[] = [
      { url: "http://gpu.example.org:8000" },
      { url: "https://gpu.example.org:8000/path" },
      { url: "https://user:word@gpu.example.org:8000" },
      { url: "gpu.example.org" },
      { pins: ["short"] },
      { pins: [...TOKEN.pins, ...TOKEN.pins, ...TOKEN.pins] },
      { secret: "lgk_0123456789_abc" },
      { secret: `${SECRET}\nmore` },
    ];
    for (const part of wrong)
      assert.throws(() => encodeJoinToken({ ...TOKEN, ...part }), { code: "join_token_malformed" });
  });

  test("loses its secret in a log", () => {
    const text = encodeJoinToken(TOKEN);
    assert.equal(redactCredentials(`joins with ${text} now`), `joins with ${text.slice(0, 8)}… now`);
  });
});

test("a CA is pinned by its public key: the hash of the SPKI, as other tools compute it", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-pin-"));
  t.after(() => rm(dir, { recursive: true }));
  const certificate = new X509Certificate((await makeCertificate(dir)).caPem);
  const spki = Buffer.from(
    String(certificate.publicKey.export({ type: "spki", format: "pem" })).replace(/-----.*-----|\n/g, ""),
    "base64",
  );
  assert.equal(pinOf(certificate), createHash("sha256").update(spki).digest("base64url"));
});
