import assert from "node:assert/strict";
import { test } from "node:test";
import { createKeySchema } from "@legacygpu/shared/api/keys";
import fc from "fast-check";
import { Networks } from "../../gateway/auth/networks.ts";
import { codeOf, useKeys } from "./keys-fixture.ts";

const keys = useKeys();

/** As a request and as the server library spell them. */
const CASES: readonly [cidr: string, address: string, isInside: boolean][] = [
  ["10.0.0.0/8", "10.1.2.3", true],
  ["10.0.0.0/8", "11.0.0.0", false],
  ["10.9.9.9/8", "10.1.2.3", true],
  ["10.0.0.0/9", "10.128.0.0", false],
  ["10.0.0.0/8", "::ffff:10.1.2.3", true],
  ["10.0.0.0/8", "::ffff:a01:203", true],
  ["10.0.0.0/8", "0000:0000:0000:0000:0000:ffff:0a01:0203", true],
  ["10.0.0.0/8", "0000:0000:0000:0000:0000:ffff:0b01:0203", false],
  ["::ffff:10.0.0.0/104", "10.1.2.3", true],
  ["192.0.2.7/32", "192.0.2.7", true],
  ["192.0.2.7/32", "192.0.2.6", false],
  ["0.0.0.0/0", "203.0.113.9", true],
  ["0.0.0.0/0", "2001:db8::1", false],
  ["2001:db8::/32", "2001:0db8:0000:0000:0000:0000:0000:0001", true],
  ["2001:db8::/32", "2001:db8::1", true],
  ["2001:db8::/32", "2001:db9::1", false],
  ["2001:db8::/33", "2001:db8:8000::", false],
  ["::1/128", "0000:0000:0000:0000:0000:0000:0000:0001", true],
  ["fe80::/10", "10.1.2.3", false],
  ["10.0.0.0/8", "", false],
  ["0.0.0.0/0", "no address", false],
];

test("a key with networks is accepted from them only, however an address is spelled", async () => {
  const ring = await keys().open();
  for (const [cidr, remoteAddress, isInside] of CASES) {
    const wanted = createKeySchema.parse({ name: "app", scopes: ["read"], networks: [cidr] });
    const { key, id } = await ring.issue("client", wanted);
    const said = codeOf(() => ring.authenticate(key, { remoteAddress }));
    assert.equal(said, isInside ? "accepted" : "auth_invalid", `${remoteAddress} in ${cidr}`);
    assert.equal(ring.mayUse(id, { remoteAddress }), isInside);
    assert.ok(ring.isValid(key), "it is in force wherever it may be used from");
  }
});

test("one of several networks is enough; without networks every address is right; an unknown key may be used from nowhere", async () => {
  const ring = await keys().open();
  const networks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"];
  const { key, id } = await ring.issue("client", { name: "app", scopes: ["read"], networks });
  for (const remoteAddress of ["10.1.1.1", "2001:db8::2", "192.0.2.7"])
    assert.equal(ring.authenticate(key, { remoteAddress }).keyId, id);
  assert.ok(!ring.mayUse(id, { remoteAddress: "192.0.2.8" }));
  const free = await ring.issue("client", { name: "free", scopes: ["read"] });
  assert.ok(ring.mayUse(free.id, { remoteAddress: "" }));
  assert.ok(!ring.mayUse("nobody", { remoteAddress: "10.1.1.1" }));
});

test("an IPv4 address is in a network exactly when it agrees with it in the bits of the prefix", () => {
  const bits = fc.integer({ min: 0, max: 0xffffffff });
  const text = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
  const mapped = (value: number): string =>
    `0000:0000:0000:0000:0000:ffff:${(value >>> 16).toString(16).padStart(4, "0")}:${(value & 0xffff).toString(16).padStart(4, "0")}`;
  fc.assert(
    fc.property(
      bits,
      bits,
      fc.integer({ min: 0, max: 32 }),
      fc.boolean(),
      (network, other, prefix, isNear) => {
        const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
        const address = (isNear ? (network & mask) | (other & ~mask) : other) >>> 0;
        const isInside = ((address ^ network) & mask) === 0;
        const networks = new Networks([`${text(network)}/${prefix}`]);
        assert.equal(networks.includes(text(address)), isInside);
        assert.equal(networks.includes(mapped(address)), isInside);
      },
    ),
  );
});

test("what is no network in CIDR notation is refused when the key is asked for", () => {
  for (const network of ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost/8", "10.0.0.0/8 ", ""]) {
    const parsed = createKeySchema.safeParse({ name: "app", scopes: ["read"], networks: [network] });
    assert.equal(parsed.success, false, network);
  }
});
