/** Version 1 of the agent link, and every limit that both sides must agree on. */

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "legacygpu.v1";
export const AGENT_PATH = "/agent";

/** No frame is larger; a payload that would not fit travels beside the link, over HTTPS. */
export const MAX_FRAME_BYTES = 64 * 1024;

/** A task's input or output up to this size travels inside its frame. */
export const INLINE_PAYLOAD_BYTES = 48 * 1024;

/**
 * Bytes that one side may have sent without an `ack`.
 *
 * Well under the 512 KiB at which the gateway's TLS library drops what it has read, and small enough that a heartbeat never waits
 * long behind it.
 */
export const WINDOW_BYTES = 256 * 1024;

/** The receiver acknowledges at least this often, so that the sender's window never runs dry while data flows. */
export const ACK_EVERY_BYTES = 32 * 1024;

/** Why a side closed the link: WebSocket close codes from the private range. */
export const CLOSE = {
  malformed: 4400,
  unauthorized: 4401,
  heartbeatTimeout: 4408,
  workerIdInUse: 4409,
  frameTooLarge: 4413,
  protocolUnsupported: 4426,
  replaced: 4410,
  goingAway: 1001,
  normal: 1000,
} as const;

/** Where payloads travel beside the link, relative to the gateway's address. */
export const attemptInputPath = (taskId: string, token: number): string =>
  `/agent/attempts/${taskId}/${token}/input`;
export const attemptOutputPath = (taskId: string, token: number): string =>
  `/agent/attempts/${taskId}/${token}/output`;
export const blobPath = (digest: string): string => `/agent/blobs/${digest}`;
