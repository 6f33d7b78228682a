import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BoundedTable } from "../../gateway/limits/bounded-table.ts";
import { countedAddress } from "../../gateway/limits/counted-address.ts";
import { Rate, TokenBucket } from "../../gateway/limits/token-bucket.ts";

const rate = (perSecond: number, burst?: number): Rate => new Rate({ name: "test", count: perSecond, burst });

/** Everything that was ever taken, and the bound as it is stated: for every window that ends now. Exact. */
class TakenModel {
  readonly #taken: { readonly atUs: number; readonly count: number }[] = [];
  readonly #rate: Rate;

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  hasRoom(count: number, nowUs: number): boolean {
    const { burst, unitsPerToken, unitsPerUs } = this.#rate;
    const allowed = (sinceUs: number): bigint =>
      BigInt(burst) * BigInt(unitsPerToken) + BigInt(unitsPerUs) * BigInt(nowUs - sinceUs);
    let sum = BigInt(count);
    if (sum > BigInt(burst)) return false;
    for (const taken of [...this.#taken].reverse()) {
      sum += BigInt(taken.count);
      if (sum * BigInt(unitsPerToken) > allowed(taken.atUs)) return false;
    }
    return true;
  }

  take(count: number, atUs: number): void {
    this.#taken.push({ atUs, count });
  }
}

const rates = fc.record({
  perSecond: fc.oneof(
    fc.integer({ min: 1, max: 2_000_000 }),
    fc.integer({ min: 1, max: 50_000 }).map((thousandths) => thousandths / 1000),
  ),
  burst: fc.integer({ min: 1, max: 12 }),
});
/** Pauses that are often about as long as one token takes. */
const requests = fc.array(
  fc.record({ pause: fc.double({ min: 0, max: 3, noNaN: true }), count: fc.integer({ min: 1, max: 4 }) }),
  { maxLength: 60 },
);

test("a bucket lets in exactly what keeps every window within burst + rate × time, and says exactly when", () => {
  fc.assert(
    fc.property(rates, requests, fc.nat(2 ** 45), (given, arrivals, startUs) => {
      const { perSecond, burst } = given;
      const bucket = new TokenBucket(rate(perSecond, burst), startUs);
      const model = new TakenModel(rate(perSecond, burst));
      let nowUs = startUs;
      for (const arrival of arrivals) {
        nowUs += Math.round((arrival.pause * 1_000_000) / perSecond);
        const count = Math.min(arrival.count, burst);
        const waitUs = bucket.waitUs(count, nowUs);
        assert.equal(waitUs === 0, model.hasRoom(count, nowUs));
        if (waitUs === 0) {
          bucket.take(count, nowUs);
          model.take(count, nowUs);
        } else {
          assert.ok(model.hasRoom(count, nowUs + waitUs));
          assert.ok(!model.hasRoom(count, nowUs + waitUs - 1));
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a caller at exactly the rate is never refused, however odd the rate", () => {
  for (const perSecond of [0.001, 0.3, 1, 3, 7, 10, 49.999, 1000]) {
    const bucket = new TokenBucket(rate(perSecond, 1), 0);
    for (let i = 0; i < 1000; i += 1) {
      const nowUs = i * Math.ceil(1_000_000 / perSecond);
      assert.equal(bucket.waitUs(1, nowUs), 0, `${perSecond} per second, request ${i}`);
      bucket.take(1, nowUs);
    }
  }
});

test("a rate by the minute is as exact as one by the second", () => {
  const bucket = new TokenBucket(new Rate({ name: "test", count: 7, seconds: 60 }), 0);
  bucket.take(7, 0);
  assert.equal(bucket.waitUs(7, 0), 60_000_000);
  assert.equal(bucket.remaining(59_999_999), 6);
  assert.equal(bucket.remaining(60_000_000), 7);
});

test("what is more than the bucket holds waits for a full one, and is owed afterwards", () => {
  const bucket = new TokenBucket(rate(10, 5), 0);
  assert.equal(bucket.waitUs(25, 0), 0);
  bucket.take(25, 0);
  assert.equal(bucket.remaining(0), 0);
  assert.equal(bucket.waitUs(1, 0), 2_100_000);
  assert.equal(bucket.waitUs(25, 0), 2_500_000);
  assert.equal(bucket.isIdle(2_499_999), false);
  assert.equal(bucket.isIdle(2_500_000), true);
});

test("what is given back never makes more than a full bucket", () => {
  const bucket = new TokenBucket(rate(1, 5), 0);
  bucket.take(3, 0);
  bucket.giveBack(1, 0);
  assert.equal(bucket.remaining(0), 3);
  bucket.giveBack(100, 0);
  assert.equal(bucket.remaining(0), 5);
});

test("what is owed can be bounded", () => {
  const bucket = new TokenBucket(rate(1, 5), 0);
  for (let i = 0; i < 100; i += 1) bucket.take(1, 0, 5);
  assert.equal(bucket.waitUs(1, 0), 6_000_000);
});

test("a clock that goes back takes nothing away", () => {
  const bucket = new TokenBucket(rate(1, 5), 1_000_000);
  bucket.take(5, 1_000_000);
  assert.equal(bucket.remaining(0), 0);
  assert.equal(bucket.remaining(2_000_000), 1);
});

test("rates and bursts that cannot be counted exactly are refused", () => {
  assert.equal(rate(0.5).burst, 1);
  assert.equal(rate(2.5).burst, 3);
  for (const [perSecond, burst] of [
    [0, 1],
    [-1, 1],
    [Number.NaN, 1],
    [Number.POSITIVE_INFINITY, 1],
    [0.0001, 1],
    [1, 0],
    [1, 1.5],
    [1, 1e10],
  ] as const)
    assert.throws(() => rate(perSecond, burst), { code: "config_invalid" }, `${perSecond} ${burst}`);
});

test("a table forgets its oldest idle rows as others come, and keeps those that say something", () => {
  const busy = new Set<string>();
  let made = 0;
  const table = new BoundedTable<{ name: string; isIdle(): boolean }>(() => {
    const name = String(made++);
    return { name, isIdle: () => !busy.has(name) };
  });
  for (let i = 0; i < 100; i += 1) busy.add(String(i));
  for (let i = 0; i < 100; i += 1) table.get(String(i), 0);
  assert.equal(table.size, 100);
  for (let i = 0; i < 90; i += 1) busy.delete(String(i));
  for (let i = 100; i < 160; i += 1) table.get(String(i), 0);
  for (let i = 0; i < 90; i += 1) assert.equal(table.known(String(i)), undefined, String(i));
  for (let i = 90; i < 100; i += 1) assert.equal(table.known(String(i))?.name, String(i));
  assert.ok(table.size < 20, `${table.size} rows`);
});

test("a table never holds more than it may, whatever its rows say", () => {
  const table = new BoundedTable(() => ({ isIdle: () => false }), 50);
  for (let i = 0; i < 500; i += 1) {
    table.get(String(i), 0);
    assert.ok(table.size <= 50);
    assert.ok(table.known(String(i)), "the newcomer itself was dropped");
  }
});

test("an IPv6 address is counted by its /64, in whatever way it is written", () => {
  assert.equal(countedAddress("192.0.2.7"), "192.0.2.7");
  const subnet = countedAddress("2001:db8:1:2::1");
  assert.equal(countedAddress("2001:0db8:0001:0002:ffff:ffff:ffff:ffff"), subnet);
  assert.equal(countedAddress("2001:DB8:1:2:0:0:192.0.2.7"), subnet);
  assert.notEqual(countedAddress("2001:db8:1:3::1"), subnet);
  assert.equal(countedAddress("fe80::1%eth0"), countedAddress("fe80::2%eth1"));
  assert.notEqual(countedAddress("::1"), countedAddress("1::"));
});

test("an IPv4 address that is written as IPv6 is the same address", () => {
  for (const text of ["::ffff:192.0.2.7", "::ffff:c000:207", "0000:0000:0000:0000:0000:ffff:c000:0207"])
    assert.equal(countedAddress(text), "192.0.2.7", text);
  assert.notEqual(countedAddress("::ffff:192.0.2.8"), countedAddress("::ffff:192.0.2.7"));
});

test("what is no address is counted as it stands", () => {
  for (const text of ["", ":", "::1::2", "1:2:3", "g::1", "12345::1", "1:2:3:4:5:6:7:8:9"])
    assert.equal(countedAddress(text), text, text);
});
