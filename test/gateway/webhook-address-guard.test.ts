import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { AddressGuard, type Lookup } from "../../gateway/webhooks/address-guard.ts";

const never = new AbortController().signal;

/** A guard for which every name resolves to `addresses`. */
function guardFor(addresses: readonly string[], allowedNetworks: readonly string[] = []): AddressGuard {
  const lookup: Lookup = async () => addresses.map((address) => ({ address, family: isIP(address) }));
  return new AddressGuard({ allowedNetworks, lookup });
}

const refused = { code: "webhook_address_refused" };

const REFUSED: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.1", "127.255.255.255", "::1"],
  private: [
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "fc00::1",
    "fdff:ffff::1",
    "fec0::1",
  ],
  metadata: ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"],
  "link-local": ["169.254.0.0", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1"],
  "carrier-grade NAT": ["100.64.0.0", "100.127.255.255"],
  unspecified: ["0.0.0.0", "0.255.255.255", "::"],
  multicast: ["224.0.0.1", "239.255.255.255", "ff02::1"],
  "broadcast and reserved": ["255.255.255.255", "240.0.0.0"],
  documentation: ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
  benchmarking: ["198.18.0.0", "198.19.255.255", "2001:2::1"],
  protocols: ["192.0.0.0", "192.0.0.192", "2001::1", "100::1", "5f00::1"],
  "IPv4 inside of IPv6": [
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:a9fe:a9fe",
    "::ffff:10.0.0.0",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:808:808::",
    "2001:0:808:808::",
    "192.88.99.1",
  ],
};

for (const [name, addresses] of Object.entries(REFUSED)) {
  test(`a name that leads to ${name} is refused, and so is the address itself`, async () => {
    for (const address of addresses) {
      await assert.rejects(guardFor([address]).check("https://hook.example/x", never), refused, address);
      if (address.includes("%")) continue;
      const host = address.includes(":") ? `[${address}]` : address;
      await assert.rejects(guardFor([]).check(`https://${host}/x`, never), refused, host);
    }
  });
}

test("public addresses pass, in their plain form and behind the well-known NAT64 prefix", async () => {
  const addresses = ["8.8.8.8", "1.1.1.1", "172.32.0.0", "100.128.0.0", "2606:4700::1111", "2a00:1450::1"];
  for (const address of [...addresses, "::ffff:8.8.8.8", "64:ff9b::808:808", "64:ff9b::800:0"]) {
    const target = await guardFor([address]).check("https://hook.example:8443/x?y=1#z", never);
    assert.equal(target.url.href, "https://hook.example:8443/x?y=1");
    assert.deepEqual(target.addresses, [{ address, family: isIP(address) }]);
  }
});

test("every spelling of an address is the address", async () => {
  const guard = guardFor(["8.8.8.8"]);
  const hosts = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "0xa9fea9fe",
    "2852039166",
    "0",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:7f00:0001]",
  ];
  for (const host of hosts) await assert.rejects(guard.check(`https://${host}/`, never), refused, host);
});

test("one bad address among good ones is enough", async () => {
  const guard = guardFor(["8.8.8.8", "2606:4700::1111", "10.0.0.1"]);
  await assert.rejects(guard.check("https://hook.example/", never), {
    ...refused,
    message: /"hook\.example" \(10\.0\.0\.1\).*private.*webhooks\.allowed_networks/,
    details: {
      host: "hook.example",
      address: "10.0.0.1",
      reason: "this address is private, not public",
    },
  });
});

test("what is no HTTPS address without credentials is refused before any name is looked up", async () => {
  let lookups = 0;
  const lookup: Lookup = async () => {
    lookups += 1;
    return [{ address: "8.8.8.8", family: 4 }];
  };
  const guard = new AddressGuard({ allowedNetworks: [], lookup });
  for (const url of [
    "ftp://hook.example/",
    "file:///etc/passwd",
    "data:text/plain,x",
    "https://user@hook.example/",
    "https://:secret@hook.example/",
    "hook.example",
    "https://",
    "",
  ])
    await assert.rejects(guard.check(url, never), refused, url);
  assert.equal(lookups, 0);
});

test("plain HTTP goes into allowed networks only", async () => {
  const url = "http://hook.example/";
  await assert.rejects(guardFor(["8.8.8.8"]).check(url, never), { ...refused, message: /plain HTTP/ });
  const guard = guardFor(["10.1.2.3"], ["10.1.0.0/16"]);
  assert.equal((await guard.check(url, never)).addresses.length, 1);
  await assert.rejects(guardFor(["10.1.2.3", "8.8.8.8"], ["10.1.0.0/16"]).check(url, never), refused);
});

test("an operator's networks are allowed, and nothing beside them", async () => {
  const networks = ["10.1.0.0/16", "fd12:3456::/32", "192.168.7.9"];
  const inside = ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "fd12:3456:1::1", "192.168.7.9"];
  for (const address of inside) await guardFor([address], networks).check("https://hook.example/", never);
  await guardFor([], networks).check("https://192.168.7.9/", never);
  const outside = ["10.0.255.255", "10.2.0.0", "fd12:3457::1", "192.168.7.8", "169.254.169.254"];
  for (const address of outside)
    await assert.rejects(
      guardFor([address], networks).check("https://hook.example/", never),
      refused,
      address,
    );
});

test("what is no network is a mistake in the configuration, named as it was written", () => {
  for (const network of [
    "10.0.0.0/33",
    "fd00::/129",
    "10.0.0/8",
    "lab",
    "",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "::1%lo",
  ]) {
    assert.throws(() => guardFor([], ["10.0.0.0/8", network]), {
      code: "config_invalid",
      details: { network },
    });
  }
});

test("a name that does not resolve, or to nothing, is refused", async () => {
  await assert.rejects(guardFor([]).check("https://hook.example/", never), refused);
  const lookup: Lookup = async () => {
    throw Object.assign(new Error("getaddrinfo ENOTFOUND hook.example"), { code: "ENOTFOUND" });
  };
  const guard = new AddressGuard({ allowedNetworks: [], lookup });
  await assert.rejects(guard.check("https://hook.example/", never), { ...refused, message: /ENOTFOUND/ });
});

test("without another lookup names are resolved as the system does it", async () => {
  const guard = new AddressGuard({ allowedNetworks: [] });
  await assert.rejects(guard.check("https://localhost/", never), { ...refused, message: /loopback/ });
});

test("a lookup that hangs is given up with its signal", async () => {
  const guard = new AddressGuard({ allowedNetworks: [], lookup: () => new Promise(() => {}) });
  const stop = new AbortController();
  const checked = guard.check("https://hook.example/", stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(checked, { message: "enough" });
});

/** The special networks of IPv4 as numbers, apart from the code that is tested. */
const SPECIAL_IPV4: readonly [number, number][] = [
  [0x00000000, 8],
  [0x0a000000, 8],
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa83f8110, 32],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0000000, 24],
  [0xc0000200, 24],
  [0xc0586300, 24],
  [0xc0a80000, 16],
  [0xc6120000, 15],
  [0xc6336400, 24],
  [0xcb007100, 24],
  [0xe0000000, 3],
];

test("of IPv4, exactly the special networks are refused, in each form that stands for them", async () => {
  const isSpecial = (value: number): boolean =>
    SPECIAL_IPV4.some(([base, prefix]) => value >= base && value < base + 2 ** (32 - prefix));
  const edges = SPECIAL_IPV4.flatMap(([base, prefix]) => [base - 1, base, base + 2 ** (32 - prefix) - 1]);
  const value = fc.oneof(
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    fc.constantFrom(...edges.filter((edge) => edge >= 0)),
  );
  const check = async (given: number): Promise<void> => {
    const dotted = [24, 16, 8, 0].map((shift) => (given >>> shift) & 0xff).join(".");
    const hex = given.toString(16).padStart(8, "0");
    const groups = `${hex.slice(0, 4)}:${hex.slice(4)}`;
    for (const address of [dotted, `::ffff:${dotted}`, `::ffff:${groups}`, `64:ff9b::${groups}`]) {
      const checked = guardFor([address]).check("https://hook.example/", never);
      const outcome = await checked.then(
        () => false,
        () => true,
      );
      assert.equal(outcome, isSpecial(given), address);
    }
  };
  await fc.assert(fc.asyncProperty(value, check), { numRuns: 500 });
  for (const edge of edges) if (edge >= 0) await check(edge);
});
