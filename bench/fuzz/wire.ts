/** Good bytes as they go over the network: HTTP requests, and WebSocket messages of an agent. */

import { FrameBuilder } from "@legacygpu/shared/protocol/codec";
import type { AgentMessage } from "@legacygpu/shared/protocol/messages";
import { AGENT_PATH, SUBPROTOCOL } from "@legacygpu/shared/protocol/version";
import { textCorpus } from "./mutate.ts";
import { AGENT_SAMPLES, HELLO } from "./samples.ts";

export interface Keys {
  readonly admin: string;
  readonly worker: string;
}

const TASK = JSON.stringify({
  model: "digits",
  input: { inputs: [{ name: "input", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] },
});

/** One good request of each kind. */
export function requestCorpus({ admin, worker }: Keys): Uint8Array[] {
  const head = (line: string, ...headers: string[]): string =>
    [line, "Host: localhost", `Authorization: Bearer ${admin}`, ...headers, "", ""].join("\r\n");
  const withBody = (line: string, body: string, ...headers: string[]): string =>
    head(line, "Content-Type: application/json", `Content-Length: ${body.length}`, ...headers) + body;
  const chunked = `${TASK.length.toString(16)}\r\n${TASK}\r\n0\r\n\r\n`;
  return textCorpus([
    head("GET /livez HTTP/1.1"),
    head("GET /tasks?limit=10&state=PENDING HTTP/1.1", "Accept: application/json", 'If-None-Match: "x"'),
    head("GET /tasks/task_01hzzzzzzzzzzzzzzzzzzzzzzz/events HTTP/1.1", "Last-Event-ID: 3"),
    withBody("POST /tasks HTTP/1.1", TASK, "Idempotency-Key: one", "Prefer: wait=1"),
    head("POST /tasks HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked") + chunked,
    withBody("POST /v2/models/digits/infer HTTP/1.1", TASK),
    withBody("POST /keys HTTP/1.1", '{"name":"k","scopes":["read"],"expires_in":60}'),
    withBody("PUT /models/digits/versions/1 HTTP/1.1", `{"file":"sha256:${"0".repeat(64)}","manifest":{}}`),
    withBody("POST /uploads HTTP/1.1", '{"bytes":100,"content_type":"image/png"}'),
    head("DELETE /keys/abcdefghij HTTP/1.1", "Origin: https://evil.example", "Cookie: key=1"),
    head("OPTIONS /tasks HTTP/1.1", "Origin: https://app.example", "Access-Control-Request-Method: POST"),
    withBody("POST /agent/challenges HTTP/1.1", '{"worker_id":"box"}'),
    handshake(worker),
  ]);
}

export function handshake(workerKey: string): string {
  return [
    `GET ${AGENT_PATH} HTTP/1.1`,
    "Host: localhost",
    `Authorization: Bearer ${workerKey}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
    "",
    "",
  ].join("\r\n");
}

/** Frames of the link, without what a WebSocket puts around them. */
export function linkCorpus(): Uint8Array[] {
  return AGENT_SAMPLES.flatMap((message) => frames(message));
}

export const helloFrame = (): Uint8Array => frames(HELLO)[0] as Uint8Array;

function frames(message: AgentMessage): Uint8Array[] {
  const builder = new FrameBuilder<AgentMessage>();
  builder.add(message);
  return builder.take();
}

const FINAL_BINARY = 0x82;
const MASKED = 0x80;

/** As a client sends it (RFC 6455, section 5.2), with a mask of zeros: the payload stays as it is. */
export function webSocketMessage(payload: Uint8Array): Uint8Array {
  const length = payload.length;
  const head =
    length < 126
      ? [FINAL_BINARY, MASKED | length]
      : length < 65_536
        ? [FINAL_BINARY, MASKED | 126, length >> 8, length & 255]
        : [
            FINAL_BINARY,
            MASKED | 127,
            0,
            0,
            0,
            0,
            0,
            (length >> 16) & 255,
            (length >> 8) & 255,
            length & 255,
          ];
  return Buffer.concat([Buffer.from(head), Buffer.alloc(4), payload]);
}
