/**
 * One HTTP request and its response, from the head of the request to the last byte of the answer.
 *
 * | state       | what holds                                               | leaves by                                     |
 * | ----------- | -------------------------------------------------------- | --------------------------------------------- |
 * | `guarding`  | the guard has yet to say who is calling; the body is held | its answer, refusal, time-out                 |
| `receiving` | the body is arriving, the handler has not been called     | body complete, refusal, time-out              |
 * | `handling`  | the handler works; a `stream` body may still be arriving  | answer, refusal, time-out                     |
 * | `answered`  | it waits in the outbox, or for its stream to begin        | flush                                         |
 * | `sending`   | a file or a stream is under way                           | last byte, or it fails                        |
 * | `lingering` | the client has its answer but still sends its body        | end of the body, too much of it, time-out     |
 * | `done`      | the answer is complete; the library has taken `native` back | never                                       |
 * | `gone`      | the client hung up before that; `native` is gone too      | never                                         |
 *
 * It begins in `receiving`, and only a guard that answers later leads to `guarding`. The client hanging up leads from `lingering` to
 * `done` and from every other state to `gone`. `native` is not touched in those two, an answer is only taken in the first three
 * (later ones are dropped), and body bytes only count in those and in `lingering`.
 */

import { asLegacyGpuError, fail } from "@legacygpu/shared/errors";
import type { BodyHost, BodySender } from "./body-sender.ts";
import type { RequestHead, Response } from "./exchange.ts";
import type { CompiledRoute, ExchangeHost } from "./exchange-host.ts";
import { HangUp } from "./hang-up.ts";
import type { NativeRequest, NativeResponse } from "./native.ts";
import type { Sender } from "./outbox.ts";
import { checkHead, decodeParams, IncomingRequest } from "./request.ts";
import { sinkFor } from "./request-body.ts";
import { discardBody, mayHaveBody, openBody } from "./response-body.ts";
import { type Framing, hasSafeHeaders, writeOpenHead, writeUnended, writeWhole } from "./response-writer.ts";
import { Upload } from "./upload.ts";
import { Visit } from "./visit.ts";

type State = "guarding" | "receiving" | "handling" | "answered" | "sending" | "lingering" | "done" | "gone";

/** What a refused client may go on sending, so that it gets to read why. */
const LINGER_BYTES = 64 * 1024 * 1024;

export class HttpExchange implements Sender, BodyHost {
  readonly #host: ExchangeHost;
  readonly #native: NativeResponse;
  readonly #upload: Upload;
  readonly #visit: Visit;
  readonly #hangUp: HangUp;
  readonly request: IncomingRequest;
  #state: State = "receiving";
  #turn: "idle" | "queued" = "idle";
  #answer: Response | undefined;
  #body: BodySender | undefined;
  /** Nothing more is read from this connection after the answer. */
  #isLast = false;

  /** Must run inside the library's route handler. */
  constructor(host: ExchangeHost, native: NativeResponse, nativeRequest: NativeRequest) {
    this.#host = host;
    this.#native = native;
    this.#upload = new Upload(native);
    this.#visit = new Visit(host);
    this.#hangUp = new HangUp(host);
    native.onAborted(() => this.#hungUp());
    this.request = new IncomingRequest(
      host.nextId(),
      nativeRequest,
      () => this.#remoteAddress(),
      (listener) => this.#hangUp.listen(listener),
    );
    host.answerDeadlines.start(this);
  }

  /** Runs the request through its route. Must run inside the library's route handler. */
  serve(route: CompiledRoute, nativeRequest: NativeRequest): void {
    try {
      const announced = this.#readHead();
      if (this.#host.isClosing()) throw fail("gateway_draining");
      this.request.params = decodeParams(nativeRequest, route.paramNames);
      const context = route.guard(this.request);
      if (context instanceof Promise) void this.#guardLater(route, announced, context);
      else this.#letIn(route, announced, context);
    } catch (error) {
      this.refuse(error);
    }
  }

  /** For requests that no route serves. Must run inside the library's route handler. */
  serveOutsideRoutes(respond: (head: RequestHead) => Response): void {
    try {
      this.#readHead();
      this.answer(respond(this.request));
    } catch (error) {
      this.refuse(error);
    }
  }

  /** The connection becomes a WebSocket: it is not ours any more. */
  handOver(): void {
    this.#finish();
  }

  /** What was sent behind the handshake is not HTTP. */
  refuseHandshake(error: unknown): void {
    this.#isLast = true;
    this.refuse(error);
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
    if (this.#isOver()) return "";
    return Buffer.from(this.#native.getRemoteAddressAsText()).toString("latin1");
  }

  #isOpen(): boolean {
    return this.#state === "receiving" || this.#state === "handling" || this.#state === "guarding";
  }

  #isOver(): boolean {
    return this.#state === "done" || this.#state === "gone";
  }

  // The request

  /**
   * Announced length of the body. @throws `request_malformed`, `headers_too_large`
   *
   * Where a body ends is where the next request begins. When the head leaves room for doubt, or the chunks do, of which the library does
   * not check every byte, then a proxy in front of us may see that place elsewhere: nothing that follows is taken for a request.
   */
  #readHead(): number | "chunked" {
    this.#isLast = true;
    const announced = this.#upload.expect(this.request.headers, this.#received);
    checkHead(this.request.headers);
    this.#isLast = announced === "chunked";
    return announced;
  }

  async #guardLater(
    route: CompiledRoute,
    announced: number | "chunked",
    admission: Promise<unknown>,
  ): Promise<void> {
    this.#state = "guarding";
    this.#upload.hold();
    try {
      const context = await admission;
      if (!this.#isOpen()) return this.#visit.letIn(route, context);
      this.#state = "receiving";
      this.#letIn(route, announced, context);
      if (this.#isOpen()) this.#upload.release();
    } catch (error) {
      this.refuse(error);
    }
  }

  #letIn(route: CompiledRoute, announced: number | "chunked", context: unknown): void {
    this.#visit.letIn(route, context);
    this.#upload.limit(route.body, announced);
    if (announced !== 0) {
      const complete = (): void => this.#handle(route, context);
      this.#upload.directTo(sinkFor(route.body, this.request, this.#upload, complete));
    }
    if (announced === 0 || route.body.kind === "stream") this.#handle(route, context);
  }

  readonly #received = (chunk: ArrayBuffer, isLast: boolean): void => {
    if (this.#state === "lingering" && this.#hasLingeredEnough()) this.wake();
    if (!this.#isOpen()) return;
    try {
      if (this.#state !== "guarding") this.#goOn(isLast);
      this.#upload.deliver(chunk, isLast);
    } catch (error) {
      this.refuse(error);
    }
  };

  /** The time for an answer starts anew with what has arrived. @throws `timed_out` when that is too little. */
  #goOn(isLast: boolean): void {
    const { answerDeadlines } = this.#host;
    if (!isLast && !this.#upload.keepsPace(answerDeadlines.durationMs)) {
      throw fail("timed_out", "The body of the request arrives too slowly.");
    }
    answerDeadlines.start(this);
  }

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
      crossOrigin: this.#host.crossOrigin?.headersFor(this.request),
      isHead: this.request.method === "HEAD",
      isLast: this.#isLast || this.#host.isClosing(),
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
    const isAnswered = this.#state === "lingering";
    this.#state = isAnswered ? "done" : "gone";
    this.#upload.lost();
    if (!isAnswered) this.#hangUp.happened();
    this.#release();
  }

  #release(): void {
    this.#host.answerDeadlines.stop(this);
    this.#host.lingerDeadlines.stop(this);
    this.#body?.destroy();
    this.#hangUp.ruledOut();
    this.#visit.over(this.#upload.receivedBytes);
    this.#host.finished();
  }
}
