/**
 * The keys that sign access tokens, in one file: made, published, taken into use, retired.
 *
 * A key is
 *
 * | state      | from                              | published | signs |
 * | announced  | it was made                       | yes       | no: verifiers keep what they read for up to ten minutes |
 * | signing    | ten minutes later; the first: at once | yes   | yes   |
 * | retired    | the next one signs                | yes       | no    |
 * | gone       | no token of it can be alive, and ten minutes | no | no |
 *
 * The state follows from the times in the file, so nothing has to happen at any of these moments.
 */

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { type Jwks, MAX_TOKEN_SECONDS } from "@legacygpu/shared/api/tokens";
import { type Clock, every, type Timer } from "@legacygpu/shared/clock";
import { fail } from "@legacygpu/shared/errors";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import { z } from "zod";
import { OWN_ALGORITHM } from "./jws.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** As long as verifiers keep a key set that they have read. */
const ANNOUNCE_MS = 10 * MINUTE_MS;
const RETIRE_MS = MAX_TOKEN_SECONDS * 1000 + 10 * MINUTE_MS;
const DEFAULT_ROTATE_EVERY_MS = 30 * DAY_MS;
/** Often enough for a rotation that is due every few days at the most; no timer can express a month. */
const CHECK_INTERVAL_MS = 60 * MINUTE_MS;

const coordinateSchema = z.string().regex(/^[\w-]{43}$/);
const storedKeySchema = z
  .strictObject({
    kid: z.string(),
    createdAtMs: z.number(),
    signsFromMs: z.number(),
    /** Public and private half, as in RFC 8037. */
    x: coordinateSchema,
    d: coordinateSchema,
  })
  .refine(isConsistent, { error: "the parts of the key do not belong together" });
const fileSchema = z.strictObject({
  version: z.literal(1),
  instanceId: z.string().regex(/^[0-9a-f]{32}$/),
  keys: z.array(storedKeySchema).min(1),
});
type StoredKey = z.infer<typeof storedKeySchema>;

export interface SigningKey {
  readonly kid: string;
  readonly createdAtMs: number;
  readonly signsFromMs: number;
  readonly x: string;
  readonly d: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface SigningKeysOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default 30 days. */
  readonly rotateEveryMs?: number | undefined;
}

export class SigningKeys {
  /** Of this gateway: made at its first start and never again. Issuer and audience of its tokens. */
  readonly issuer: string;
  readonly #options: SigningKeysOptions;
  readonly #instanceId: string;
  readonly #timer: Timer;
  /** Oldest first; never empty. */
  #keys: readonly [SigningKey, ...SigningKey[]];
  #rotating: Promise<SigningKey> | undefined;

  private constructor(
    options: SigningKeysOptions,
    instanceId: string,
    keys: readonly [SigningKey, ...SigningKey[]],
  ) {
    this.#options = options;
    this.#instanceId = instanceId;
    this.#keys = keys;
    this.issuer = `urn:legacygpu:gateway:${instanceId}`;
    this.#timer = every(options.clock, CHECK_INTERVAL_MS, () => void this.#rotateWhenDue());
  }

  /** @throws `config_invalid` when the file exists and cannot be understood; `store_failed` when it cannot be written. */
  static async open(options: SigningKeysOptions): Promise<SigningKeys> {
    const stored = await readJsonFile(options.file, "file of signing keys", fileSchema);
    const [first, ...others] = (stored?.keys ?? [])
      .map(toSigningKey)
      .sort((a, b) => a.signsFromMs - b.signsFromMs);
    const nowMs = options.clock.now();
    const instanceId = stored?.instanceId ?? randomBytes(16).toString("hex");
    if (first === undefined) {
      const key = newKey(nowMs, nowMs);
      await write(options.file, instanceId, [key]);
      return new SigningKeys(options, instanceId, [key]);
    }
    const opened = new SigningKeys(options, instanceId, [first, ...others]);
    await opened.#rotateWhenDue();
    return opened;
  }

  /** The key to sign with now. */
  get current(): SigningKey {
    const nowMs = this.#options.clock.now();
    // Where the clock went back behind all of them, the oldest is the one that everybody knows.
    return this.#keys.findLast(({ signsFromMs }) => signsFromMs <= nowMs) ?? this.#keys[0];
  }

  /** @returns undefined for a key that is unknown or gone. */
  publicKey(kid: string): KeyObject | undefined {
    return this.#published().find((key) => key.kid === kid)?.publicKey;
  }

  jwks(): Jwks {
    return { keys: this.#published().map(({ kid, x }) => publicJwk(kid, x)) };
  }

  /**
   * Announces a new key; one that is announced already is the answer instead, so that a second call does not put off the first.
   *
   * @throws `store_failed`
   */
  rotate(): Promise<SigningKey> {
    this.#rotating ??= this.#rotateNow().finally(() => {
      this.#rotating = undefined;
    });
    return this.#rotating;
  }

  async close(): Promise<void> {
    this.#timer.cancel();
    await this.#rotating?.catch(() => {});
  }

  get #newest(): SigningKey {
    return this.#keys.at(-1) ?? this.#keys[0];
  }

  #published(): SigningKey[] {
    const nowMs = this.#options.clock.now();
    return this.#keys.filter((_, index) => {
      const next = this.#keys[index + 1];
      return next === undefined || nowMs < next.signsFromMs + RETIRE_MS;
    });
  }

  async #rotateNow(): Promise<SigningKey> {
    const { file, clock, log } = this.#options;
    const nowMs = clock.now();
    if (this.#newest.signsFromMs > nowMs) return this.#newest;
    const added = newKey(nowMs, nowMs + ANNOUNCE_MS);
    const [first = added, ...others] = this.#published();
    const keys: readonly [SigningKey, ...SigningKey[]] = [first, ...others, added];
    await write(file, this.#instanceId, keys);
    this.#keys = keys;
    log.info({ kid: added.kid }, "a new signing key was announced");
    return added;
  }

  async #rotateWhenDue(): Promise<void> {
    const { clock, log, rotateEveryMs = DEFAULT_ROTATE_EVERY_MS } = this.#options;
    if (clock.now() < this.#newest.createdAtMs + rotateEveryMs) return;
    try {
      await this.rotate();
    } catch (error) {
      log.error({ err: error }, "the signing key could not be rotated; the present one goes on");
    }
  }
}

function publicJwk(kid: string, x: string): Jwks["keys"][number] {
  return { kty: "OKP", crv: "Ed25519", x, kid, use: "sig", alg: OWN_ALGORITHM };
}

function newKey(createdAtMs: number, signsFromMs: number): SigningKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  const { x = "", d = "" } = privateKey.export({ format: "jwk" });
  return toSigningKey({ kid: thumbprint(x), createdAtMs, signsFromMs, x, d });
}

function toSigningKey({ kid, createdAtMs, signsFromMs, x, d }: StoredKey): SigningKey {
  const privateKey = createPrivateKey({ key: { kty: "OKP", crv: "Ed25519", x, d }, format: "jwk" });
  return { kid, createdAtMs, signsFromMs, x, d, privateKey, publicKey: createPublicKey(privateKey) };
}

/** RFC 7638: the name of a key is made from the key. */
function thumbprint(x: string): string {
  return createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest("base64url");
}

function isConsistent({
  kid,
  x,
  d,
}: {
  readonly kid: string;
  readonly x: string;
  readonly d: string;
}): boolean {
  if (kid !== thumbprint(x)) return false;
  try {
    const privateKey = createPrivateKey({ key: { kty: "OKP", crv: "Ed25519", x, d }, format: "jwk" });
    return createPublicKey(privateKey).export({ format: "jwk" }).x === x;
  } catch {
    return false;
  }
}

async function write(file: string, instanceId: string, keys: readonly SigningKey[]): Promise<void> {
  const stored = keys.map(({ kid, createdAtMs, signsFromMs, x, d }) => ({
    kid,
    createdAtMs,
    signsFromMs,
    x,
    d,
  }));
  const text = `${JSON.stringify({ version: 1, instanceId, keys: stored }, null, 2)}\n`;
  try {
    await writeFileAtomic(file, text, { mode: 0o600 });
  } catch (error) {
    throw fail("store_failed", `The signing keys cannot be written to ${file}.`, { file }, error);
  }
}
