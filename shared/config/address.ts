/** Addresses in the configuration and in flags. Everything is TLS on one port; the `tcp://` of older guides is refused with the right form. */

import { isIPv6 } from "node:net";

export type AddressResult<Value> = { readonly ok: Value } | { readonly problem: string };

export interface BindAddress {
  readonly host: string;
  /** Absent: the port of the configuration. */
  readonly port: number | undefined;
}

const DEFAULT_PORT = 8000;

/** Where an agent dials: `wss://HOST:PORT`. */
export function parseCoordinatorAddress(text: string): AddressResult<string> {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `none://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (url === undefined || url.hostname === "")
    return { problem: `"${text}" is no address: write wss://HOST:PORT` };
  if (url.protocol !== "wss:" && url.protocol !== "https:") {
    const instead = `wss://${url.hostname}:${url.port || DEFAULT_PORT}`;
    return {
      problem: `"${text}" cannot be used, agents connect with TLS to the gateway's one port: write ${instead}`,
    };
  }
  return { ok: `wss://${url.host}${url.pathname.replace(/\/+$/, "")}` };
}

/** Where a gateway listens: `HOST`, `HOST:PORT` or `wss://HOST:PORT`. */
export function parseBindAddress(text: string): AddressResult<BindAddress> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text);
  const bare = text.slice(scheme?.[0].length ?? 0).replace(/\/$/, "");
  if (scheme !== null && !/^(wss|https)$/i.test(scheme[1] ?? "")) {
    return { problem: `"${text}" cannot be used, everything is TLS on one port: write wss://${bare}` };
  }
  if (isIPv6(bare)) return { ok: { host: bare, port: undefined } };
  const match = /^(?:\[([^\]]+)\]|([^:[\]/]+))(?::(\d{1,5}))?$/.exec(bare);
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  if (match === null || (port !== undefined && port > 65_535)) {
    return { problem: `"${text}" is no address: write HOST:PORT, for example 0.0.0.0:${DEFAULT_PORT}` };
  }
  return { ok: { host: match[1] ?? match[2] ?? "", port } };
}
