/** `fetch` for Node that trusts one private CA, or two while it is being changed, and honours an egress proxy. The only importer of undici here. */

import type { X509Certificate } from "node:crypto";
import { fail } from "@legacygpu/shared/errors";
import { certificatesIn } from "@legacygpu/shared/pem";
import { Agent, type Dispatcher, EnvHttpProxyAgent, fetch } from "undici";
import type { Fetch } from "./fetch-port.ts";

export interface PinnedFetchOptions {
  /** The only CAs that are trusted: one, or two while the gateway's is being changed. Absent: those that Node trusts. */
  readonly caPem?: string;
  /** Where `caPem` came from, for messages. */
  readonly caFile?: string;
  readonly proxy?: ProxyOptions;
}

/** As in the environment variables HTTPS_PROXY and NO_PROXY. */
export interface ProxyOptions {
  readonly httpsProxy: string;
  readonly noProxy: string;
}

export type PinnedFetch = Fetch & { readonly trust: string; close(): Promise<void> };

/** @throws `certificate_invalid` when `caPem` is not a certificate, or one of several is damaged. */
export function pinnedFetch({ caPem, caFile, proxy }: PinnedFetchOptions = {}): PinnedFetch {
  const trust = caPem === undefined ? "the CAs that Node trusts" : describeCa(caPem, caFile);
  const dispatcher = dispatcherFor(caPem, proxy);
  const send: Fetch = (url, request) => fetch(url, { ...request, dispatcher } as Parameters<typeof fetch>[1]);
  return Object.assign(send, { trust, close: () => dispatcher.destroy() });
}

function dispatcherFor(caPem: string | undefined, proxy: ProxyOptions | undefined): Dispatcher {
  const tls = caPem === undefined ? {} : { ca: caPem };
  if (proxy === undefined) return new Agent({ connect: tls });
  return new EnvHttpProxyAgent({ ...proxy, httpProxy: proxy.httpsProxy, requestTls: tls, connect: tls });
}

function describeCa(caPem: string, caFile: string | undefined): string {
  const name = readCertificates(caPem, caFile)
    .map(({ subject }) => subject.replaceAll("\n", ", "))
    .join(" or ");
  return caFile === undefined ? `only ${name}` : `only ${name} (${caFile})`;
}

function readCertificates(caPem: string, caFile = "caPem"): X509Certificate[] {
  try {
    return certificatesIn(caPem);
  } catch (error) {
    const message = `${caFile} is not a certificate in PEM form: give the gateway's ca.pem.`;
    throw fail("certificate_invalid", message, { file: caFile }, error);
  }
}
