/** The profile: address, CA and key that the command line uses when none is given. `legacygpu up` writes it. */

import { readFile } from "node:fs/promises";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Home } from "@legacygpu/shared/home";
import { z } from "zod";

const profileSchema = z.object({
  /** `https://HOST:PORT` of the gateway. */
  url: z.url({ protocol: /^https?$/ }),
  caFile: z.string().min(1).optional(),
  key: z.string().min(1).optional(),
});
export type Profile = z.infer<typeof profileSchema>;

/**
 * @returns undefined when there is none.
 * @throws `config_invalid` naming the file and what to do.
 */
export async function readProfile({ profileFile }: Pick<Home, "profileFile">): Promise<Profile | undefined> {
  let text: string;
  try {
    text = await readFile(profileFile, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw damaged(profileFile, (error as Error).message, error);
  }
  const parsed = profileSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw damaged(profileFile, `${issue?.path.join(".") || "contents"}: ${issue?.message}`, parsed.error);
}

export async function writeProfile(
  { profileFile }: Pick<Home, "profileFile">,
  profile: Profile,
): Promise<void> {
  await writeFileAtomic(profileFile, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(file: string, what: string, cause: unknown): Error {
  const message = `${file} cannot be used (${what}). Delete it; \`legacygpu up\` writes a new one.`;
  return fail("config_invalid", message, { file }, cause);
}
