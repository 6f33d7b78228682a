/** Which WebSocket handshakes are turned down before anybody asks who is calling. */

import { fail } from "@legacygpu/shared/errors";
import type { RequestHead } from "./exchange.ts";
import { checkHead } from "./request.ts";

const WEBSOCKET_VERSION = "13";

/** Throws unless the head is a handshake for `subprotocol` by something that is not a web page. */
export function checkHandshake({ headers }: RequestHead, subprotocol: string): void {
  checkHead(headers);
  if (headers.has("content-length") || headers.has("transfer-encoding")) {
    throw fail("request_invalid", "A WebSocket handshake has no body.");
  }
  // A browser would attach the user's cookies for any page that asks; agents do not send this header.
  if (headers.has("origin"))
    throw fail("auth_forbidden", "This address is not for browsers (Origin was sent).");
  if (headers.get("sec-websocket-version") !== WEBSOCKET_VERSION) {
    throw fail("request_invalid", `Only WebSocket version ${WEBSOCKET_VERSION} is understood here.`);
  }
  const offered = (headers.get("sec-websocket-protocol") ?? "").split(",").map((name) => name.trim());
  if (offered.includes(subprotocol)) return;
  throw fail("request_invalid", `The WebSocket subprotocol "${subprotocol}" must be asked for.`, {
    subprotocol,
    offered,
  });
}
