/** Finds address, CA and key of the gateway to talk to: flags ← environment ← profile. */

import { readFile } from "node:fs/promises";
import { fail } from "@legacygpu/shared/errors";
import { openHome } from "@legacygpu/shared/home";
import { LegacyGpuClient } from "../index.ts";
import { type PinnedFetch, type ProxyOptions, pinnedFetch } from "../pinned-fetch.ts";
import type { CliIo } from "./io.ts";
import { readProfile } from "./profile.ts";

type Env = CliIo["env"];

export interface ConnectionFlags {
  readonly url?: string;
  readonly key?: string;
  readonly ca?: string;
}

export interface Connection {
  readonly url: string;
  readonly client: LegacyGpuClient;
  close(): Promise<void>;
}

export async function connect(
  flags: ConnectionFlags,
  { env, clock, random }: Pick<CliIo, "env" | "clock" | "random">,
): Promise<Connection> {
  const { url, key, caFile } = await findGateway(flags, env);
  const caPem = caFile === undefined ? undefined : await readCa(caFile);
  const proxy = proxyFor(url, env);
  const fetch: PinnedFetch = pinnedFetch({
    ...(caPem === undefined ? {} : { caPem }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(proxy === undefined ? {} : { proxy }),
  });
  const client = new LegacyGpuClient({ url, fetch, clock, random, ...(key === undefined ? {} : { key }) });
  return { url, client, close: () => fetch.close() };
}

interface Gateway {
  readonly url: string;
  readonly key: string | undefined;
  readonly caFile: string | undefined;
}

async function findGateway(flags: ConnectionFlags, env: Env): Promise<Gateway> {
  const home = openHome(env);
  const url = flags.url ?? given(env, "LEGACYGPU_URL");
  const key = flags.key ?? given(env, "LEGACYGPU_KEY");
  const caFile = flags.ca ?? given(env, "LEGACYGPU_CA");
  const isComplete = url !== undefined && key !== undefined && caFile !== undefined;
  const profile = isComplete ? undefined : await readProfile(home);
  if (url === undefined && profile === undefined) {
    const message = `No gateway is known: start one with \`legacygpu up\`, or name one with --url (LEGACYGPU_URL). Looked for a profile in ${home.profileFile}.`;
    throw fail("config_invalid", message, { profile: home.profileFile });
  }
  // The profile's key is for the profile's gateway; no other address may get to see it.
  const isSame = url === undefined || (profile !== undefined && isSameGateway(url, profile.url));
  const stored = isSame ? profile : undefined;
  return { url: url ?? profile?.url ?? "", key: key ?? stored?.key, caFile: caFile ?? stored?.caFile };
}

function isSameGateway(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).origin === new URL(b).origin;
}

function given(env: Env, name: string): string | undefined {
  return env[name] || undefined;
}

export async function readCa(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const message = `The CA file ${file} cannot be read (${(error as Error).message}). Copy ca.pem from the gateway's folder "certs".`;
    throw fail("config_invalid", message, { file }, error);
  }
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Whether `url` means this machine, whichever machine that is. */
export function isLoopback(url: string): boolean {
  return URL.canParse(url) && LOOPBACK.test(new URL(url).hostname);
}

/** The site's proxy, but never for this machine. */
function proxyFor(url: string, env: Env): ProxyOptions | undefined {
  const httpsProxy = env.HTTPS_PROXY || env.https_proxy;
  if (!httpsProxy || !URL.canParse(url) || isLoopback(url)) return undefined;
  return { httpsProxy, noProxy: env.NO_PROXY || env.no_proxy || "" };
}
