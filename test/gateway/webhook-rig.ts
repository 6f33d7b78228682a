/** Webhooks on a virtual clock, and a receiver on a real TLS socket that records what comes and answers as it is told. */

import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { TLSSocket } from "node:tls";
import type { TaskJson } from "@legacygpu/shared/api/tasks";
import { createLogger } from "@legacygpu/shared/log";
import type { TaskState } from "@legacygpu/shared/task";
import { ensureCertificates } from "../../certs/index.ts";
import { verifyWebhook } from "../../client/verify-webhook.ts";
import type { Principal } from "../../gateway/auth/principal.ts";
import type { TaskRecord, TaskWebhook, WebhookEvent } from "../../gateway/tasks/record.ts";
import type { Endpoint } from "../../gateway/webhooks/endpoint.ts";
import { Webhooks, type WebhooksOptions } from "../../gateway/webhooks/webhooks.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { principal } from "../support/principals.ts";
import { until } from "../support/until.ts";

/** Known to no name server: only the lookup of a test finds it. */
export const HOST = "receiver.test";

export const OWNER: Principal = principal("key_owner", "submit", "read");
export const STRANGER: Principal = principal("key_stranger", "submit", "read");
export const ADMIN: Principal = principal("key_admin", "admin");

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** What the sender asked for in the TLS handshake. */
  readonly serverName: string | false | null | undefined;
}

type Answer = (response: ServerResponse, request: Received) => void;

export const answer =
  (status: number, headers: Readonly<Record<string, string>> = {}): Answer =>
  (response) =>
    void response.writeHead(status, headers).end();

export class Receiver {
  readonly caPem: string;
  readonly port: number;
  readonly requests: Received[] = [];
  /** What it does with the next requests; `always` when there is nothing more. */
  readonly script: Answer[] = [];
  always: Answer = answer(204);
  readonly #server: Server;

  private constructor(server: Server, caPem: string) {
    this.#server = server;
    this.caPem = caPem;
    this.port = (server.address() as AddressInfo).port;
    server.on("request", (request, response) => void this.#take(request, response));
  }

  static async start(address = "127.0.0.1", port = 0): Promise<Receiver> {
    const { certFile, keyFile, caPem } = await certificates();
    const server = createServer({ cert: await readFile(certFile), key: await readFile(keyFile) });
    server.listen(port, address);
    await once(server, "listening");
    return new Receiver(server, caPem);
  }

  get url(): string {
    return `https://${HOST}:${this.port}/hook`;
  }

  get ids(): unknown[] {
    return this.requests.map(({ headers }) => headers["webhook-id"]);
  }

  async received(count: number): Promise<readonly Received[]> {
    await until(`${count} requests at the receiver`, () => this.requests.length >= count);
    return this.requests;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { servername } = request.socket as TLSSocket & { servername?: string | false };
    const received: Received = {
      path: request.url ?? "",
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
      serverName: servername,
    };
    this.requests.push(received);
    (this.script.shift() ?? this.always)(response, received);
  }
}

/** One certificate for every receiver of a test file. */
let made: Promise<Awaited<ReturnType<typeof ensureCertificates>>> | undefined;
let folder: string | undefined;

function certificates() {
  made ??= (async () => {
    folder = await mkdtemp(join(tmpdir(), "legacygpu-receiver-"));
    return ensureCertificates({ dir: folder, hosts: [HOST], clock: { now: () => Date.now() } });
  })();
  return made;
}

export async function removeCertificates(): Promise<void> {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
}

export interface RigOptions extends Partial<WebhooksOptions> {
  readonly documents?: MemoryDocuments;
  readonly clock?: ManualClock;
}

export class WebhookRig {
  readonly receiver: Receiver;
  readonly clock: ManualClock;
  readonly documents: MemoryDocuments;
  readonly webhooks: Webhooks;
  readonly lines: string[] = [];
  readonly tasks = new Map<string, TaskJson>();
  #taskCount = 0;

  private constructor(receiver: Receiver, options: RigOptions) {
    this.receiver = receiver;
    this.clock = options.clock ?? new ManualClock();
    this.documents = options.documents ?? new MemoryDocuments();
    this.webhooks = new Webhooks({
      random: () => 0,
      log: createLogger("test", "debug", { write: (line) => void this.lines.push(line) }),
      allowedNetworks: ["127.0.0.0/8"],
      taskView: async (id) => this.tasks.get(id),
      lookup: async () => [{ address: "127.0.0.1", family: 4 }],
      caPem: receiver.caPem,
      ...options,
      clock: this.clock,
      documents: this.documents,
    });
  }

  /** Started, with a receiver of its own; closed when the test ends, and nothing is left then. */
  static async start(t: TestContext, options: RigOptions = {}): Promise<WebhookRig> {
    const receiver = await Receiver.start();
    const rig = new WebhookRig(receiver, options);
    rig.webhooks.start();
    t.after(async () => {
      // Cuts off whatever a test has left unanswered.
      await receiver.close();
      await rig.close();
    });
    return rig;
  }

  /** Another process on the same receiver: what it finds in `documents` is all that it knows. */
  successor(t: TestContext, documents: MemoryDocuments): WebhookRig {
    const rig = new WebhookRig(this.receiver, { documents, clock: this.clock });
    t.after(() => rig.close());
    return rig;
  }

  async close(): Promise<void> {
    const closed = this.webhooks.close();
    let isClosed = false;
    void closed.then(() => {
      isClosed = true;
    });
    await until("webhooks are closed", () => {
      this.clock.advance(1000);
      return isClosed;
    });
  }

  /** What a task keeps of a new endpoint for `path` at the receiver. */
  async endpoint(path = "/hook", owner = OWNER): Promise<TaskWebhook & { readonly endpoint: Endpoint }> {
    const url = new URL(path, this.receiver.url).href;
    const endpoint = await this.webhooks.register(owner, { url, events: ["started", "completed"] });
    return { endpointId: endpoint.id, events: endpoint.events, endpoint };
  }

  /** As the task service does it: a task changes, its deliveries are stored, the courier is woken. Returns their ids. */
  async happens(webhook: TaskWebhook, event: WebhookEvent = "completed", state: TaskState = "COMPLETED") {
    const documents = this.webhooks.deliveriesFor(this.task(webhook, state), event);
    await this.documents.put(documents);
    this.webhooks.wake();
    return documents.filter(({ collection }) => collection === "deliveries").map(({ id }) => id);
  }

  /** One delivery and its id. */
  async deliver(webhook: TaskWebhook): Promise<string> {
    const [id = ""] = await this.happens(webhook);
    return id;
  }

  task(webhook: TaskWebhook | undefined, state: TaskState = "COMPLETED") {
    this.#taskCount += 1;
    const id = `task_${this.#taskCount}` as TaskRecord["id"];
    return { id, tenant: OWNER.keyId, webhook, state };
  }

  delivery(id: string) {
    return this.webhooks.delivery(OWNER, id);
  }

  /** When the state of a delivery that is stored has become `state`. */
  async becomes(id: string, state: "waiting" | "delivered" | "failed", attempts = 1) {
    return until(`delivery ${id} is ${state} after ${attempts} tries`, () => {
      const delivery = this.delivery(id);
      return delivery.state === state && delivery.attempts.length === attempts ? delivery : undefined;
    });
  }
}

export const LABELS_RESULT = {
  model_name: "digits",
  model_version: "1",
  outputs: [{ name: "probabilities", datatype: "FP32" as const, shape: [1, 2], data: [0.25, 0.75] }],
};

/** A finished task as the gateway shows it. */
export function taskView(id: string, more: Partial<TaskJson> = {}): TaskJson {
  return {
    id,
    object: "task",
    model: "digits",
    version: "1",
    status: "COMPLETED",
    priority: "NORMAL",
    durability: "flushed",
    attempt: 1,
    max_attempts: 3,
    created_at: "2026-01-01T00:00:00.000Z",
    queued_at: "2026-01-01T00:00:00.000Z",
    started_at: "2026-01-01T00:00:01.000Z",
    completed_at: "2026-01-01T00:00:02.000Z",
    deadline_at: null,
    expires_at: null,
    attempts: [],
    timings_ms: null,
    error: null,
    result: LABELS_RESULT,
    result_bytes: 8,
    dead_letter: false,
    data_removed: false,
    urls: {
      self: `/tasks/${id}`,
      result: `/tasks/${id}/result`,
      events: `/tasks/${id}/events`,
      cancel: `/tasks/${id}/cancel`,
      retry: `/tasks/${id}/retry`,
    },
    metadata: {},
    tags: [],
    ...more,
  };
}

/** A receiver's own check of what it got. */
export function verified(rig: WebhookRig, { headers, body }: Received, secret: string | string[]) {
  return verifyWebhook({ headers, body, secret, nowMs: rig.clock.now() });
}
