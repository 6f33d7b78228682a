/**
 * How a resource describes its routes: method, path, who may, what body, what to do. Turned into routes of the server here, so that
 * authentication and error bodies are the same everywhere.
 */

import type { Scope } from "@legacygpu/shared/api/keys";
import { toProblem } from "@legacygpu/shared/api/problem";
import { asLegacyGpuError, fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import type { Logger } from "@legacygpu/shared/log";
import type { z } from "zod";
import type { Admitted, Gatekeeper } from "../auth/gatekeeper.ts";
import type { Principal } from "../auth/principal.ts";
import { rateLimitHeaders, rateLimitOf } from "../limits/refusal.ts";
import { parseExactly, stringifyExactly } from "../tasks/exact-json.ts";
import type { BodyPolicy, Request, RequestHead, Response, Route } from "./exchange.ts";
import { revocable } from "./revocable-stream.ts";

export interface Endpoint {
  readonly method: Route["method"];
  readonly pattern: string;
  /** Absent: open to everybody. any: a credential is needed, whatever it permits. */
  readonly scope?: Scope | "any";
  /** Nobody who comes with a token: what it makes would outlive that. */
  readonly isForKeys?: boolean;
  /** What the audit log calls it when it was done, unless its handler tells more of it. */
  readonly action?: string;
  readonly body?: BodyPolicy;
  /** Refuses, by throwing, before a byte of the body is read: for bodies too large to be taken from just anybody. */
  readonly check?: (head: RequestHead, principal: Principal) => void;
  readonly handle: (request: Request, principal: Principal) => Promise<Response> | Response;
}

/** Before a client tries again what was refused for lack of room, when the error does not say. */
const RETRY_AFTER_SECONDS = 2;

export function toRoute(
  { method, pattern, scope, isForKeys, action, body, check, handle }: Endpoint,
  gatekeeper: Gatekeeper,
): Route<Admitted> {
  return {
    method,
    pattern,
    body: body ?? { kind: "none" },
    guard: (head) => {
      const admitted = gatekeeper.admit(head, { scope, isForKeys });
      if (check === undefined) return admitted;
      const checked = (visitor: Admitted): Admitted =>
        refuseUnless(() => check(head, visitor.principal), visitor);
      return admitted instanceof Promise ? admitted.then(checked) : checked(admitted);
    },
    handle: (request, { principal, visit }) => {
      const done = action === undefined ? undefined : gatekeeper.witness(action, principal, request);
      const finish = (response: Response): Response => {
        done?.();
        return withHeaders(stopsWith(response, principal, gatekeeper), visit.headers);
      };
      const answer = handle(request, principal);
      return answer instanceof Promise ? answer.then(finish) : finish(answer);
    },
    finished: ({ visit }, receivedBytes) => visit.leave(receivedBytes),
  };
}

/** Whoever is turned away at the last moment has been counted in, and leaves again. */
function refuseUnless(check: () => void, admitted: Admitted): Admitted {
  try {
    check();
    return admitted;
  } catch (error) {
    admitted.visit.leave(0);
    throw error;
  }
}

function withHeaders(response: Response, more: Readonly<Record<string, string>> | undefined): Response {
  return more === undefined ? response : { ...response, headers: { ...response.headers, ...more } };
}

function stopsWith(response: Response, principal: Principal, gatekeeper: Gatekeeper): Response {
  const { body } = response;
  if (typeof body !== "object" || !("chunks" in body)) return response;
  return { ...response, body: revocable(body, (listener) => gatekeeper.whenEnded(principal, listener)) };
}

const JSON_TYPE = { "content-type": "application/json" };

export function json(status: number, value: unknown, headers?: Readonly<Record<string, string>>): Response {
  return {
    status,
    headers: headers === undefined ? JSON_TYPE : { ...JSON_TYPE, ...headers },
    body: stringifyExactly(value),
  };
}

/** The body of every error: RFC 9457. What is unexpected goes to the log, not to the client. */
export function errorResponse(log: Logger): (error: unknown, requestId: string) => Response {
  return (error, requestId) => {
    let known = asLegacyGpuError(error);
    if (known.code === "internal") {
      log.error({ err: error, requestId }, "a request failed unexpectedly");
      known = fail("internal", `Something went wrong inside legacygpu; the log has it under ${requestId}.`);
    }
    const headers: Record<string, string> = { "content-type": "application/problem+json" };
    if (known.status === 401) headers["www-authenticate"] = 'Bearer realm="legacygpu"';
    if (known.status === 429 || known.status === 503)
      headers["retry-after"] = String(retryAfterSeconds(known));
    const rateLimit = rateLimitOf(known);
    if (rateLimit !== undefined) Object.assign(headers, rateLimitHeaders(rateLimit));
    // 499 is nobody's standard: the client that cancelled is gone or asked for it.
    const status = known.status === 499 ? 409 : known.status;
    return { status, headers, body: JSON.stringify({ ...toProblem(known, requestId), status }) };
  };
}

function retryAfterSeconds({ details }: LegacyGpuError): number {
  const { retryAfterSeconds: asked } = details;
  return typeof asked === "number" && Number.isSafeInteger(asked) && asked >= 1 ? asked : RETRY_AFTER_SECONDS;
}

/** @throws `request_malformed`, `request_invalid` with the path of each field that is wrong. */
export function parseJson<T>({ body }: Pick<Request, "body">, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = parseExactly(body.toString("utf8"));
  } catch (error) {
    const text =
      body.length === 0
        ? "The body is empty; JSON is expected."
        : `Malformed JSON: ${(error as Error).message}`;
    throw fail("request_malformed", text);
  }
  return parse(value, schema);
}

/** The query string as an object. A key given twice is an error. @throws `request_invalid` */
export function parseQuery<T>(request: Request, schema: z.ZodType<T>): T {
  const values: Record<string, string> = {};
  for (const [key, value] of request.query) {
    if (Object.hasOwn(values, key)) throw fail("request_invalid", `${key}: given twice`, { path: key });
    values[key] = value;
  }
  return parse(values, schema);
}

/** A parameter of the path. The pattern of the route guarantees that it is there. */
export function param(request: Pick<RequestHead, "params">, name: string): string {
  return request.params[name] ?? "";
}

export function parse<T>(value: unknown, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ path: pathText(path), message }));
  const text = issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
  throw fail("request_invalid", text, { path: issues[0]?.path ?? "", issues });
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return text === "" ? String(part) : `${text}.${String(part)}`;
  }, "");
}
