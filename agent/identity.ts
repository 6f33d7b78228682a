/** Who this machine is: a worker id that stays the same from start to start. */

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
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
  const stored = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (stored !== undefined) return parseIdentity(stored, file);
  const workerId = `${hostPart()}-${suffix()}`;
  await writeFileAtomic(file, `${JSON.stringify({ workerId })}\n`);
  return workerId;
}

function parseIdentity(text: string, file: string): string {
  try {
    return fileSchema.parse(JSON.parse(text)).workerId;
  } catch (error) {
    throw fail("config_invalid", `${file} is damaged; delete it to get a new worker id.`, { file }, error);
  }
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
