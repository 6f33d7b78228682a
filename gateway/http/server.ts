/**
 * The HTTP and WebSocket server, and the only importer of uWebSockets.js.
 *
 * That library is fast because it checks nothing. What it does to those who do not know, and where each is guarded
 * (`test/gateway/hazards/README.md` names the test of each):
 *
 * - A handler that returns with neither an answer nor `onAborted` ends the process: `HttpExchange` attaches it first.
 * - A response used after its end or its abort throws: one state per exchange, and `native` is not touched in the last two.
 * - A request is gone when its handler returns: `IncomingRequest` copies the head, `request-body.ts` the chunks.
 * - When more than 512 KiB wait to be read on a TLS socket and anything is written inside one of the library's callbacks, what
 *   was received is dropped and the connection closed: all writing is left to the outbox, once per turn, corked.
 * - An unknown path has its connection cut: the last route catches everything.
 * - Bodies have no limit, and waiting for an answer has no time-out: `HttpExchange` counts both, and keeps an eye on the pace.
 * - Heads end at 4 KiB, too early for an access token: `head-limit.ts`.
 * - Two lengths, two hosts and every transfer coding pass, and chunks are read leniently: `request.ts` refuses what is ambiguous,
 *   and the connection of a chunked body ends with its answer, so that a proxy in front cannot be made to see other requests than we do.
 * - A folded line or a control character in a header is taken for a head that goes on, until its ten seconds are over; a header
 *   with an empty name hides those behind it. Not guarded; neither can make a request of what is none.
 * - Closing right after an answer resets the connection of a client that is still sending: `writeUnended`.
 * - A chunk of a body of unknown length (`write`) whose corked beginning the socket does not take is lost, unless all of it fitted
 *   the cork buffer; what the library keeps of it is only sent on by the next write; the head cannot be sent before the first chunk,
 *   and an end that is to close the connection writes a header into the body: `StreamSender` minds all four.
 * - A client that takes nothing for about ten seconds, while something waits for it, has its connection cut. Not guarded.
 * - Each ping on a WebSocket is answered at once, however many come: `GatewaySocket` counts them.
 * - `send` on a WebSocket may drop the frame and leave the socket open: `GatewaySocket` looks at every result.
 * - A certificate is read once, when an app is made: `TlsApps` puts one app per certificate behind the listener.
 * - Failing to listen gives no reason, nor does a bad certificate: `preflight.ts` finds it.
 * - Bytes that arrive together with the end of a TLS connection are thrown away: a peer that closes must have been answered
 *   before. Not guarded; the link acknowledges its frames.
 * - A second request on a connection whose first is unanswered (pipelining) has its connection cut. Not guarded; no client we
 *   know pipelines.
 */

import "./head-limit.ts";
import {
  App,
  type HttpRequest,
  type HttpResponse,
  SSLApp,
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  type us_socket_context_t,
  us_socket_local_port,
  type WebSocketBehavior,
} from "uWebSockets.js";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fail } from "@legacygpu/shared/errors";
import { CLOSE } from "@legacygpu/shared/protocol/version";
import { CrossOrigin } from "./cors.ts";
import { Deadlines } from "./deadlines.ts";
import { EndlessStreams } from "./endless-streams.ts";
import type {
  AnyRoute,
  AnySocketRoute,
  HttpServer,
  HttpServerOptions,
  Response,
  Route,
  Socket,
  SocketHandler,
} from "./exchange.ts";
import type { CompiledRoute, ExchangeHost, Expiring } from "./exchange-host.ts";
import { checkHandshake } from "./handshake.ts";
import { HttpExchange } from "./http-exchange.ts";
import { Outbox } from "./outbox.ts";
import {
  type CertificateFiles,
  checkCertificate,
  explainListenFailure,
  refusePlainHttp,
  refuseTakenPort,
} from "./preflight.ts";
import { answerUnrouted, paramNamesOf, registrars, spellings } from "./routing.ts";
import { GatewaySocket, MAX_BUFFERED_BYTES, type SocketHost } from "./socket.ts";
import { type AcceptingApp, type ServingApp, TlsApps } from "./tls-apps.ts";

/** Forward secrecy and authenticated encryption only. For TLS 1.2; version 1.3 has no others, older ones are off. */
const TLS12_CIPHERS = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/** A refused client may go on sending for this long. */
const LINGER_MS = 10_000;

/** For the last answers and close frames to leave; the library does not say when they have. */
const FAREWELL_MS = 50;

/** Only a backstop: the heartbeat of the link notices a dead peer long before. */
const SOCKET_IDLE_SECONDS = 120;

/** Starts a server; throws `port_in_use`, `certificate_invalid` or `config_invalid`. */
export async function listen(options: HttpServerOptions): Promise<HttpServer> {
  if (options.tls === undefined) refusePlainHttp(options.host);
  const server = new UwsServer(options);
  try {
    await refuseTakenPort(options.host, options.port);
    const listener = listenOn(server.acceptor, options.host, options.port);
    if (listener === undefined) throw await explainListenFailure(options.host, options.port);
    server.start(listener);
  } catch (error) {
    server.cutAll();
    throw error;
  }
  return server;
}

/** With what the library has beside its declared types. */
type NativeApp = TemplatedApp & AcceptingApp & ServingApp;

function createApp({ keyFile, certFile }: CertificateFiles): NativeApp {
  checkCertificate({ keyFile, certFile });
  const options = { key_file_name: keyFile, cert_file_name: certFile, ssl_ciphers: TLS12_CIPHERS };
  try {
    return SSLApp(options) as NativeApp;
  } catch (cause) {
    // It says no more than that it failed.
    const message = `The TLS library can use neither the certificate in ${certFile} nor its key, or only one of them.`;
    throw fail("certificate_invalid", message, { certFile, keyFile }, cause);
  }
}

/** The library calls back before it returns; undefined when it failed, and it does not say why. */
function listenOn(app: TemplatedApp, host: string, port: number): us_listen_socket | undefined {
  let listener: us_listen_socket | undefined;
  app.listen(host, port, (socket) => {
    if (socket !== false) listener = socket;
  });
  return listener;
}

/** What a WebSocket carries from its handshake on. */
interface SocketData {
  readonly remoteAddress: string;
  readonly open: (socket: Socket) => SocketHandler;
  socket?: GatewaySocket;
}

class UwsServer implements HttpServer, ExchangeHost, SocketHost {
  readonly host: string;
  port = 0;
  readonly outbox = new Outbox();
  readonly answerDeadlines: Deadlines<Expiring>;
  readonly lingerDeadlines = new Deadlines<Expiring>(LINGER_MS);
  readonly endlessStreams = new EndlessStreams();
  readonly crossOrigin: CrossOrigin | undefined;
  /** What listens; see `tls-apps.ts`. */
  readonly acceptor: TemplatedApp;
  readonly #tlsApps: TlsApps | undefined;
  readonly #registrations: ((app: TemplatedApp) => void)[] = [];
  readonly #options: HttpServerOptions;
  readonly #sockets = new Set<GatewaySocket>();
  readonly #idPrefix = randomBytes(5).toString("hex");
  #lastId = 0;
  #inFlight = 0;
  #listener: us_listen_socket | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;
  #whenIdle: (() => void) | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.host = options.host;
    this.answerDeadlines = new Deadlines(options.requestTimeoutMs);
    this.crossOrigin = CrossOrigin.of(options.corsOrigins);
    for (const route of options.routes) this.#addRoute(route);
    for (const route of options.sockets) this.#addSocketRoute(route);
    const table = { ...options, crossOrigin: this.crossOrigin };
    const serveRest = (res: HttpResponse, req: HttpRequest): void =>
      this.#exchange(res, req).serveOutsideRoutes((head) => answerUnrouted(head, table));
    this.#registrations.push((app) => app.any("/*", serveRest));
    if (options.tls === undefined) {
      this.acceptor = this.#withRoutes(App());
    } else {
      const acceptor = SSLApp({}) as NativeApp;
      this.acceptor = acceptor;
      this.#tlsApps = new TlsApps(acceptor, this.#withRoutes(createApp(options.tls)));
    }
  }

  start(listener: us_listen_socket): void {
    this.#listener = listener;
    this.port = us_socket_local_port(listener);
    const everyMs = Math.min(1000, Math.max(10, this.#options.requestTimeoutMs / 10));
    this.#sweep = setInterval(() => this.#expireLate(), everyMs);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  replaceCertificate(tls: CertificateFiles): void {
    if (this.#tlsApps === undefined) throw fail("config_invalid", "This server speaks plain HTTP.");
    this.#tlsApps.replace(this.#withRoutes(createApp(tls)));
  }

  close(graceMs: number): Promise<void> {
    this.#closed ??= this.#shutDown(graceMs);
    return this.#closed;
  }

  cutAll(): void {
    (this.#tlsApps ?? this.acceptor).close();
  }

  #withRoutes<App extends TemplatedApp>(app: App): App {
    for (const register of this.#registrations) register(app);
    return app;
  }

  // For the exchanges and sockets

  errorResponse(error: unknown, requestId: string): Response {
    try {
      return this.#options.errorResponse(error, requestId);
    } catch (fault) {
      this.onFault(fault);
      return { status: 500 };
    }
  }

  isClosing(): boolean {
    return this.#closed !== undefined;
  }

  nextId(): string {
    this.#lastId += 1;
    return this.#idPrefix + this.#lastId.toString(36);
  }

  finished(): void {
    this.#inFlight -= 1;
    if (this.#inFlight === 0) this.#whenIdle?.();
  }

  socketClosed(socket: GatewaySocket): void {
    this.#sockets.delete(socket);
  }

  onFault(error: unknown): void {
    this.#options.onFault?.(error);
  }

  // Requests

  #exchange(res: HttpResponse, req: HttpRequest): HttpExchange {
    this.#inFlight += 1;
    return new HttpExchange(this, res, req);
  }

  #addRoute(route: AnyRoute): void {
    // Its context comes from its own guard, so it fits.
    const handle = route.handle as Route["handle"];
    const finished = route.finished as Route["finished"];
    const { body, guard } = route;
    const compiled: CompiledRoute = {
      body,
      guard,
      handle,
      paramNames: paramNamesOf(route.pattern),
      ...(finished === undefined ? {} : { finished }),
    };
    const serve = (res: HttpResponse, req: HttpRequest): void =>
      this.#exchange(res, req).serve(compiled, req);
    for (const pattern of spellings(route.pattern)) {
      for (const method of registrars(route.method)) {
        this.#registrations.push((app) => app[method](pattern, serve));
      }
    }
  }

  #expireLate(): void {
    for (const exchange of this.answerDeadlines.takeExpired()) exchange.expire();
    for (const exchange of this.lingerDeadlines.takeExpired()) exchange.expire();
  }

  // WebSockets

  #addSocketRoute(route: AnySocketRoute): void {
    const behavior: WebSocketBehavior<SocketData> = {
      maxPayloadLength: route.maxFrameBytes,
      maxBackpressure: MAX_BUFFERED_BYTES,
      closeOnBackpressureLimit: true,
      idleTimeout: SOCKET_IDLE_SECONDS,
      sendPingsAutomatically: false,
      upgrade: (res, req, context) => this.#upgrade(route, res, req, context),
      open: (ws) => {
        const data = ws.getUserData();
        const socket = new GatewaySocket(this, ws, data.remoteAddress);
        data.socket = socket;
        this.#sockets.add(socket);
        socket.start(data.open);
      },
      message: (ws, bytes, isBinary) => ws.getUserData().socket?.message(bytes, isBinary),
      ping: (ws) => ws.getUserData().socket?.pinged(),
      pong: (ws, payload) => ws.getUserData().socket?.pong(payload),
      drain: (ws) => ws.getUserData().socket?.drained(),
      close: (ws, code, reason) => ws.getUserData().socket?.closed(code, Buffer.from(reason).toString()),
    };
    for (const pattern of spellings(route.pattern)) {
      this.#registrations.push((app) => app.ws(pattern, behavior));
    }
  }

  /** The answer to the handshake is the one thing written inside a callback: before it the peer has nothing to send. */
  #upgrade(route: AnySocketRoute, res: HttpResponse, req: HttpRequest, context: us_socket_context_t): void {
    const exchange = this.#exchange(res, req);
    const { request } = exchange;
    try {
      if (this.isClosing()) throw fail("gateway_draining");
      checkHandshake(request, route.subprotocol);
      const guarded: unknown = route.guard(request);
      const open = route.open as (socket: Socket, context: unknown) => SocketHandler;
      const data: SocketData = {
        remoteAddress: request.remoteAddress,
        open: (socket) => open(socket, guarded),
      };
      res.upgrade(data, request.headers.get("sec-websocket-key") ?? "", route.subprotocol, "", context);
      exchange.handOver();
    } catch (error) {
      exchange.refuseHandshake(error);
    }
  }

  // The end

  async #shutDown(graceMs: number): Promise<void> {
    if (this.#listener !== undefined) us_listen_socket_close(this.#listener);
    this.endlessStreams.finishAll();
    await this.#idle(graceMs);
    for (const socket of this.#sockets) socket.close(CLOSE.goingAway, "The gateway is shutting down.");
    await sleep(FAREWELL_MS);
    clearInterval(this.#sweep);
    this.cutAll();
  }

  async #idle(graceMs: number): Promise<void> {
    if (this.#inFlight === 0) return;
    const timer = new AbortController();
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    await Promise.race([idle, sleep(graceMs, undefined, { signal: timer.signal }).catch(() => {})]);
    timer.abort();
  }
}
