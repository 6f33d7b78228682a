/** Gateway and agent on one machine, and the keys that the two and the local command line need. */

import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Home } from "@legacygpu/shared/home";
import { Lifecycle } from "@legacygpu/shared/lifecycle";
import type { NewKey, RunningAgent, RunningGateway } from "./parts.ts";
import { type Profile, readProfile, writeProfile } from "./profile.ts";
import { gatewayOptions, type ServerSettings } from "./server-flags.ts";
import { workerSettingsOf } from "./worker-settings.ts";

export interface Standalone {
  readonly gateway: RunningGateway;
  readonly agent: RunningAgent;
  /** What the local command line uses. */
  readonly profile: Profile;
  /** The address that the profile named before, when it was another gateway's. */
  readonly replacedUrl: string | undefined;
  /** Lets the agent finish what runs, then stops it and the gateway. */
  close(): Promise<void>;
}

const LOCAL_CLI: NewKey = { name: "local command line", kind: "client", scopes: ["admin"] };
const LOCAL_WORKER: NewKey = { name: "local worker", kind: "worker", scopes: ["worker"] };

export async function startStandalone(settings: ServerSettings): Promise<Standalone> {
  const { home, io, log } = settings;
  if (settings.config.api.plainHttp) {
    const message =
      "api.plain_http is for `api start` behind a proxy: a worker, which this command starts too, dials with TLS only.";
    throw fail("config_invalid", message);
  }
  const lifecycle = new Lifecycle(log);
  try {
    const gateway = await io.parts.startGateway(gatewayOptions(settings));
    lifecycle.add("gateway", () => gateway.close());
    const { profile, replacedUrl } = await ensureProfile(gateway, home);
    const agent = await startLocalAgent(gateway, settings);
    lifecycle.add("agent", async () => {
      await agent.drain();
      await agent.close();
    });
    return { gateway, agent, profile, replacedUrl, close: () => lifecycle.close() };
  } catch (error) {
    await lifecycle.close();
    throw error;
  }
}

/** The key in the profile is made again when the gateway does not know it: its list of keys may have been deleted. */
async function ensureProfile(
  gateway: RunningGateway,
  home: Home,
): Promise<{ profile: Profile; replacedUrl: string | undefined }> {
  const before = await readProfile(home);
  const isKnown = before?.key !== undefined && gateway.verifyKey(before.key);
  const key = isKnown && before.key !== undefined ? before.key : (await gateway.issueKey(LOCAL_CLI)).key;
  const { url, caFile } = gateway;
  const profile = { url, key, ...(caFile === undefined ? {} : { caFile }) };
  await writeProfile(home, profile);
  return { profile, replacedUrl: isKnown || before?.url === gateway.url ? undefined : before?.url };
}

async function startLocalAgent(
  gateway: RunningGateway,
  { io, home, config, log }: ServerSettings,
): Promise<RunningAgent> {
  const caPem = gateway.caFile === undefined ? undefined : await readFile(gateway.caFile, "utf8");
  return io.parts.startAgent({
    url: gateway.url,
    key: await ensureWorkerKey(gateway, home),
    ...(caPem === undefined ? {} : { caPem }),
    stateDir: home.worker,
    ...workerSettingsOf(config),
    env: io.env,
    log,
    clock: io.clock,
    random: io.random,
  });
}

async function ensureWorkerKey(gateway: RunningGateway, home: Home): Promise<string> {
  const stored = await readCredential(home);
  if (stored !== undefined && gateway.verifyKey(stored)) return stored;
  const { key } = await gateway.issueKey(LOCAL_WORKER);
  await writeCredential(home, key);
  return key;
}

/** The worker key that this machine used last; undefined when there is none. */
export async function readCredential(home: Pick<Home, "worker">): Promise<string | undefined> {
  try {
    return (await readFile(credentialFile(home), "utf8")).trim() || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether this machine has joined a gateway; what it learned then is the agent's affair. */
export async function hasJoined(home: Pick<Home, "worker">): Promise<boolean> {
  try {
    await access(join(home.worker, "enrolment.json"));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

export async function writeCredential(home: Pick<Home, "worker">, key: string): Promise<void> {
  await writeFileAtomic(credentialFile(home), `${key}\n`, { mode: 0o600 });
}

function credentialFile(home: Pick<Home, "worker">): string {
  return join(home.worker, "credential");
}
