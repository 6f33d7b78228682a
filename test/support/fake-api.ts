/** A gateway's HTTP API as a real HTTPS server whose answers a test writes down beforehand. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureCertificates } from "../../certs/index.ts";
import { toProblem } from "../../shared/api/problem.ts";
import { type ErrorCode, fail } from "../../shared/errors.ts";

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Answer {
  readonly status?: number;
  readonly json?: unknown;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A body that is sent piece by piece, instead of `json` or `text`. */
  readonly pieces?: Iterable<string> | AsyncIterable<string>;
  /** After the last piece: `end` as it should be, `cut` the connection, or say nothing more (`stay`). Default `end`. */
  readonly ending?: "end" | "cut" | "stay";
}

/** hang: never answers; drop: reads the request, then cuts the connection. */
export type Reply = Answer | "hang" | "drop" | ((request: FakeRequest) => Answer | Promise<Answer>);

export function problem(code: ErrorCode, message?: string, headers: Record<string, string> = {}): Answer {
  const error = fail(code, message);
  return { status: error.status, json: toProblem(error, "req_1"), headers };
}

export class FakeApi {
  readonly requests: FakeRequest[] = [];
  readonly caPem: string;
  readonly caFile: string;
  readonly dir: string;
  readonly #server: Server;
  readonly #routes = new Map<string, Reply[]>();
  #openStreams = 0;

  private constructor(server: Server, dir: string, caFile: string, caPem: string) {
    this.#server = server;
    this.dir = dir;
    this.caFile = caFile;
    this.caPem = caPem;
    server.on("request", (request, response) => void this.#serve(request, response));
  }

  /** @param hosts names for its certificate, besides this machine's. */
  static async start(hosts: string[] = []): Promise<FakeApi> {
    const dir = await mkdtemp(join(tmpdir(), "legacygpu-fake-api-"));
    const clock = { now: () => Date.now() };
    const { caFile, caPem, certFile, keyFile } = await ensureCertificates({
      dir: join(dir, "certs"),
      hosts,
      clock,
    });
    const server = createServer({ cert: await readFile(certFile), key: await readFile(keyFile) });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new FakeApi(server, dir, caFile, caPem);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Streamed answers that still have their connection. */
  get openStreams(): number {
    return this.#openStreams;
  }

  get url(): string {
    return `https://localhost:${this.port}`;
  }

  /** @param route like `GET /tasks/task_1`. Each request takes the next reply; the last one stays. */
  on(route: string, ...replies: Reply[]): this {
    this.#routes.set(route, replies);
    return this;
  }

  /** Forgets routes and requests. */
  reset(): void {
    this.#routes.clear();
    this.requests.length = 0;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.dir, { recursive: true, force: true });
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming);
    this.requests.push(request);
    const reply = this.#next(`${request.method} ${request.path}`);
    if (reply === "hang") return;
    if (reply === "drop") return void incoming.socket.destroy();
    const answer = typeof reply === "function" ? await reply(request) : reply;
    const { status = 200, json, text, headers = {} } = answer;
    response.writeHead(status, { "content-type": "application/json", ...headers });
    if (answer.pieces !== undefined) {
      this.#openStreams += 1;
      response.once("close", () => {
        this.#openStreams -= 1;
      });
      return streamPieces(response, answer.pieces, answer.ending);
    }
    response.end(status === 304 ? undefined : (text ?? JSON.stringify(json ?? {})));
  }

  #next(route: string): Reply {
    const replies = this.#routes.get(route);
    if (replies === undefined) return problem("route_not_found", `The test has no answer for ${route}.`);
    const reply = replies.length > 1 ? replies.shift() : replies[0];
    return reply ?? {};
  }
}

async function streamPieces(
  response: ServerResponse,
  pieces: NonNullable<Answer["pieces"]>,
  ending: Answer["ending"] = "end",
): Promise<void> {
  response.flushHeaders();
  for await (const piece of pieces) await new Promise((resolve) => response.write(piece, resolve));
  if (ending === "end") response.end();
  if (ending === "cut") response.socket?.destroy();
}

async function readRequest(incoming: IncomingMessage): Promise<FakeRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const { pathname, searchParams } = new URL(incoming.url ?? "/", "https://localhost");
  const body = Buffer.concat(chunks);
  return {
    method: incoming.method ?? "",
    path: decodeURIComponent(pathname),
    query: searchParams,
    headers: incoming.headers,
    body,
  };
}
