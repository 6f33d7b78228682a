/** The proxy that the tests of outages stand on: each fault does what it says, and ends when it is told to. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { FaultProxy } from "../support/fault-proxy.ts";
import { until } from "../support/until.ts";

/** One end of a connection and everything that it was told. */
class End {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  hasEnded = false;
  error: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => void this.#chunks.push(chunk));
    socket.on("end", () => {
      this.hasEnded = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
  get text(): string {
    return this.bytes.toString("latin1");
  }
  hears(text: string): Promise<unknown> {
    return until(`\`${text}\` to arrive`, () => this.text === text);
  }
  isReset(): Promise<unknown> {
    return until("a reset", () => this.error === "ECONNRESET");
  }
}

describe("the fault proxy", () => {
  let server: Server;
  let accepted: End[];
  let proxy: FaultProxy;
  let clients: End[];

  before(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => void accepted.push(new End(socket)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  beforeEach(async () => {
    accepted = [];
    clients = [];
    proxy = await FaultProxy.start({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
  });
  afterEach(async () => {
    for (const { socket } of [...clients, ...accepted]) socket.destroy();
    await proxy.close();
    assert.equal(proxy.connections, 0);
  });
  after(() => void server.close());

  function dial(port = proxy.port): End {
    const client = new End(connect({ port, host: "127.0.0.1", allowHalfOpen: true }));
    clients.push(client);
    return client;
  }

  /** Both ends of a connection through which one byte has gone each way. */
  async function pair(): Promise<{ client: End; remote: End }> {
    const index = accepted.length;
    const client = dial();
    client.socket.write("?");
    const remote = await until("the connection", () => accepted[index]);
    await remote.hears("?");
    remote.socket.write("!");
    await client.hears("!");
    return { client, remote };
  }

  /** Whatever the proxy would have passed on by now has arrived: bytes went to and fro beside it. */
  async function aWhile(): Promise<void> {
    const index = accepted.length;
    const direct = dial((server.address() as AddressInfo).port);
    const remote = await until("a direct connection", () => accepted[index]);
    for (let round = 1; round <= 20; round += 1) {
      direct.socket.write(".");
      await remote.hears(".".repeat(round));
    }
    direct.socket.destroy();
  }

  test("passes everything on in both directions, the end included", async () => {
    const { client, remote } = await pair();
    const sent = randomBytes(3_000_000);
    client.socket.end(sent);
    await until("the end at the server", () => remote.hasEnded);
    assert.ok(remote.bytes.subarray(1).equals(sent));
    remote.socket.end(sent);
    await until("the end at the client", () => client.hasEnded);
    assert.ok(client.bytes.subarray(1).equals(sent));
    await until("the connection to be gone", () => proxy.connections === 0);
  });

  test("delay holds back both directions, until there is none", async () => {
    const { client, remote } = await pair();
    proxy.delay(3_600_000);
    client.socket.write("to");
    remote.socket.write("fro");
    await aWhile();
    assert.deepEqual([remote.text, client.text], ["?", "!"]);
    proxy.delay(0);
    await Promise.all([remote.hears("?to"), client.hears("!fro")]);
  });

  test("jitter keeps the order", async () => {
    const { client, remote } = await pair();
    proxy.delay(1, 10);
    const words = Array.from({ length: 100 }, (_, index) => `${index} `);
    for (const word of words) {
      client.socket.write(word);
      await new Promise(setImmediate);
    }
    await remote.hears(`?${words.join("")}`);
  });

  test("throttle lets little through at a time, and everything in the end", async () => {
    const { client, remote } = await pair();
    const sent = randomBytes(1_000_000);
    proxy.throttle(2000);
    client.socket.write(sent);
    await until("the first bytes", () => remote.bytes.length > 100);
    assert.ok(remote.bytes.length < 500_000);
    proxy.throttle(undefined);
    await until("the rest", () => remote.bytes.length === 1 + sent.length);
    assert.ok(remote.bytes.subarray(1).equals(sent));
  });

  test("frozen: nothing moves, new connections hang, and nothing is lost when it thaws", async () => {
    const { client, remote } = await pair();
    proxy.freeze();
    client.socket.write("to");
    remote.socket.write("fro");
    const late = dial();
    late.socket.write("late");
    await until("the late one to be taken", () => proxy.connections === 2);
    await aWhile();
    assert.deepEqual([remote.text, client.text, late.socket.connecting], ["?", "!", false]);
    assert.equal(accepted.filter(({ text }) => text === "late").length, 0);
    proxy.thaw();
    await Promise.all([remote.hears("?to"), client.hears("!fro")]);
    await until("the late one's word", () => accepted.some(({ text }) => text === "late"));
  });

  test("a blackhole swallows what is sent, for ever on old connections; new ones hang until it is gone", async () => {
    const { client, remote } = await pair();
    proxy.blackhole();
    client.socket.write("lost");
    remote.socket.end("lost");
    const late = dial();
    late.socket.write("late");
    await until("the late one to be taken", () => proxy.connections === 2);
    proxy.restore();
    await until("the late one's word", () => accepted.some(({ text }) => text === "late"));
    client.socket.write("lost too");
    await aWhile();
    assert.deepEqual([remote.text, client.text, client.hasEnded], ["?", "!", false]);
    proxy.cut();
    await Promise.all([client.isReset(), late.isReset()]);
  });

  test("cut resets both ends, also of a connection that hangs", async () => {
    const { client, remote } = await pair();
    proxy.freeze();
    const hanging = dial();
    await until("it to hang", () => proxy.connections === 2);
    proxy.cut();
    await Promise.all([client.isReset(), remote.isReset(), hanging.isReset()]);
    proxy.thaw();
    await pair();
  });

  test("refuse resets new connections and leaves old ones alone", async () => {
    const { client, remote } = await pair();
    proxy.refuse(true);
    await dial().isReset();
    client.socket.write("still here");
    await remote.hears("?still here");
    proxy.refuse(false);
    await pair();
  });

  test("half-closed: one end is told that nothing more comes, and can still send", async () => {
    const { client, remote } = await pair();
    proxy.halfClose("client");
    await until("the end at the client", () => client.hasEnded);
    client.socket.write("to");
    remote.socket.write("unheard");
    await remote.hears("?to");
    assert.deepEqual([remote.hasEnded, client.text], [false, "!"]);
    const other = await pair();
    proxy.halfClose("server");
    await until("the end at the server", () => other.remote.hasEnded);
    other.remote.socket.write("fro");
    await other.client.hears("!fro");
    assert.equal(other.client.hasEnded, false);
  });

  test("corruption flips one bit of a piece, now and then", async () => {
    const { client, remote } = await pair();
    const rolls = [0.4, 0.999, 0.999, 0.6];
    proxy.corrupt(0.5, () => rolls.shift() ?? 1);
    client.socket.write("AAAA");
    await until("the first word", () => remote.text.length === 5);
    client.socket.write("AAAA");
    await until("the second word", () => remote.text.length === 9);
    proxy.corrupt(undefined, Math.random);
    client.socket.write("A");
    await remote.hears("?AAA\xc1AAAAA");
  });

  test("a reset on one side reaches the other, and so does a server that is not there", async () => {
    const { client, remote } = await pair();
    remote.socket.resetAndDestroy();
    await client.isReset();
    const nowhere = await FaultProxy.start({ host: "127.0.0.1", port: 1 });
    await dial(nowhere.port).isReset();
    await nowhere.close();
  });
});
