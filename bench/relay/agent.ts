/** The bare relay's far end: echoes every body, what arrived in one turn of the event loop in one frame. */

import { Agent, WebSocket } from "undici";
import { serveCommands } from "../processes/commands.ts";
import { decodeFrame, encodeFrame, type RelayMessage } from "./messages.ts";

interface ConnectOrder {
  readonly url: string;
  readonly caPem: string;
}

function connect({ url, caPem }: ConnectOrder): Promise<void> {
  const socket = new WebSocket(url, { dispatcher: new Agent({ connect: { ca: caPem } }) });
  socket.binaryType = "arraybuffer";
  let due: RelayMessage[] = [];
  let isFlushDue = false;
  const flush = (): void => {
    isFlushDue = false;
    socket.send(encodeFrame(due));
    due = [];
  };
  socket.onmessage = ({ data }) => {
    due.push(...decodeFrame(new Uint8Array(data as ArrayBuffer)));
    if (!isFlushDue) setImmediate(flush);
    isFlushDue = true;
  };
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error("The relay's agent cannot connect."));
  });
}

serveCommands({ connect });
