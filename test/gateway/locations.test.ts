/** Who at a site is told to fetch, to wait, or to ask a neighbour. */

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { isBlobTokenValid } from "@legacygpu/shared/protocol/blob-token";
import type { GatewayMessage, MessageOf } from "@legacygpu/shared/protocol/messages";
import fc from "fast-check";
import { BlobLocations } from "../../gateway/models/locations.ts";
import { ManualClock } from "../support/manual-clock.ts";

type BlobSources = MessageOf<GatewayMessage, "blob_sources">;

const BLOB = `sha256:${"a".repeat(64)}`;
const TOKEN_KEY = new Uint8Array(32).fill(7);

class Box {
  readonly told: BlobSources[] = [];
  readonly link = { send: (message: BlobSources) => void this.told.push(message) };
  readonly id: string;
  readonly site: string;
  readonly #locations: BlobLocations;

  constructor(locations: BlobLocations, id: string, site = "lab") {
    this.#locations = locations;
    this.id = id;
    this.site = site;
  }

  connect(digests: string[] = [], isServing = true): this {
    this.#locations.arrive({ workerId: this.id, site: this.site, digests, link: this.link });
    const server = { certificate: `of ${this.id}`, addresses: ["10.0.0.1"], tokenKey: TOKEN_KEY };
    if (isServing) this.#locations.serves(this.id, { type: "blob_server", port: Number(this.id), ...server });
    return this;
  }

  say(state: "wanted" | "fetching" | "held" | "dropped" | "failed", receivedBytes?: number): this {
    const more = receivedBytes === undefined ? {} : { receivedBytes };
    this.#locations.heard(this.id, { type: "blob_state", digest: BLOB, state, ...more });
    return this;
  }

  leave(): void {
    this.#locations.depart(this.id, this.link);
  }

  get last(): BlobSources["decision"] | undefined {
    return this.told.at(-1)?.decision;
  }

  get ports(): number[] {
    return this.told.at(-1)?.sources.map(({ port }) => port) ?? [];
  }
}

describe("blob locations", () => {
  let clock: ManualClock;
  let locations: BlobLocations;
  beforeEach(() => {
    clock = new ManualClock();
    locations = new BlobLocations({ clock });
  });
  const box = (id: number, site?: string): Box => new Box(locations, String(id), site);
  function pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1000) {
      clock.advance(Math.min(left, 1000));
      locations.sweep();
    }
  }

  test("of four that want a blob one fetches, and the others copy it when it is there", () => {
    const boxes = [1, 2, 3, 4].map((id) => box(id).connect().say("wanted"));
    assert.deepEqual(
      boxes.map(({ last }) => last),
      ["fetch", "wait", "wait", "wait"],
    );
    boxes[0]?.say("held");
    for (const other of boxes.slice(1)) {
      assert.equal(other.last, "neighbours");
      assert.deepEqual(other.ports, [1]);
    }
  });

  test("another site fetches for itself", () => {
    box(1).connect([BLOB]);
    assert.equal(box(2, "office").connect().say("wanted").last, "fetch");
  });

  test("a token is for this blob, this neighbour and a few minutes", () => {
    box(1).connect([BLOB]);
    const { told } = box(2).connect().say("wanted");
    const { token = "", certificate } = told[0]?.sources[0] ?? {};
    assert.equal(certificate, "of 1");
    assert.ok(isBlobTokenValid(TOKEN_KEY, BLOB, token, clock.now() + 4 * 60_000));
    assert.ok(!isBlobTokenValid(TOKEN_KEY, BLOB, token, clock.now() + 5 * 60_000));
    assert.ok(!isBlobTokenValid(TOKEN_KEY, `sha256:${"b".repeat(64)}`, token, clock.now()));
    assert.ok(!isBlobTokenValid(new Uint8Array(32), BLOB, token, clock.now()));
  });

  test("when the one that fetches gives up the next one takes over, the one with most of it first", () => {
    const first = box(1).connect().say("wanted");
    const second = box(2).connect().say("wanted", 10);
    const third = box(3).connect().say("wanted", 5000);
    first.say("failed");
    assert.deepEqual([second.last, third.last], ["wait", "fetch"]);
  });

  test("a fetch without progress is waited for 6 s, one with progress for ever", () => {
    const first = box(1).connect().say("wanted");
    const second = box(2).connect().say("wanted");
    for (let step = 1; step <= 20; step += 1) {
      pass(5000);
      first.say("fetching", step);
    }
    assert.equal(second.last, "wait");
    pass(7000);
    assert.equal(second.last, "fetch");
  });

  test("when a line breaks, the one with half of the file goes on, though others are back sooner", () => {
    const first = box(1).connect().say("wanted").say("fetching", 5000);
    const second = box(2).connect().say("wanted");
    first.leave();
    second.leave();
    pass(2000);
    second.connect().say("wanted", 0);
    assert.equal(second.last, "wait");
    first.connect().say("wanted", 5000);
    assert.equal(first.last, "fetch");
    assert.equal(second.last, "wait");
  });

  test("when the one that fetches does not come back, the next one takes over", () => {
    box(1).connect().say("wanted").leave();
    const second = box(2).connect().say("wanted");
    assert.equal(second.last, "wait");
    pass(7000);
    assert.equal(second.last, "fetch");
  });

  test("a worker that cannot serve copies from others, and fetches only when no other wants it", () => {
    const first = box(1).connect().say("wanted");
    const mute = box(2).connect([], false).say("wanted");
    const third = box(3).connect().say("wanted");
    first.say("failed");
    assert.deepEqual([mute.last, third.last], ["wait", "fetch"]);
    third.say("held");
    assert.equal(mute.last, "neighbours");
  });

  test("a file that was evicted, and one whose box has gone, is not offered", () => {
    const first = box(1).connect([BLOB]);
    const second = box(2).connect([BLOB]);
    first.say("dropped");
    assert.deepEqual(box(3).connect().say("wanted").ports, [2]);
    second.leave();
    assert.equal(box(4).connect().say("wanted").last, "fetch");
  });

  test("four at a time copy from one, and the next when those have it", () => {
    box(1).connect([BLOB]);
    const others = [2, 3, 4, 5, 6, 7].map((id) => box(id).connect().say("wanted"));
    assert.deepEqual(
      others.map(({ last }) => last),
      ["neighbours", "neighbours", "neighbours", "neighbours", "wait", "wait"],
    );
    others[0]?.say("held");
    assert.deepEqual([others[4]?.last, others[5]?.last], ["neighbours", "neighbours"]);
    assert.deepEqual(others[5]?.ports.toSorted(), [1, 2]);
  });

  test("those who wait are told again, so that they know that they are not forgotten", () => {
    const first = box(1).connect().say("wanted");
    const second = box(2).connect().say("wanted");
    for (let second = 0; second < 25; second += 1) {
      first.say("fetching", second);
      pass(1000);
    }
    assert.deepEqual(
      second.told.map(({ decision }) => decision),
      ["wait", "wait", "wait"],
    );
  });

  test("the end of a link that was replaced changes nothing", () => {
    const first = box(1).connect([BLOB]);
    const earlier = { send: () => {} };
    locations.depart("1", earlier);
    assert.deepEqual(box(2).connect().say("wanted").ports, [1]);
    assert.equal(first.last, undefined);
  });

  test("one worker cannot make the gateway remember without limit", () => {
    const greedy = box(1).connect();
    box(2).connect();
    for (let number = 0; number < 500; number += 1) {
      const digest = `sha256:${number.toString(16).padStart(64, "0")}`;
      locations.heard("2", { type: "blob_state", digest, state: "wanted" });
      locations.heard("1", { type: "blob_state", digest, state: "wanted" });
    }
    const counts = { fetch: 0, wait: 0, neighbours: 0 };
    for (const { decision } of greedy.told) counts[decision] += 1;
    assert.deepEqual(counts, { fetch: 436, wait: 64, neighbours: 0 });
  });

  test("whatever happens, nobody who asks is left without anybody who fetches or has it", () => {
    const step = fc.tuple(
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom("connect", "leave", "wanted", "fetching", "held", "dropped", "failed", "time"),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        clock = new ManualClock();
        locations = new BlobLocations({ clock });
        const boxes = [1, 2, 3, 4].map((id) => box(id).connect());
        const online = new Set(boxes);
        for (const [index, what] of steps) {
          const one = boxes[index] as Box;
          if (what === "time") pass(3000);
          else if (what === "connect") {
            one.connect();
            one.told.length = 0;
            online.add(one);
          } else if (what === "leave") {
            one.leave();
            online.delete(one);
          } else if (online.has(one)) {
            one.say(what);
            // What it said last, it is told for: older answers are for older questions.
            if (what !== "fetching" && what !== "wanted" && what !== "dropped") one.told.length = 0;
          }
        }
        // The others fall silent for good: each who still waits gets its turn.
        const waiting = [...online].filter(({ last }) => last === "wait");
        for (let round = 0; round < boxes.length; round += 1) pass(70_000);
        for (const one of waiting) assert.notEqual(one.last, "wait");
      }),
      { numRuns: 300 },
    );
  });
});
