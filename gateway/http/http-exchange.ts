/**
 * One HTTP request and its response, from the head of the request to the last byte of the answer.
 *
 * | state       | what holds                                               | leaves by                                     |
 * | ----------- | -------------------------------------------------------- | --------------------------------------------- |
 * | `receiving` | the body is arriving, the handler has not been called     | body complete, refusal, time-out              |
 * | `handling`  | the handler works; a `stream` body may still be arriving  | answer, refusal, time-out                     |
 * | `answered`  | it waits in the outbox, or for its stream to begin        | flush                                         |
 * | `sending`   | a file or a stream is under way                           | last byte, or it fails                        |
 * | `lingering` | the client has its answer but still sends its body        | end of the body, too much of it, time-out     |
 * | `done`      | the answer is complete; the library has taken `native` back | never                                       |
 * | `gone`      | the client hung up before that; `native` is gone too      | never                                         |
 *
 * The client hanging up leads from `lingering` to `done` and from every other state to `gone`. `native` is not touched in those
 * two, an answer is only taken in `receiving` and `handling` (later ones are dropped), and body bytes only count in
 * `receiving`, `handling` and `lingering`.
 */

import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { BodyHost, BodySender } from "./body-sender.ts";
import type { Deadlines } from "./deadlines.ts";
import type { EndlessStreams } from "./endless-streams.ts";
import type { RequestHead, Response, Route } from "./exchange.ts";
import type { NativeRequest, NativeResponse } from "./native.ts";
import type { Outbox, Sender } from "./outbox.ts";
import { decodeParams, IncomingRequest } from "./request.ts";
import { BodyCollector, BodyStream, DISCARD } from "./request-body.ts";
import { discardBody, mayHaveBody, openBody } from "./response-body.ts";
import { type Framing, hasSafeHeaders, writeOpenHead, writeUnended, writeWhole } from "./response-writer.ts";
import { Upload } from "./upload.ts";

type State = "receiving" | "handling" | "answered" | "sending" | "lingering" | "done" | "gone";

/** What a refused client may go on sending, so that it gets to read why. */
const LINGER_BYTES = 64 * 1024 * 1024;

/** What an exchange needs of its server. */
export interface ExchangeHost {
  readonly outbox: Outbox;
  readonly answerDeadlines: Deadlines<HttpExchange>;
  readonly lingerDeadlines: Deadlines<HttpExchange>;
  readonly endlessStreams: EndlessStreams;
  /** Never throws. */
  errorResponse(error: unknown, requestId: string): Response;
  isClosing(): boolean;
  nextId(): string;
  finished(): void;
  onFault(error: unknown): void;
}

export interface CompiledRoute extends Pick<Route, "body" | "guard" | "handle"> {
  readonly paramNames: readonly string[];
}

export class HttpExchange implements Sender, BodyHost {
  readonly #host: ExchangeHost;
  readonly #native: NativeResponse;
  readonly #upload: Upload;
  readonly request: IncomingRequest;
  #state: State = "receiving";
  #turn: "idle" | "queued" = "idle";
  #answer: Response | undefined;
  #body: BodySender | undefined;
  #hangUpListeners: (() => void)[] | undefined;

  /** Must run inside the library's route handler. */
  constructor(host: ExchangeHost, native: NativeResponse, nativeRequest: NativeRequest) {
    this.#host = host;
    this.#native = native;
    this.#upload = new Upload(native);
    native.onAborted(() => this.#hungUp());
    this.request = new IncomingRequest(
      host.nextId(),
      nativeRequest,
      () => this.#remoteAddress(),
      (listener) => this.#onHangUp(listener),
    );
    host.answerDeadlines.start(this);
  }

  /** Runs the request through its route. Must run inside the library's route handler. */
  serve(route: CompiledRoute, nativeRequest: NativeRequest): void {
    try {
      const announced = this.#upload.expect(this.request.headers, this.#received);
      if (this.#host.isClosing()) throw fail("gateway_draining");
      this.request.params = decodeParams(nativeRequest, route.paramNames);
      const context = route.guard(this.request);
      this.#upload.limit(route.body, announced);
      if (announced === 0) this.#handle(route, context);
      else this.#receive(route, context);
    } catch (error) {
      this.refuse(error);
    }
  }

  /** For requests that no route serves. Must run inside the library's route handler. */
  serveOutsideRoutes(respond: (head: RequestHead) => Response): void {
    try {
      this.#upload.expect(this.request.headers, this.#received);
      this.answer(respond(this.request));
    } catch (error) {
      this.refuse(error);
    }
  }

  /** The connection becomes a WebSocket: it is not ours any more. */
  handOver(): void {
    this.#finish();
  }

  refuse(error: unknown): void {
    if (!this.#isOpen()) return;
    this.#upload.abandon(() => asLegacyGpuError(error));
    this.answer(this.#host.errorResponse(error, this.request.id));
  }

  answer(response: Response): void {
    if (!this.#isOpen()) {
      discardBody(response.body, this);
    } else if (!hasSafeHeaders(response)) {
      discardBody(response.body, this);
      this.#host.onFault(fail("internal", "A response header contains a line break."));
      this.answer({ status: 500 });
    } else {
      this.#state = "answered";
      this.#answer = response;
      this.#host.answerDeadlines.stop(this);
      this.#upload.abandon(() =>
        fail("transfer_failed", "The request was answered before its body was complete."),
      );
      this.#openBody(response);
      this.wake();
    }
  }

  wake(): void {
    if (this.#turn === "queued") return;
    this.#turn = "queued";
    this.#host.outbox.add(this);
  }

  onFault(error: unknown): void {
    this.#host.onFault(error);
  }

  /** The time for an answer, or for lingering, is over. */
  expire(): void {
    if (this.#state === "lingering") this.#cut();
    else this.refuse(fail("timed_out", `No answer within ${this.#host.answerDeadlines.durationMs} ms.`));
  }

  flush(): void {
    this.#turn = "idle";
    try {
      if (this.#state === "answered") this.#write();
      else if (this.#state === "sending") this.#send();
      else if (this.#state === "lingering" && this.#hasLingeredEnough()) this.#cut();
    } catch (error) {
      this.#host.onFault(error);
      this.#cut();
    }
  }

  #remoteAddress(): string {
    if (this.#state === "done") return "";
    return Buffer.from(this.#native.getRemoteAddressAsText()).toString("latin1");
  }

  #isOpen(): boolean {
    return this.#state === "receiving" || this.#state === "handling";
  }

  #isOver(): boolean {
    return this.#state === "done" || this.#state === "gone";
  }

  // The request

  #receive(route: CompiledRoute, context: unknown): void {
    if (route.body.kind === "stream") {
      const stream = new BodyStream(this.#upload);
      this.request.stream = stream;
      this.#upload.directTo(stream);
      this.#handle(route, context);
    } else if (route.body.kind === "buffer") {
      const collected = (body: Buffer): void => {
        this.request.body = body;
        this.#handle(route, context);
      };
      this.#upload.directTo(new BodyCollector(collected));
    } else {
      this.#upload.directTo({ ...DISCARD, end: () => this.#handle(route, context) });
    }
  }

  readonly #received = (chunk: ArrayBuffer, isLast: boolean): void => {
    if (this.#state === "lingering" && this.#hasLingeredEnough()) this.wake();
    if (!this.#isOpen()) return;
    this.#host.answerDeadlines.start(this);
    try {
      this.#upload.deliver(chunk, isLast);
    } catch (error) {
      this.refuse(error);
    }
  };

  #handle(route: CompiledRoute, context: unknown): void {
    this.#state = "handling";
    try {
      const answer = route.handle(this.request, context);
      if (answer instanceof Promise) void this.#answerLater(answer);
      else this.answer(answer);
    } catch (error) {
      this.refuse(error);
    }
  }

  async #answerLater(answer: Promise<Response>): Promise<void> {
    try {
      this.answer(await answer);
    } catch (error) {
      this.refuse(error);
    }
  }

  // The response

  #openBody(response: Response): void {
    if (this.request.method === "HEAD" || !mayHaveBody(response)) discardBody(response.body, this);
    else this.#body = openBody(response.body, this.#native, this, this.#host.endlessStreams);
  }

  #write(): void {
    if (!this.#isReady()) return;
    const response = this.#answer ?? { status: 500 };
    const framing: Framing = {
      requestId: this.request.id,
      isHead: this.request.method === "HEAD",
      isLast: this.#host.isClosing(),
    };
    if (this.#body !== undefined) {
      this.#state = "sending";
      this.#native.cork(() => writeOpenHead(this.#native, response, framing));
      this.#send();
    } else if (this.#upload.isUnfinished) {
      this.#state = "lingering";
      this.#host.lingerDeadlines.start(this);
      this.#native.cork(() => writeUnended(this.#native, response, framing));
    } else {
      this.#native.cork(() => writeWhole(this.#native, response, framing));
      this.#finish();
    }
  }

  /** A body that fails before its first byte is answered like a handler that failed. */
  #isReady(): boolean {
    try {
      return this.#body?.isReady() ?? true;
    } catch (error) {
      this.#body?.destroy();
      this.#body = undefined;
      this.#answer = this.#host.errorResponse(error, this.request.id);
      return true;
    }
  }

  #send(): void {
    const progress = this.#body?.pump();
    if (progress === "sent") this.#finish();
    else if (progress === "failed") this.#cut();
  }

  #hasLingeredEnough(): boolean {
    return !this.#upload.isUnfinished || this.#upload.receivedBytes > LINGER_BYTES;
  }

  // The end

  #finish(): void {
    this.#state = "done";
    this.#release();
  }

  /** Closes the connection; the library answers with `onAborted`. */
  #cut(): void {
    if (!this.#isOver()) this.#native.close();
  }

  #hungUp(): void {
    if (this.#isOver()) return;
    this.#state = this.#state === "lingering" ? "done" : "gone";
    this.#upload.lost();
    const listeners = this.#hangUpListeners;
    this.#release();
    if (this.#state === "gone") for (const listener of listeners ?? []) this.#tell(listener);
  }

  #release(): void {
    this.#host.answerDeadlines.stop(this);
    this.#host.lingerDeadlines.stop(this);
    this.#body?.destroy();
    this.#hangUpListeners = undefined;
    this.#host.finished();
  }

  #onHangUp(listener: () => void): void {
    if (this.#state === "gone") queueMicrotask(() => this.#tell(listener));
    if (this.#isOver()) return;
    this.#hangUpListeners ??= [];
    this.#hangUpListeners.push(listener);
  }

  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#host.onFault(error);
    }
  }
}
