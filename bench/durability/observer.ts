/** Looks at accepted tasks until they have ended, now and then again at those that have, and at all of them at the end. */

import { setTimeout as sleep } from "node:timers/promises";
import type { TaskJson, TaskList } from "@legacygpu/shared/api/tasks";
import { between, pick, type Random } from "../../models/onnx/random.ts";
import type { Api } from "./api.ts";
import type { History } from "./history.ts";

export interface ObserverOptions {
  readonly api: Api;
  readonly history: History;
  readonly random: Random;
}

/** Tasks looked at at a time. */
const CONCURRENCY = 8;
const MAX_WAIT_SECONDS = 3;
const SECOND_LOOKS = 0.3;
const PAGE = 1000;

export class Observer {
  readonly #options: ObserverOptions;
  /** Somebody waits for them. */
  readonly #watched = new Set<string>();
  #state: "running" | "stopping" = "running";

  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  /** Until {@link stop}. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: CONCURRENCY }, () => this.#loop()));
  }

  stop(): void {
    this.#state = "stopping";
  }

  /** Every accepted task once more, and what the gateway has beside them: the ids for each request. */
  async audit(): Promise<Map<number, Set<string>>> {
    const ids = [...this.#options.history.accepted.keys()];
    const readAll = async (): Promise<void> => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) await this.#audit(id);
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, readAll));
    return this.#listed();
  }

  async #loop(): Promise<void> {
    const { history, random } = this.#options;
    while (this.#state === "running") {
      const id = this.#next();
      if (id === undefined) {
        await sleep(20);
        continue;
      }
      this.#watched.add(id);
      await this.#look(id, Math.floor(between(random, 0, MAX_WAIT_SECONDS + 1)));
      this.#watched.delete(id);
      if (random() < SECOND_LOOKS) await this.#look(pick(random, [...history.accepted.keys()]), 0);
    }
  }

  /** The oldest that nobody looks at. */
  #next(): string | undefined {
    for (const id of this.#options.history.open) if (!this.#watched.has(id)) return id;
    return undefined;
  }

  /** There may be no answer. */
  async #look(id: string, waitSeconds: number): Promise<void> {
    const { api, history } = this.#options;
    const askedAtMs = performance.now();
    const path = `/tasks/${id}${waitSeconds === 0 ? "" : `?wait=${waitSeconds}`}`;
    const reply = await api.send({ method: "GET", path });
    if (reply?.status === 200) history.seen(reply.body as TaskJson, askedAtMs);
    else if (reply?.status === 404) history.missing(id);
    else if (reply !== undefined && reply.status < 500)
      history.violations.push(`${id} was answered with ${reply.status} ${JSON.stringify(reply.body)}`);
    else await sleep(200);
  }

  async #audit(id: string): Promise<void> {
    const { history } = this.#options;
    const askedAtMs = performance.now();
    const task = await this.#surely(`/tasks/${id}`);
    if (task === undefined) history.missing(id);
    else history.seen(task as TaskJson, askedAtMs);
  }

  /** When the gateway is left alone there must be an answer. Undefined: it is not there. */
  async #surely(path: string): Promise<unknown> {
    for (let tries = 0; tries < 20; tries += 1) {
      const reply = await this.#options.api.send({ method: "GET", path });
      if (reply?.status === 404) return undefined;
      if (reply?.status === 200) return reply.body;
      await sleep(250);
    }
    throw new Error(`GET ${path} has no answer, although the gateway was left alone.`);
  }

  async #listed(): Promise<Map<number, Set<string>>> {
    const found = new Map<number, Set<string>>();
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page = (await this.#surely(
        `/tasks?limit=${PAGE}${cursor === "" ? "" : `&cursor=${cursor}`}`,
      )) as TaskList;
      for (const { id, metadata } of page.tasks) {
        const n = Number(metadata.n);
        found.set(n, (found.get(n) ?? new Set()).add(id));
      }
      cursor = page.next_cursor;
    }
    return found;
  }
}
