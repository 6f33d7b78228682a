/** The paths of the route table: what a pattern stands for, and what to say at a path or for a method nobody serves. */

import { fail } from "@legacygpu/shared/errors";
import type { CrossOrigin } from "./cors.ts";
import type { HttpServerOptions, RequestHead, Response, Route } from "./exchange.ts";

interface Pattern {
  readonly pattern: string;
}

const PARAM = ":";

export function paramNamesOf(pattern: string): string[] {
  return pattern
    .split("/")
    .filter((segment) => segment.startsWith(PARAM))
    .map((segment) => segment.slice(PARAM.length));
}

/** The pattern as written and with its last slash added or taken away: both are the same address. */
export function spellings(pattern: string): string[] {
  if (pattern === "/") return [pattern];
  return pattern.endsWith("/") ? [pattern, pattern.slice(0, -1)] : [pattern, `${pattern}/`];
}

/** The methods of the library's router that take a route; whoever answers GET answers HEAD. */
export function registrars(method: Route["method"]): readonly ("get" | "head" | "post" | "put" | "del")[] {
  switch (method) {
    case "GET":
      return ["get", "head"];
    case "POST":
      return ["post"];
    case "PUT":
      return ["put"];
    case "DELETE":
      return ["del"];
  }
}

interface Table extends Pick<HttpServerOptions, "routes" | "sockets" | "errorResponse"> {
  readonly crossOrigin: CrossOrigin | undefined;
}

/** 404, or what is to be said about the address. @throws `route_not_found`, `request_invalid` */
export function answerUnrouted(head: RequestHead, table: Table): Response {
  const { id, method, path } = head;
  const methods = methodsAt(table, path);
  const headers = { Allow: methods.join(", ") };
  if (methods.length > 0 && method === "OPTIONS")
    return { status: 204, headers: { ...headers, ...table.crossOrigin?.preflight(head, methods) } };
  if (methods.length > 0) {
    const error = fail("method_not_allowed", `This address does not know ${method}.`, { methods });
    const refusal = table.errorResponse(error, id);
    return { ...refusal, headers: { ...refusal.headers, ...headers } };
  }
  if (!table.sockets.some((route) => matches(route, path))) throw fail("route_not_found");
  throw fail("request_invalid", "This address expects a WebSocket handshake.");
}

/** Methods for the `Allow` header, empty when no route has this path. */
function methodsAt({ routes }: Table, path: string): string[] {
  const found = new Set<string>(routes.filter((route) => matches(route, path)).map((route) => route.method));
  if (found.has("GET")) found.add("HEAD");
  if (found.size > 0) found.add("OPTIONS");
  return [...found];
}

function matches({ pattern }: Pattern, path: string): boolean {
  const wanted = segmentsOf(pattern);
  const given = segmentsOf(path);
  return (
    wanted.length === given.length &&
    wanted.every((segment, index) =>
      segment.startsWith(PARAM) ? given[index] !== "" : segment === given[index],
    )
  );
}

function segmentsOf(path: string): string[] {
  const segments = path.split("/");
  if (segments.length > 2 && segments.at(-1) === "") segments.pop();
  return segments;
}
