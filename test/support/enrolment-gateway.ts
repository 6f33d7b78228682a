/** A gateway with real TLS that knows enrolment only: join tokens, challenges, identities, and the door of the agent link. */

import { createHash, createPublicKey, randomBytes, verify, X509Certificate } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { proofText } from "@legacygpu/shared/api/enrolment";
import { toProblem } from "@legacygpu/shared/api/problem";
import { type ErrorCode, fail } from "@legacygpu/shared/errors";
import { pinOf } from "@legacygpu/shared/join-token";
import { AGENT_PATH, SUBPROTOCOL } from "@legacygpu/shared/protocol/version";
import { issueCa, issueServer, newPrivateKey, privateKeyPem } from "../../certs/issue.ts";

export interface ServerIdentity {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
  /** As in a join token. */
  readonly pin: string;
}

/** A CA of its own and a certificate for localhost under it. */
export async function issueIdentity(nowMs = Date.now(), hosts = ["localhost"]): Promise<ServerIdentity> {
  const [caKey, key] = [newPrivateKey(), newPrivateKey()];
  const caPem = await issueCa(caKey, nowMs);
  const ca = new X509Certificate(caPem);
  const request = {
    caName: ca.subject.replace("CN=", ""),
    caKey,
    key,
    hosts,
    caNotAfterMs: Date.parse(ca.validTo),
  };
  return { caPem, certPem: await issueServer(request, nowMs), keyPem: privateKeyPem(key), pin: pinOf(ca) };
}

interface Worker {
  publicKey: string;
  status: "approved" | "pending" | "revoked";
}

export class EnrolmentGateway {
  readonly secret = `lgj_${randomBytes(16).toString("hex")}`;
  readonly workers = new Map<string, Worker>();
  /** `METHOD /path` of each request, upgrades included. */
  readonly requests: string[] = [];
  /** Public keys that asked to join. */
  readonly publicKeys: string[] = [];
  /** Identities that it accepts. */
  readonly accepted = new Set<string>();
  usesLeft = 1;
  newWorkersAre: "approved" | "pending" = "approved";
  lifeS = 86_400;
  caPem: string;
  /** Sent with an identity. Default: what `/ca.pem` serves. */
  nextCaPem: string | undefined;
  /** What it believes to be the time of day. */
  nowMs: () => number = Date.now;
  /** Takes the next enrolment, and hangs up instead of answering. */
  losesNextAnswer = false;
  /** Answers the next of these paths with an error. */
  readonly failures: { path: string; code: ErrorCode; retryAfter?: string }[] = [];
  readonly #challenges = new Set<string>();
  readonly #server: ReturnType<typeof createTlsServer>;
  readonly #http: Server;
  readonly #sockets = new Set<Duplex>();
  #count = 0;

  private constructor(identity: ServerIdentity) {
    this.caPem = identity.caPem;
    this.#http = createServer((request, response) => void this.#answer(request, response));
    this.#http.on("upgrade", (request, socket: Duplex) => this.#upgrade(request, socket));
    this.#server = createTlsServer({ key: identity.keyPem, cert: identity.certPem }, (socket: TLSSocket) => {
      this.#sockets.add(socket.on("error", () => {}));
      this.#http.emit("connection", socket);
    });
    this.#server.on("tlsClientError", () => {});
  }

  static async start(identity?: ServerIdentity): Promise<EnrolmentGateway> {
    const gateway = new EnrolmentGateway(identity ?? (await issueIdentity()));
    await new Promise<void>((resolve) => gateway.#server.listen(0, "127.0.0.1", resolve));
    return gateway;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://localhost:${this.port}`;
  }

  /** A join token for it, reached at `url`. */
  token(url = this.url) {
    return { url, pins: [pinOf(new X509Certificate(this.caPem))], secret: this.secret };
  }

  /** Serves this certificate from now on. */
  serve({ keyPem, certPem, caPem }: ServerIdentity): void {
    this.caPem = caPem;
    this.#server.setSecureContext({ key: keyPem, cert: certPem });
  }

  revoke(workerId: string): void {
    const worker = this.workers.get(workerId);
    if (worker === undefined) throw new Error(`no worker ${workerId}`);
    worker.status = "revoked";
    this.accepted.clear();
  }

  count(request: string): number {
    return this.requests.filter((each) => each === request).length;
  }

  /** Hangs up on every link. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async close(): Promise<void> {
    this.cut();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "" } = request;
    this.requests.push(`${method} ${url}`);
    const body = await readBody(request);
    response.setHeader("date", new Date(this.nowMs()).toUTCString());
    try {
      const failure = this.failures.find(({ path }) => path === url);
      if (failure !== undefined) {
        this.failures.splice(this.failures.indexOf(failure), 1);
        if (failure.retryAfter !== undefined) response.setHeader("retry-after", failure.retryAfter);
        throw fail(failure.code);
      }
      const answer = this.#answerTo(`${method} ${url}`, body, request.headers.authorization);
      if (answer === undefined) request.socket.destroy();
      else response.end(typeof answer === "string" ? answer : JSON.stringify(answer));
    } catch (error) {
      const problem = toProblem(error as ReturnType<typeof fail>, "request");
      response.writeHead(problem.status).end(JSON.stringify(problem));
    }
  }

  #answerTo(request: string, body: string, authorization: string | undefined): string | object | undefined {
    switch (request) {
      case "GET /ca.pem":
        return this.caPem;
      case "POST /agent/enrolments":
        return this.#enrol(JSON.parse(body), authorization);
      case "POST /agent/challenges":
        return this.#challenge();
      case "POST /agent/identities":
        return this.#identity(JSON.parse(body));
      case "GET /agent/blobs/it":
        if (!this.#isAccepted(authorization)) throw fail("auth_invalid");
        return "it";
      default:
        throw fail("route_not_found");
    }
  }

  #enrol(body: { worker_id: string; public_key: string }, authorization: string | undefined) {
    this.publicKeys.push(body.public_key);
    if (authorization !== `Bearer ${this.secret}` || this.usesLeft === 0) throw fail("auth_invalid");
    const known = this.workers.get(body.worker_id);
    if (known?.status === "revoked" && known.publicKey === body.public_key) throw fail("worker_revoked");
    if (known?.status === "approved" && known.publicKey !== body.public_key) throw fail("worker_id_in_use");
    this.usesLeft -= 1;
    this.workers.set(body.worker_id, { publicKey: body.public_key, status: this.newWorkersAre });
    if (!this.losesNextAnswer) return { worker_id: body.worker_id, site: "lab", status: this.newWorkersAre };
    this.losesNextAnswer = false;
    return undefined;
  }

  #challenge(): object {
    const challenge = randomBytes(16).toString("base64url");
    this.#challenges.add(challenge);
    return { challenge, expires_in: 60 };
  }

  #identity(body: { worker_id: string; challenge: string; signature: string }): object {
    const worker = this.workers.get(body.worker_id);
    if (worker === undefined || !this.#challenges.delete(body.challenge)) throw fail("auth_invalid");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: worker.publicKey }, format: "jwk" });
    const text = Buffer.from(proofText(body.challenge, body.worker_id));
    if (!verify(null, text, key, Buffer.from(body.signature, "base64url"))) throw fail("auth_invalid");
    if (worker.status === "revoked") throw fail("worker_revoked");
    if (worker.status === "pending") throw fail("worker_not_approved");
    this.#count += 1;
    const identity = `lgi_${this.#count}_${randomBytes(8).toString("hex")}`;
    this.accepted.add(identity);
    const server_time = new Date(this.nowMs()).toISOString();
    return {
      identity,
      expires_in: this.lifeS,
      site: "lab",
      ca_pem: this.nextCaPem ?? this.caPem,
      server_time,
    };
  }

  #isAccepted(authorization: string | undefined): boolean {
    return this.accepted.has((authorization ?? "").replace("Bearer ", ""));
  }

  /** The link opens, and nothing is said on it. */
  #upgrade(request: IncomingMessage, socket: Duplex): void {
    this.requests.push(`UPGRADE ${request.url}`);
    if (request.url !== AGENT_PATH || !this.#isAccepted(request.headers.authorization)) {
      socket.end("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    const head = ["HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: upgrade"];
    socket.write(
      [...head, `sec-websocket-accept: ${accept}`, `sec-websocket-protocol: ${SUBPROTOCOL}`, "", ""].join(
        "\r\n",
      ),
    );
    socket.resume();
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
