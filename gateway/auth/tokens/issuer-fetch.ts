/** Reads a JSON document of an issuer. No redirect is followed: what the operator configured is what is asked. */

import http, { type IncomingMessage } from "node:http";
import https from "node:https";

/** Large key sets have some ten keys. */
const MAX_DOCUMENT_BYTES = 256 * 1024;

export interface IssuerRequest {
  /** The only CA that is trusted. Absent: those that Node trusts. */
  readonly caPem?: string | undefined;
  readonly signal: AbortSignal;
}

/** The key of everyone whom this issuer names is at stake: nothing in the clear but within one machine. */
export function isSafeIssuerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  const isLoopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
  return (protocol === "https:" || (protocol === "http:" && isLoopback)) && `${username}${password}` === "";
}

/** Throws what the network throws, and when the answer is not a JSON document. */
export async function fetchIssuerDocument(
  address: string,
  { caPem, signal }: IssuerRequest,
): Promise<unknown> {
  const url = new URL(address);
  const { get } = url.protocol === "https:" ? https : http;
  const tls = caPem === undefined ? {} : { ca: caPem };
  const headers = { accept: "application/json" };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { headers, agent: false, signal, ...tls }, resolve).on("error", reject);
  });
  if (response.statusCode !== 200) {
    response.destroy();
    throw new Error(`${address} answered ${response.statusCode}, not 200`);
  }
  return JSON.parse(await readText(response));
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let receivedBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    receivedBytes += chunk.length;
    if (receivedBytes > MAX_DOCUMENT_BYTES) throw new Error(`over ${MAX_DOCUMENT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
