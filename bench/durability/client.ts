/** A client of the loss test: submits tasks, many at a time, and sends again what may be sent again. */

import { setTimeout as sleep } from "node:timers/promises";
import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { between, type Random } from "../../models/onnx/random.ts";
import type { Api } from "./api.ts";
import type { History } from "./history.ts";
import type { Submission, Workload } from "./workload.ts";

export interface LoadClientOptions {
  readonly api: Api;
  readonly history: History;
  readonly workload: Workload;
  readonly random: Random;
}

/** Requests under way at a time. */
const CONCURRENCY = 16;
/** Tasks that have not ended: more would only wait, and be ready too late to be checked. */
const MAX_OPEN = 400;
/** Of acknowledged requests that may be sent again, how many are. */
const REPEATED = 0.2;
/** Refusals after which nothing has been stored. Any other error of the gateway leaves open what it has done. */
const REFUSALS: ReadonlySet<string> = new Set([
  "queue_full",
  "key_queue_full",
  "store_full",
  "gateway_draining",
  "idempotency_in_progress",
]);

export class LoadClient {
  readonly #options: LoadClientOptions;
  #state: "running" | "stopping" | "abandoned" = "running";

  constructor(options: LoadClientOptions) {
    this.#options = options;
  }

  /** Resolves after {@link stop}, when every request has had its answer or is known to have none. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: CONCURRENCY }, () => this.#loop()));
  }

  stop(): void {
    if (this.#state === "running") this.#state = "stopping";
  }

  /** Nobody will answer any more. */
  abandon(): void {
    this.#state = "abandoned";
  }

  async #loop(): Promise<void> {
    const { history, workload, random } = this.#options;
    while (this.#state === "running") {
      if (history.open.size < MAX_OPEN) await this.#submit(workload.next());
      await sleep(between(random, 0, 100));
    }
  }

  async #submit(submission: Submission): Promise<void> {
    const { random } = this.#options;
    for (;;) {
      const outcome = await this.#send(submission);
      if (outcome === "done" || this.#state === "abandoned") return;
      if (outcome === "accepted") break;
      await sleep(between(random, 50, 500));
    }
    if (submission.way !== "plain" && random() < REPEATED) await this.#send(submission);
  }

  async #send(submission: Submission): Promise<"accepted" | "again" | "done"> {
    const { api, history } = this.#options;
    const { n, way } = submission;
    const askedAtMs = performance.now();
    const reply = await api.send(submission);
    if (reply !== undefined && reply.status < 300) {
      history.acknowledged(n, reply.body as TaskJson, askedAtMs);
      return "accepted";
    }
    const code = (reply?.body as { code?: string } | undefined)?.code;
    if (code !== undefined) history.refused(code);
    if (code !== undefined && REFUSALS.has(code)) return "again";
    if (reply !== undefined && reply.status < 500) {
      history.violations.push(`task ${n} (${way}) was answered with ${reply.status} ${code}`);
      return "done";
    }
    if (way !== "plain") return "again";
    history.unknown.add(n);
    return "done";
  }
}
