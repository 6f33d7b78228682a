/**
 * What a large payload does to the heartbeats of the agent that receives it, over a line of 10 Mbit/s.
 *
 * The probe is a small request on a kept connection through the same line to the same gateway, twenty times a second: it waits where a ping
 * waits. The gateway's own pings, one a second, are too few for a p99; their smoothed value is shown beside it.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Agent as HttpAgent, request } from "undici";
import { percentile } from "../load/percentile.ts";
import type { Numbers } from "../report.ts";
import type { Bench } from "../run.ts";
import { type Sites, WIDE } from "./sites.ts";

const BYTES_PER_SECOND = 10e6 / 8;
/** Of a home router. */
const QUEUE_BYTES = 256 * 1024;
const PAYLOAD_BYTES = { short: 4e6, long: 50e6 } as const;
const PROBE_EVERY_MS = 50;
/** A probe that is late holds up no other. */
const CONNECTIONS = 16;
const BASE_MS = 600;
const POLL_MS = 5;
/** The transfer has begun. */
const FIRST_BYTES = 8 * 1024;
/** Beside a round trip. */
const ALLOWED_MS = 50;

export async function heartbeatsBesidePayload(bench: Bench, sites: Sites): Promise<Numbers> {
  const link = sites.links.mid;
  link.change({ bytesPerSecond: BYTES_PER_SECOND, queueBytes: QUEUE_BYTES });
  const probe = new Probe(link.port, sites.cluster.caPem);
  try {
    await probe.open();
    const base = await probe.for(() => sleep(BASE_MS));
    const key = await sites.keyFor("mid");
    const rows = Math.round(PAYLOAD_BYTES[bench.isShort ? "short" : "long"] / (4 * WIDE.elements));
    const bytes = 4 * WIDE.elements * rows;
    const before = link.downBytes;
    const answer = sendPayload(sites, key, rows);
    const carried = async (leastBytes: number): Promise<void> => {
      while (link.downBytes - before < leastBytes) await sleep(POLL_MS);
    };
    // What the request itself takes to reach the gateway is no part of it.
    await carried(FIRST_BYTES);
    const startMs = performance.now();
    const during = await probe.for(() => carried(bytes));
    const elapsedMs = performance.now() - startMs;
    await answer;
    const baseMs = percentile(base, 0.5);
    const excessMs = percentile(during, 0.99) - baseMs;
    return {
      base_rtt_ms: baseMs,
      probes: during.length,
      p50_ms: percentile(during, 0.5),
      p99_ms: percentile(during, 0.99),
      p99_excess_ms: excessMs,
      allowed_excess_ms: baseMs + ALLOWED_MS,
      payload_bytes: bytes,
      share_of_line: (bytes - FIRST_BYTES) / (BYTES_PER_SECOND * (elapsedMs / 1000)),
    };
  } finally {
    await probe.close();
    link.change({ bytesPerSecond: undefined });
  }
}

/** @returns when the answer is there. */
async function sendPayload(sites: Sites, key: string, rows: number): Promise<void> {
  const bytes = 4 * WIDE.elements * rows;
  const head = JSON.stringify({
    inputs: [
      {
        name: "input",
        datatype: "FP32",
        shape: [rows, WIDE.elements],
        parameters: { binary_data_size: bytes },
      },
    ],
  });
  const dispatcher = new HttpAgent({ connect: { ca: sites.cluster.caPem }, headersTimeout: 120_000 });
  const reply = await request(`${sites.cluster.url}/v2/models/${sites.wide}/infer`, {
    method: "POST",
    dispatcher,
    headers: {
      authorization: `Bearer ${key}`,
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(Buffer.byteLength(head)),
    },
    body: Buffer.concat([Buffer.from(head), Buffer.alloc(bytes)]),
  });
  const text = await reply.body.text();
  await dispatcher.close();
  if (reply.statusCode !== 200) throw new Error(`The payload was refused: ${text.slice(0, 500)}`);
}

class Probe {
  readonly #url: string;
  readonly #dispatcher: HttpAgent;

  constructor(port: number, ca: string) {
    this.#url = `https://localhost:${port}/livez`;
    const kept = { keepAliveTimeout: 600_000, keepAliveMaxTimeout: 600_000 };
    this.#dispatcher = new HttpAgent({ connect: { ca }, connections: CONNECTIONS, ...kept });
  }

  /** Opens all its connections, so that none is opened while it measures. */
  async open(): Promise<void> {
    await Promise.all(Array.from({ length: CONNECTIONS }, () => this.#once([])));
  }

  /** Round trips while `work` is done, ascending. Each is sent in time, also when the one before is late. */
  async for(work: () => Promise<unknown>): Promise<number[]> {
    const timesMs: number[] = [];
    const underWay = new Set<Promise<unknown>>();
    let isOver = false;
    const done = work().finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const one = this.#once(timesMs).finally(() => underWay.delete(one));
      underWay.add(one);
      await sleep(PROBE_EVERY_MS);
    }
    await Promise.all(underWay);
    await done;
    return timesMs.sort((a, b) => a - b);
  }

  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  async #once(timesMs: number[]): Promise<void> {
    const startMs = performance.now();
    const reply = await request(this.#url, { dispatcher: this.#dispatcher });
    await reply.body.text();
    timesMs.push(performance.now() - startMs);
  }
}
