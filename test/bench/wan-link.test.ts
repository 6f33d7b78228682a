import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { median } from "../../bench/rounds.ts";
import { until } from "../support/until.ts";
import { type LineConditions, WanLink } from "../support/wan-link.ts";

let echo: Server;
let link: WanLink | undefined;
const sockets: Socket[] = [];
/** Of the gateway's side. */
const accepted: Socket[] = [];

beforeEach(async () => {
  echo = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
});
afterEach(async () => {
  for (const socket of [...sockets.splice(0), ...accepted.splice(0)]) socket.destroy();
  await link?.close();
  link = undefined;
  await new Promise((resolve) => echo.close(resolve));
});

const echoPort = (): number => (echo.address() as AddressInfo).port;

async function open(conditions: Partial<LineConditions> = {}): Promise<WanLink> {
  link = await WanLink.start({ host: "127.0.0.1", port: echoPort() }, conditions);
  return link;
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  sockets.push(socket);
  await once(socket, "connect");
  return socket;
}

/** `once` would reject for the reset. */
const closing = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.once("close", () => resolve()));

async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  while (size < count) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    chunks.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(chunks);
}

async function roundTripMs(socket: Socket): Promise<number> {
  const startMs = performance.now();
  socket.write("x");
  await readBytes(socket, 1);
  return performance.now() - startMs;
}

async function roundTripsMs(socket: Socket, count: number): Promise<number[]> {
  const all: number[] = [];
  for (let round = 0; round < count; round += 1) all.push(await roundTripMs(socket));
  return all;
}

test("a small echo takes twice the delay, and hardly more than that beside a bare connection", async () => {
  const { port } = await open({ delayMs: 15 });
  const direct = await dial(echoPort());
  const far = await dial(port);
  await roundTripMs(far);
  const [bare, delayed] = [await roundTripsMs(direct, 15), await roundTripsMs(far, 15)];
  assert.ok(Math.min(...delayed) >= 30, `${Math.min(...delayed)} ms is less than the two delays`);
  const moreMs = median(delayed) - 30 - median(bare);
  assert.ok(moreMs < 30, `${moreMs.toFixed(1)} ms more than the delays`);
});

test("opening a connection takes a round trip of its own", async () => {
  const { port } = await open({ delayMs: 20 });
  const startMs = performance.now();
  await roundTripMs(await dial(port));
  assert.ok(performance.now() - startMs >= 80);
});

test("jitter delays each byte differently and keeps their order", async () => {
  const { port } = await open({ delayMs: 2, jitterMs: 15 });
  const socket = await dial(port);
  const sent = Buffer.from(Array.from({ length: 60 }, (_, index) => index));
  const received = readBytes(socket, sent.length);
  for (const byte of sent) {
    socket.write(Buffer.of(byte));
    await sleep(1);
  }
  assert.deepEqual(await received, sent);
  const times = await roundTripsMs(socket, 20);
  assert.ok(Math.max(...times) - Math.min(...times) > 4, `all took about ${median(times)} ms`);
});

test("a line carries what its bandwidth allows, for all its connections together", async () => {
  const { port } = await open({ bytesPerSecond: 1_000_000, queueBytes: 200_000 });
  const both = await Promise.all([dial(port), dial(port)]);
  await Promise.all(both.map((socket) => roundTripMs(socket)));
  const timesMs: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const startMs = performance.now();
    await Promise.all(
      both.map(async (socket) => {
        socket.write(Buffer.alloc(100_000));
        await readBytes(socket, 100_000);
      }),
    );
    timesMs.push(performance.now() - startMs);
  }
  const bestMs = Math.min(...timesMs);
  assert.ok(bestMs >= 199, `200 kB took ${bestMs} ms at 1 MB/s`);
  assert.ok(bestMs < 350, `200 kB took ${bestMs} ms at 1 MB/s`);
});

test("what is sent behind a large payload waits for as much of it as the queue holds", async () => {
  const { port } = await open({ delayMs: 1 });
  link?.changeUp({ bytesPerSecond: 1_000_000, queueBytes: 50_000 });
  const bulk = await dial(port);
  const small = await dial(port);
  await Promise.all([roundTripMs(bulk), roundTripMs(small)]);
  bulk.on("data", () => {});
  bulk.write(Buffer.alloc(600_000));
  await until("the queue is full", () => (link?.upBytes ?? 0) > 100_000);
  const ms = await roundTripMs(small);
  assert.ok(ms >= 40, `${ms} ms through a queue of 50 ms`);
  assert.ok((link?.upBytes ?? 0) < 500_000, "it has not waited for all of the payload");
});

test("a receiver that does not read holds up its sender, and what waits in between stays small", async () => {
  const { port } = await open({ delayMs: 1, bytesPerSecond: 50_000_000 });
  echo.removeAllListeners("connection");
  echo.on("connection", (socket) => {
    accepted.push(socket);
    socket.on("error", () => {});
    socket.pause();
  });
  const socket = await dial(port);
  const chunk = Buffer.alloc(1024 * 1024);
  let sentChunks = 0;
  const push = (): void => {
    while (sentChunks < 64) {
      sentChunks += 1;
      if (!socket.write(chunk)) return void socket.once("drain", push);
    }
  };
  push();
  let before = -1;
  await until("the sender stands still", async () => {
    if (before === sentChunks) return true;
    before = sentChunks;
    await sleep(300);
    return false;
  });
  assert.ok(sentChunks < 40, `${sentChunks} MiB went into nothing`);
  accepted[0]?.resume();
  await until("the sender gets rid of everything", () => sentChunks === 64);
});

test("a frozen line loses nothing", async () => {
  const { port } = await open();
  const socket = await dial(port);
  await roundTripMs(socket);
  link?.freeze();
  const answer = roundTripMs(socket);
  const late = dial(port).then(roundTripMs);
  await sleep(100);
  link?.thaw();
  assert.ok((await answer) >= 99);
  assert.ok((await late) >= 50, "a connection that is opened meanwhile waits too");
});

test("a cut line resets both sides, and lets new ones through unless it refuses", async () => {
  const { port } = await open();
  const socket = await dial(port);
  await roundTripMs(socket);
  const closed = Promise.all([socket, accepted[0] as Socket].map(closing));
  link?.refuse(true);
  link?.cut();
  await closed;
  const refused = connect({ port, host: "127.0.0.1" }).on("error", () => {});
  await closing(refused);
  link?.refuse(false);
  await roundTripMs(await dial(port));
});

test("delay and bandwidth change while a connection is open", async () => {
  const { port } = await open();
  const socket = await dial(port);
  await roundTripMs(socket);
  link?.change({ delayMs: 40 });
  assert.ok((await roundTripMs(socket)) >= 80);
  link?.change({ delayMs: 0, bytesPerSecond: 100_000, queueBytes: 4000 });
  const startMs = performance.now();
  socket.write(Buffer.alloc(20_000));
  await readBytes(socket, 20_000);
  assert.ok(performance.now() - startMs >= 190);
  link?.change({ bytesPerSecond: undefined });
  const fast = Math.min(...(await roundTripsMs(socket, 5)));
  assert.ok(fast < 80, `${fast} ms over a clear line`);
});

test("the end of one side reaches the other behind everything that was sent before", async () => {
  const { port } = await open({ delayMs: 5 });
  const socket = await dial(port);
  socket.end(Buffer.alloc(100_000, 7));
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
  });
  await once(socket, "end");
  assert.equal(received, 100_000);
});
