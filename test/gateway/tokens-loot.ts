/** What somebody who forges tokens has to work with, and the rows that say what is made of it and why that is refused. */

import { generateKeyPairSync, type KeyObject } from "node:crypto";
import type { TestContext } from "node:test";
import type { RefusalReason } from "../../gateway/auth/tokens/refusal.ts";
import { principal } from "../support/principals.ts";
import { decodePart, forge, readSigningKey, startTokensRig, type TokensRig } from "./tokens-rig.ts";

export type Json = Record<string, unknown>;

/** What an attacker has to work with, and more: even the signing key. */
export interface Loot {
  /** A token that is good. */
  readonly token: string;
  readonly header: Json;
  readonly claims: Json;
  readonly nowSeconds: number;
  readonly key: KeyObject;
  readonly publicJwk: Json;
  readonly rsa: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly ec: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly ed: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  /** The good token with other claims, signed with the gateway's own key. `undefined` takes a claim away. */
  withClaims(claims: Json): string;
  withHeader(header: Json): string;
}

export type Row = readonly [what: string, reason: RefusalReason, make: (loot: Loot) => string];

export const swapped = (token: string, index: number, part: string): string =>
  token
    .split(".")
    .map((old, at) => (at === index ? part : old))
    .join(".");
export const partOf = (token: string, index: number): string => token.split(".")[index] ?? "";
/** JSON text with one more member, which JSON.stringify would not write. */
export const plus = (value: Json, member: string): string =>
  `${JSON.stringify(value).slice(0, -1)},${member}}`;

export async function plunder(t: TestContext): Promise<{ readonly rig: TokensRig; readonly loot: Loot }> {
  const rig = await startTokensRig(t);
  rig.keys.set("key-text", { principal: principal("key1", "submit", "read") });
  rig.keys.set("revoked-text", { principal: principal("revoked", "read"), isEnded: true });
  rig.keys.set("worker-text", { principal: { ...principal("worker", "worker", "read"), kind: "worker" } });
  const token = await rig.exchange("key-text");
  const { privateKey: key } = await readSigningKey(rig.file);
  const header = decodePart(token, 0);
  const claims = decodePart(token, 1);
  const loot: Loot = {
    token,
    header,
    claims,
    nowSeconds: rig.clock.now() / 1000,
    key,
    publicJwk: { ...rig.tokens.jwks().keys[0] },
    rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ec: generateKeyPairSync("ec", { namedCurve: "P-256" }),
    ed: generateKeyPairSync("ed25519"),
    withClaims: (more) => forge(header, { ...claims, ...more }, key),
    withHeader: (more) => forge({ ...header, ...more }, claims, key),
  };
  return { rig, loot };
}
