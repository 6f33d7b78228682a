/**
 * The bare relay's middle: HTTPS in, a frame to an agent, its frame back, HTTPS out.
 *
 * It has what makes these libraries fast (nothing is written before the end of the turn, each socket is corked, what is ready at one
 * moment shares a frame) and nothing else: no keys, queue, registry, validation, time limits. So it is the most that a
 * gateway of this construction could reach on this machine.
 */

import {
  type HttpRequest,
  type HttpResponse,
  SSLApp,
  us_socket_local_port,
  type WebSocket,
} from "uWebSockets.js";
import { EventEmitter, once } from "node:events";
import { serveCommands } from "../processes/commands.ts";
import { decodeFrame, encodeFrame, type RelayMessage } from "./messages.ts";

interface Agent {
  readonly socket: WebSocket<unknown>;
  /** What waits for the end of the turn. */
  due: RelayMessage[];
}
const MAX_FRAME_BYTES = 64 * 1024 * 1024;

interface Waiting {
  readonly response: HttpResponse;
  isGone: boolean;
}

const agents: Agent[] = [];
const arrivals = new EventEmitter();
const waiting = new Map<number, Waiting>();
let answers: { readonly response: Waiting; readonly body: Uint8Array }[] = [];
let lastId = 0;
let isFlushDue = false;

function serve(response: HttpResponse, _request: HttpRequest): void {
  const entry: Waiting = { response, isGone: false };
  response.onAborted(() => {
    entry.isGone = true;
  });
  const parts: Buffer[] = [];
  response.onData((chunk, isLast) => {
    // The library takes the chunk back when this returns.
    const copy = Buffer.from(new Uint8Array(chunk));
    if (isLast && parts.length === 0) {
      forward(entry, copy);
      return;
    }
    parts.push(copy);
    if (isLast) forward(entry, Buffer.concat(parts));
  });
}

function forward(entry: Waiting, body: Buffer): void {
  lastId += 1;
  const agent = agents[lastId % agents.length];
  if (agent === undefined) return;
  waiting.set(lastId, entry);
  agent.due.push([lastId, body]);
  flushSoon();
}

function answered(frame: ArrayBuffer): void {
  for (const [id, body] of decodeFrame(Buffer.from(new Uint8Array(frame)))) {
    const response = waiting.get(id);
    waiting.delete(id);
    if (response !== undefined) answers.push({ response, body });
  }
  flushSoon();
}

function flushSoon(): void {
  if (!isFlushDue) setImmediate(flush);
  isFlushDue = true;
}

function flush(): void {
  isFlushDue = false;
  for (const agent of agents) {
    if (agent.due.length === 0) continue;
    const frame = encodeFrame(agent.due);
    agent.due = [];
    agent.socket.cork(() => {
      agent.socket.send(frame, true, false);
    });
  }
  const due = answers;
  answers = [];
  for (const { response, body } of due) {
    if (response.isGone) continue;
    response.response.cork(() => {
      response.response.writeHeader("content-type", "application/json").end(body);
    });
  }
}

interface ListenOrder {
  readonly keyFile: string;
  readonly certFile: string;
}

function listen({ keyFile, certFile }: ListenOrder): Promise<number> {
  const app = SSLApp({ key_file_name: keyFile, cert_file_name: certFile });
  app.post("/v2/models/:model/infer", serve);
  app.ws("/agent", {
    // Of tensors, what is ready at one moment is megabytes.
    maxPayloadLength: MAX_FRAME_BYTES,
    maxBackpressure: MAX_FRAME_BYTES,
    idleTimeout: 0,
    open: (socket) => {
      agents.push({ socket, due: [] });
      arrivals.emit("agent");
    },
    message: (_socket, frame) => answered(frame),
  });
  return new Promise((resolve, reject) => {
    app.listen("127.0.0.1", 0, (socket) => {
      if (socket) resolve(us_socket_local_port(socket));
      else reject(new Error("The relay cannot listen."));
    });
  });
}

async function awaitAgents(count: number): Promise<void> {
  while (agents.length < count) await once(arrivals, "agent");
}

serveCommands({ listen, awaitAgents });
