/** A gateway's door with tokens, over real TLS: keys that a test can end, one route to see who came in, and a forger. */

import { createHmac, createPrivateKey, type KeyObject, sign } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fail } from "@legacygpu/shared/errors";
import { createLogger } from "@legacygpu/shared/log";
import type { AuditEvent } from "../../gateway/audit/audit-log.ts";
import { Authenticator, type CredentialSource } from "../../gateway/auth/authenticator.ts";
import { Gatekeeper } from "../../gateway/auth/gatekeeper.ts";
import type { Principal } from "../../gateway/auth/principal.ts";
import type { LiveKeys } from "../../gateway/auth/tokens/access-tokens.ts";
import type { IssuerOptions } from "../../gateway/auth/tokens/external-issuers.ts";
import { Tokens } from "../../gateway/auth/tokens/tokens.ts";
import { type Endpoint, errorResponse, json, toRoute } from "../../gateway/http/endpoint.ts";
import type { RequestHead } from "../../gateway/http/exchange.ts";
import { authEndpoints } from "../../gateway/http/resources/auth.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type Reply, startGateway } from "./http-server-fixture.ts";

export interface TestKey {
  readonly principal: Principal;
  /** Set: what a revoked or expired key looks like. */
  isEnded?: boolean;
  /** Set: it may not be used from here. */
  isElsewhere?: boolean;
}

export interface Sent {
  readonly method?: "GET" | "POST";
  readonly bearer?: string;
  readonly body?: unknown;
}

export interface RigOptions {
  readonly issuers?: readonly IssuerOptions[];
  /** Instead of keys that the test makes up. */
  readonly keyRing?: (clock: ManualClock) => Promise<LiveKeys & CredentialSource>;
}

export interface TokensRig {
  readonly clock: ManualClock;
  readonly tokens: Tokens;
  readonly file: string;
  readonly audit: AuditEvent[];
  /** By the text of the key. */
  readonly keys: Map<string, TestKey>;
  readonly logLines: Record<string, unknown>[];
  send(path: string, sent?: Sent): Promise<Reply>;
  /** @returns a token for the key. */
  exchange(key: string, wanted?: unknown): Promise<string>;
  /** Who the gateway says that the bearer is. */
  whoIs(bearer: string): Promise<Record<string, unknown>>;
  /** Asks the tokens without the door. @returns why the operator's log says that it was refused; undefined: it was not. */
  refusalOf(token: string): Promise<unknown>;
}

export const HEAD: RequestHead = {
  id: "req_test",
  method: "GET",
  path: "/",
  params: {},
  query: new URLSearchParams(),
  headers: new Map(),
  remoteAddress: "127.0.0.1",
};

export async function startTokensRig(
  t: TestContext,
  { issuers = [], keyRing }: RigOptions = {},
): Promise<TokensRig> {
  const clock = new ManualClock();
  const dir = await mkdtemp(join(tmpdir(), "legacygpu-tokens-"));
  const file = join(dir, "signing-keys.json");
  const logLines: Record<string, unknown>[] = [];
  const log = createLogger("test", "debug", { write: (line) => logLines.push(JSON.parse(line)) });
  const keys = new Map<string, TestKey>();
  const live = (keyId: string): TestKey | undefined =>
    [...keys.values()].find(({ principal, isEnded }) => principal.keyId === keyId && !isEnded);
  const source: LiveKeys & CredentialSource = (await keyRing?.(clock)) ?? {
    principalOf: (keyId) => live(keyId)?.principal,
    mayUse: (keyId) => live(keyId)?.isElsewhere !== true,
    authenticate: (presented) => {
      const key = keys.get(presented);
      if (key === undefined || key.isEnded) throw fail("auth_invalid");
      return key.principal;
    },
  };
  const tokens = await Tokens.open({
    file,
    issuers,
    clock,
    log,
    keys: source,
  });
  const audit: AuditEvent[] = [];
  const gatekeeper = new Gatekeeper({
    clock,
    revocable: [],
    authenticator: new Authenticator({
      tokens,
      keys: source,
      identities: {
        authenticate: () => {
          throw fail("auth_invalid");
        },
      },
    }),
    limits: {
      checkAddress() {},
      authenticationFailed() {},
      openSocket() {},
      enterUnknown: () => ({ leave() {} }),
      enter: () => ({ leave() {} }),
    },
    audit: { record: (event) => audit.push(event) },
  });
  const whoAmI: Endpoint = {
    method: "GET",
    pattern: "/whoami",
    scope: "read",
    handle: (_, { scopes, models, sites, ...rest }) =>
      json(200, { ...rest, scopes: [...scopes], models: models && [...models], sites: sites && [...sites] }),
  };
  const endpoints = [...authEndpoints({ tokens, audit: { record: (event) => audit.push(event) } }), whoAmI];
  const gateway = await startGateway(t, {
    routes: endpoints.map((endpoint) => toRoute(endpoint, gatekeeper)),
    errorResponse: errorResponse(log),
  });
  t.after(async () => {
    await tokens.close();
    await rm(dir, { recursive: true });
  });

  const send: TokensRig["send"] = (path, { method = "GET", bearer, body } = {}) =>
    gateway.fetch(path, {
      method,
      headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  return {
    clock,
    tokens,
    file,
    audit,
    keys,
    logLines,
    send,
    exchange: async (bearer, wanted) => {
      const reply = await send("/auth/token", { method: "POST", bearer, body: wanted });
      if (reply.status !== 200) throw new Error(`${reply.status}: ${reply.text}`);
      return JSON.parse(reply.text).access_token;
    },
    whoIs: async (bearer) => {
      const reply = await send("/whoami", { bearer });
      if (reply.status !== 200) throw new Error(`${reply.status}: ${reply.text}`);
      return JSON.parse(reply.text);
    },
    refusalOf: async (token) => {
      logLines.length = 0;
      try {
        await tokens.authenticate(token, HEAD);
        return undefined;
      } catch {
        return logLines.find(({ msg }) => msg === "a token was refused")?.reason;
      }
    },
  };
}

export function encode(part: unknown): string {
  const text = typeof part === "string" || Buffer.isBuffer(part) ? part : JSON.stringify(part);
  return Buffer.from(text as string).toString("base64url");
}

export function decodePart(token: string, index: 0 | 1): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split(".")[index] ?? "", "base64url").toString());
}

/** The key that a gateway signs with, as whoever steals its file has it. */
export async function readSigningKey(
  file: string,
): Promise<{ kid: string; x: string; privateKey: KeyObject }> {
  const { kid, x, d } = JSON.parse(await readFile(file, "utf8")).keys[0];
  return {
    kid,
    x,
    privateKey: createPrivateKey({ key: { kty: "OKP", crv: "Ed25519", x, d }, format: "jwk" }),
  };
}

/** Signs whatever it is given. @param header,claims text is taken as it is. */
export function forge(
  header: unknown,
  claims: unknown,
  key: KeyObject,
  digest: string | null = null,
): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  const signature = sign(digest, Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

export function forgeHmac(header: unknown, claims: unknown, secret: string | Buffer): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
