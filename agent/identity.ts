/** Who this machine is: a worker id that stays the same from start to start. */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { readJsonFile, writeFileAtomic } from "@legacygpu/shared/files";
import { z } from "zod";

const fileSchema = z.strictObject({ workerId: z.string().min(1).max(128) });
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
const SUFFIX_CHARS = 4;

/** New for every start: tells a reconnect from a second machine with the same worker id. */
export function newInstanceId(): string {
  return randomBytes(12).toString("hex");
}

/**
 * @param given used when present, and not stored: it comes from the configuration.
 * @throws `config_invalid` when the file is damaged.
 */
export async function workerIdentity(stateDir: string, given: string | undefined): Promise<string> {
  if (given !== undefined) return given;
  const file = join(stateDir, "identity.json");
  const stored = await readJsonFile(file, "worker's identity", fileSchema);
  if (stored !== undefined) return stored.workerId;
  const workerId = `${hostPart()}-${suffix()}`;
  await writeFileAtomic(file, `${JSON.stringify({ workerId })}\n`);
  return workerId;
}

/** The host's name, so that an operator recognises the machine. */
function hostPart(): string {
  const safe = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return safe.slice(0, 40) || "worker";
}

/** Hosts that were set up from one image have one name. */
function suffix(): string {
  return [...randomBytes(SUFFIX_CHARS)].map((byte) => ALPHABET.charAt(byte & 31)).join("");
}
