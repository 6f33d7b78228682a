/** Keys that stand in the configuration: read once at the start, known by their hash only. */

import { identifierSchema, SCOPES, type Scope } from "@legacygpu/shared/api/keys";
import { fail, type LegacyGpuError } from "@legacygpu/shared/errors";
import { IDENTITY_PREFIX, JWT_FORM } from "./authenticator.ts";
import { hashCredential } from "./credential.ts";
import { HeldKey } from "./held-key.ts";
import { newRecord } from "./key-record.ts";

export interface ConfiguredKey {
  readonly key: string;
  /** Names of scopes; `write` is another word for `submit`. */
  readonly permissions: readonly string[];
  /** Default: its id. */
  readonly name?: string | undefined;
  /** Default: it is a tenant of its own. */
  readonly tenant?: string | undefined;
}

const MIN_CHARS = 32;
/** What a header can carry as one word. */
const WORD = /^[\x21-\x7e]+$/;
const HOW_TO_MAKE = "Make one with `openssl rand -hex 32`.";

/** @throws `config_invalid`, naming the key by its name and place and never by itself. */
export function readConfiguredKeys(keys: readonly ConfiguredKey[], nowMs: number): HeldKey[] {
  const read = new Map<string, HeldKey>();
  keys.forEach((given, index) => {
    const key = readKey(given, index, nowMs);
    const { id } = key.record;
    if (read.has(id)) throw refuse(given, index, "stands there twice. Give each caller a key of its own.");
    read.set(id, key);
  });
  return [...read.values()];
}

function readKey(given: ConfiguredKey, index: number, nowMs: number): HeldKey {
  const { key, name, tenant } = given;
  const mistake = mistakeIn(key);
  if (mistake !== undefined) throw refuse(given, index, `${mistake} ${HOW_TO_MAKE}`);
  if (tenant !== undefined && !identifierSchema.safeParse(tenant).success)
    throw refuse(given, index, `has the tenant "${tenant}"; write 1 to 64 letters, digits, '.', '_' or '-'.`);
  const hash = hashCredential(key);
  const id = `config-${hash.toString("hex", 0, 4)}`;
  const scopes = scopesOf(given, index);
  const kind = scopes.includes("worker") ? "worker" : "client";
  const record = newRecord({ id, hash, text: "" }, kind, { name: name ?? id, scopes, tenant }, nowMs);
  return new HeldKey(record, "config");
}

function mistakeIn(key: string): string | undefined {
  if (key.length < MIN_CHARS)
    return `has ${key.length} characters; at least ${MIN_CHARS} random ones are needed.`;
  if (!WORD.test(key)) return "has spaces or characters beyond ASCII, which no client could send.";
  if (JWT_FORM.test(key) || key.startsWith(IDENTITY_PREFIX))
    return "has the form of a token that is something else.";
  return undefined;
}

function scopesOf(given: ConfiguredKey, index: number): Scope[] {
  const scopes = given.permissions.map((permission) => {
    const scope = SCOPES.find((known) => known === (permission === "write" ? "submit" : permission));
    if (scope !== undefined) return scope;
    throw refuse(given, index, `has the permission "${permission}"; known are write, ${SCOPES.join(", ")}.`);
  });
  if (scopes.length === 0) throw refuse(given, index, "has no permission.");
  if (scopes.includes("worker") && scopes.some((scope) => scope !== "worker"))
    throw refuse(given, index, "has `worker` beside others; a machine's key must not act for a person.");
  return scopes;
}

function refuse({ name }: ConfiguredKey, index: number, what: string): LegacyGpuError {
  const which = name === undefined ? "" : ` ("${name}")`;
  return fail("config_invalid", `Key ${index + 1}${which} of the configuration ${what}`, { index, name });
}
