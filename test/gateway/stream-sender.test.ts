import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ChunkQueue } from "../../gateway/http/chunk-queue.ts";
import { EndlessStreams } from "../../gateway/http/endless-streams.ts";
import type { NativeResponse } from "../../gateway/http/native.ts";
import { StreamSender } from "../../gateway/http/stream-sender.ts";

const CORK_BYTES = 16 * 1024;
const FRAMING_BYTES = 12;

/**
 * What the server library does with a slow socket, as its source has it: a cork is flushed when it is left or when it overflows; what the socket
 * does not take is kept and only sent on by the next write or cork; and of a write that overflows the cork it loses the rest when
 * the socket is full.
 */
class SlowSocket implements Partial<NativeResponse> {
  /** What the client has. */
  readonly received: Uint8Array[] = [];
  state: "open" | "ended" = "open";
  mostKeptBytes = 0;
  #room = 0;
  #kept = Buffer.alloc(0);
  #corked = Buffer.alloc(0);
  #onWritable: (offset: number) => boolean = () => true;

  onWritable(listener: (offset: number) => boolean): void {
    this.#onWritable = listener;
  }

  cork(write: () => void): void {
    write();
    this.#flushCork();
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#drain()) return !this.#keep(chunk);
    if (this.#corked.length + FRAMING_BYTES + chunk.length <= CORK_BYTES) {
      this.#corked = Buffer.concat([this.#corked, chunk]);
      return true;
    }
    if (!this.#flushCork() || this.#room === 0) return false;
    return !this.#keep(chunk.subarray(this.#transmit(chunk)));
  }

  end(chunk: Uint8Array): void {
    this.write(chunk);
    this.state = "ended";
  }

  /** The client reads. */
  makeRoom(sizeBytes: number): void {
    this.#room += sizeBytes;
    if (this.state === "open") this.#onWritable(0);
    else this.#drain();
  }

  #transmit(bytes: Uint8Array): number {
    const taken = Math.min(this.#room, bytes.length);
    this.received.push(bytes.subarray(0, taken));
    this.#room -= taken;
    return taken;
  }

  #drain(): boolean {
    this.#kept = this.#kept.subarray(this.#transmit(this.#kept));
    return this.#kept.length === 0;
  }

  #keep(bytes: Uint8Array): boolean {
    this.#kept = Buffer.concat([this.#kept, bytes]);
    this.mostKeptBytes = Math.max(this.mostKeptBytes, this.#kept.length);
    return this.#kept.length > 0;
  }

  #flushCork(): boolean {
    const corked = this.#corked;
    this.#corked = Buffer.alloc(0);
    return !this.#keep(this.#drain() ? corked.subarray(this.#transmit(corked)) : corked);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("whatever the socket takes at a time: nothing is lost, nothing piles up in the library", async () => {
  const property = fc.asyncProperty(
    fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 12 }),
    fc.integer({ min: 600, max: 40_000 }),
    async (sizes, roomBytes) => {
      const chunks = sizes.map((size, index) => Buffer.alloc(size, index + 1));
      const socket = new SlowSocket();
      let isDue = true;
      const host = {
        wake: () => {
          isDue = true;
        },
        onFault: assert.fail,
      };
      const body = {
        chunks: (async function* () {
          yield* chunks;
        })(),
      };
      const sender = new StreamSender(socket as unknown as NativeResponse, body, host, new EndlessStreams());
      for (let left = 10_000; socket.state === "open"; left -= 1) {
        assert.ok(left > 0, "the sender stands still");
        await turn();
        if (isDue && sender.isReady()) {
          isDue = false;
          sender.pump();
        } else {
          socket.makeRoom(roomBytes);
        }
      }
      socket.makeRoom(1e9);
      assert.ok(Buffer.concat(socket.received).equals(Buffer.concat(chunks)), "the bytes differ");
      assert.ok(socket.mostKeptBytes < 40 * 1024, `${socket.mostKeptBytes} bytes were kept at once`);
    },
  );
  await fc.assert(property, { numRuns: 60 });
});

test("a queue gives out what was put in, in order, in pieces as large as allowed", () => {
  const property = fc.property(
    fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 20 }),
    fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }),
    (chunks, limits) => {
      const queue = new ChunkQueue();
      for (const chunk of chunks) queue.push(chunk);
      const all = Buffer.concat(chunks);
      let offset = 0;
      for (const limit of limits) {
        assert.equal(queue.sizeBytes, all.length - offset);
        const piece = queue.take(limit);
        assert.deepEqual(Buffer.from(piece), all.subarray(offset, offset + limit));
        offset += piece.byteLength;
      }
      assert.equal(queue.sizeBytes, all.length - offset);
      assert.ok(queue.sizeBytes > 0 || queue.take(1).byteLength === 0);
    },
  );
  fc.assert(property);
  const queue = new ChunkQueue();
  queue.push("grün");
  queue.push("");
  assert.deepEqual([queue.sizeBytes, queue.count], [5, 2]);
  queue.clear();
  assert.deepEqual([queue.sizeBytes, queue.count, queue.take(9).byteLength], [0, 0, 0]);
});
