import assert from "node:assert/strict";
import { test } from "node:test";
import { asLegacyGpuError } from "@legacygpu/shared/errors";
import fc from "fast-check";
import {
  type EventStreamOptions,
  eventStream,
  type ServerSentEvent,
} from "../../gateway/http/event-stream.ts";
import type { StreamBody } from "../../gateway/http/exchange.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { GET, HandMade } from "./hand-made-stream.ts";
import { route, startGateway, until } from "./http-server-fixture.ts";

type Events = HandMade<ServerSentEvent>;

/** The chunks of an event stream after its opening line. */
async function chunksOf(
  events: AsyncIterable<ServerSentEvent>,
  options: EventStreamOptions,
): Promise<AsyncIterator<string | Uint8Array>> {
  const { chunks } = eventStream(events, options).body as StreamBody;
  const iterator = chunks[Symbol.asyncIterator]();
  assert.deepEqual(await iterator.next(), { done: false, value: ": open\n\n" });
  return iterator;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** As the HTML standard has it. */
function parse(text: string): { id?: string; event: string; data: string }[] {
  const found = [];
  let fields: Record<string, string> = {};
  for (const line of text.split(/\r\n|\r|\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (line !== "" && name !== undefined && value !== undefined) fields[name] = value;
    if (line !== "") continue;
    const { id, event = "message", data } = fields;
    if (data !== undefined) found.push({ ...(id === undefined ? {} : { id }), event, data });
    fields = {};
  }
  return found;
}

test("a browser reads from the stream what was put into it", async () => {
  const line = fc.string({ unit: "grapheme" }).map((text) => text.replace(/[\r\n\0]/g, ""));
  const event = fc.record(
    { id: line, event: line.filter((text) => text !== ""), data: fc.jsonValue() },
    { requiredKeys: ["event", "data"] },
  );
  const property = fc.asyncProperty(fc.array(event, { maxLength: 5 }), async (events) => {
    const source = async function* () {
      yield* events;
    };
    const clock = new ManualClock();
    const iterator = await chunksOf(source(), { clock });
    let text = "";
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
      text += next.value;
    assert.deepEqual(
      parse(text),
      events.map((made) => ({ ...made, data: JSON.stringify(made.data) })),
    );
    assert.equal(clock.pendingCount, 0);
  });
  await fc.assert(property);
});

test("what would break out of its line cuts the stream, and the source is given back", async (t) => {
  const bad = [
    { id: "1\n2", event: "a", data: 1 },
    { event: "a\rb", data: 1 },
    { id: "\0", event: "a", data: 1 },
  ];
  for (const made of bad) {
    const events = new HandMade<ServerSentEvent>();
    const clock = new ManualClock();
    const handle = () => eventStream(events, { clock });
    const gateway = await startGateway(t, { routes: [route({ handle })] });
    const client = await gateway.dial();
    client.send(GET);
    await until(() => events.asked === 1, "the source to be asked");
    events.make(made);
    await client.untilClosed();
    assert.doesNotMatch(client.text, /data/);
    assert.deepEqual([asLegacyGpuError(gateway.faults[0]).code, events.returns], ["internal", 1]);
    assert.equal(clock.pendingCount, 0);
  }
});

test("silence is broken by pings, the source is asked once, and no event is lost", async (t) => {
  const events = new HandMade<ServerSentEvent>();
  const clock = new ManualClock();
  const handle = () => eventStream(events, { clock, retryMs: 4000 });
  const gateway = await startGateway(t, { routes: [route({ handle })] });
  const client = await gateway.dial();
  client.send(GET);
  await client.until(/\r\nretry: 4000\n\n$/);
  assert.match(client.text, /content-type: text\/event-stream\r\n/);
  assert.match(client.text, /cache-control: no-store\r\n/);
  assert.match(client.text, /x-accel-buffering: no\r\n/);
  for (let round = 1; round <= 3; round += 1) {
    client.received = Buffer.alloc(0);
    await until(() => clock.pendingCount === 1, "the next wait");
    clock.advance(14_999);
    assert.equal(clock.pendingCount, 1, "the ping came early");
    clock.advance(1);
    await client.until(/: ping\n\n$/);
  }
  assert.equal(events.asked, 1);
  events.make({ id: "7", event: "completed", data: { ok: true } });
  await client.until(/id: 7\nevent: completed\ndata: \{"ok":true\}\n\n$/);
  // Only silence counts.
  await until(() => clock.pendingCount === 1 && events.asked === 2, "the next wait");
  client.received = Buffer.alloc(0);
  clock.advance(10_000);
  events.make({ event: "progress", data: 1 });
  await client.until(/event: progress\ndata: 1\n\n$/);
  await until(() => events.asked === 3, "the next wait");
  clock.advance(14_999);
  assert.equal(clock.pendingCount, 1, "the ping came early");
  events.end();
  await client.until(/\r\n0\r\n\r\n$/);
  assert.deepEqual([clock.pendingCount, events.returns], [0, 0]);
  client.socket.destroy();
});

test("an event, an end and an error that come while nobody waits are kept", async () => {
  for (const kind of ["event", "end", "error"] as const) {
    const events = new HandMade<ServerSentEvent>();
    const clock = new ManualClock();
    const iterator = await chunksOf(events, { clock, pingMs: 10 });
    const ping = iterator.next();
    clock.advance(10);
    assert.deepEqual(await ping, { done: false, value: ": ping\n\n" });
    const error = new Error("gone");
    if (kind === "event") events.make({ event: "a", data: null });
    else if (kind === "end") events.end();
    else events.break(error);
    await settled();
    const next = iterator.next();
    if (kind === "event") assert.equal((await next).value, "event: a\ndata: null\n\n");
    else if (kind === "end") assert.equal((await next).done, true);
    else await assert.rejects(next, error);
    assert.deepEqual([events.asked, clock.pendingCount], [1, 0]);
  }
});

test("a client that leaves, and a server that closes, end the wait for the next event", async (t) => {
  const clock = new ManualClock();
  const sources: Events[] = [];
  const handle = () => {
    const events = new HandMade<ServerSentEvent>();
    sources.push(events);
    return eventStream(events, { clock });
  };
  const gateway = await startGateway(t, { routes: [route({ handle })] });
  const [leaving, staying] = [await gateway.dial(), await gateway.dial()];
  leaving.send(GET);
  await leaving.until(/: open\n\n$/);
  staying.send(GET);
  await staying.until(/: open\n\n$/);
  await until(() => clock.pendingCount === 2, "both waits");
  leaving.socket.destroy();
  await until(() => sources[0]?.returns === 1, "the first source to be given back");
  assert.equal(clock.pendingCount, 1);
  // What the source still says is dropped.
  sources[0]?.make({ event: "late", data: 1 });
  await gateway.server.close(3_600_000);
  await staying.untilClosed();
  assert.match(staying.text, /: open\n\n\r\n0\r\n\r\n$/);
  assert.deepEqual([sources[1]?.returns, clock.pendingCount], [1, 0]);
  assert.deepEqual(gateway.faults, []);
});

test("nothing comes after the stream was given back", async () => {
  const events = new HandMade<ServerSentEvent>();
  const clock = new ManualClock();
  const iterator = await chunksOf(events, { clock });
  const waiting = iterator.next();
  await iterator.return?.();
  assert.equal((await waiting).done, true);
  events.make({ event: "late", data: 1 });
  await settled();
  assert.equal((await iterator.next()).done, true);
  assert.deepEqual([events.asked, events.returns, clock.pendingCount], [1, 1, 0]);
});
