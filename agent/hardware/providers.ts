/**
 * Which execution providers compute on this machine, best first.
 *
 * A provider counts when a model really ran on it, in a process of its own. The answer is kept until the machine changes: driver
 * and card, architecture, version of this build.
 */

import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fail } from "@legacygpu/shared/errors";
import { writeFileAtomic } from "@legacygpu/shared/files";
import type { Logger } from "@legacygpu/shared/log";
import type { ProviderName } from "@legacygpu/shared/manifest";
import type { Hardware } from "@legacygpu/shared/protocol/messages";
import { VERSION } from "@legacygpu/shared/version";
import { z } from "zod";
import { inheritedArguments, siblingModule } from "../runner/process.ts";

export interface ProviderOptions {
  readonly stateDir: string;
  readonly hardware: Hardware;
  /** What the person asked for, best first; absent: whatever works. */
  readonly wanted?: readonly string[] | undefined;
  /** For the trial processes; must hold no credential. */
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
}

/** Creating a device compiles shaders; a driver that needs longer hangs. */
const TRIAL_LIMIT_MS = 15_000;
const ICD_FOLDERS = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

const verdictSchema = z.union([
  z.object({ ok: z.literal(true) }),
  z.object({ ok: z.literal(false), reason: z.string() }),
]);
type Verdict = z.infer<typeof verdictSchema>;
const cacheSchema = z.object({ fingerprint: z.string(), verdicts: z.record(z.string(), verdictSchema) });

/** @throws `config_invalid` when none of those that were asked for works. */
export async function probeProviders(options: ProviderOptions): Promise<string[]> {
  const candidates: readonly string[] = options.wanted ?? candidatesFor(options.hardware, options.env);
  const verdicts = await tryAll(candidates, options);
  const working = candidates.filter((provider) => verdicts[provider]?.ok === true);
  const reasons = candidates.flatMap((provider) => {
    const verdict = verdicts[provider];
    return verdict?.ok === false ? [`${provider}: ${verdict.reason}`] : [];
  });
  for (const reason of reasons) options.log.warn({ reason }, "an execution provider does not work here");
  if (working.length > 0) return working;
  throw fail("config_invalid", `None of the execution providers asked for works here. ${reasons.join("; ")}`);
}

/** A real GPU first; one that is emulated in software is slower than the processor it runs on. */
function candidatesFor(hardware: Hardware, env: NodeJS.ProcessEnv): ProviderName[] {
  const accelerated: ProviderName[] = [
    ...(hardware.gpus.some((gpu) => gpu.vendor === "NVIDIA") ? nvidiaProviders() : []),
    ...(process.platform === "win32" ? (["dml"] as const) : []),
    ...(canTryWebGpu(env) ? (["webgpu"] as const) : []),
    ...(process.platform === "darwin" ? (["coreml"] as const) : []),
  ];
  return hardware.gpus.length > 0 ? [...accelerated, "cpu"] : ["cpu", ...accelerated];
}

/** A trial costs most of a second; without a driver its outcome is known. */
function canTryWebGpu(env: NodeJS.ProcessEnv): boolean {
  if (process.platform !== "linux") return true;
  if (process.arch !== "x64") return false;
  const isPointedTo = Boolean(env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES);
  const hasRenderNode = listFolder("/dev/dri").some((name) => name.startsWith("renderD"));
  const hasDevice = hasRenderNode || existsSync("/dev/nvidiactl") || existsSync("/dev/dxg");
  return isPointedTo || (hasDevice && ICD_FOLDERS.some((folder) => listFolder(folder).length > 0));
}

/** They are not part of the package; its own install script fetches them on machines that have such a card. */
function nvidiaProviders(): ProviderName[] {
  if (process.platform !== "linux" || process.arch !== "x64") return [];
  const entry = new URL(import.meta.resolve("onnxruntime-node"));
  // TensorRT takes minutes to build what it then runs: it is there for models that ask for it.
  return (["cuda", "tensorrt"] as const).filter((provider) =>
    existsSync(new URL(`../bin/napi-v6/linux/x64/libonnxruntime_providers_${provider}.so`, entry)),
  );
}

async function tryAll(
  candidates: readonly string[],
  { stateDir, hardware, env, log }: ProviderOptions,
): Promise<Record<string, Verdict>> {
  const path = join(stateDir, "providers.json");
  const fingerprint = machineFingerprint(hardware, env);
  const known = await readVerdicts(path, fingerprint);
  const untried = candidates.filter((provider) => provider !== "cpu" && known[provider] === undefined);
  const tried = await Promise.all(untried.map((provider) => tryProvider(provider, env)));
  const verdicts = { ...known };
  for (const [index, provider] of untried.entries())
    verdicts[provider] = tried[index] ?? { ok: false, reason: "?" };
  if (untried.length > 0) {
    log.info({ verdicts }, "tried the execution providers");
    await writeFileAtomic(path, JSON.stringify({ fingerprint, verdicts }, null, 2));
  }
  // The processor always works; a failure there is a broken installation, which every model will report.
  return { ...verdicts, cpu: { ok: true } };
}

/** Whether providers that work here still do so behind the command that confines a runner: some drivers need more than a model should. */
export async function providersWorkBehind(
  prefix: readonly string[],
  providers: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<boolean> {
  const accelerated = providers.filter((provider) => provider !== "cpu");
  const verdicts = await Promise.all(accelerated.map((provider) => tryProvider(provider, env, prefix)));
  return verdicts.every(({ ok }) => ok);
}

function tryProvider(
  provider: string,
  env: NodeJS.ProcessEnv,
  prefix: readonly string[] = [],
): Promise<Verdict> {
  const entry = siblingModule("provider-trial", import.meta.url);
  const limits = { env, timeout: TRIAL_LIMIT_MS, killSignal: "SIGKILL" } as const;
  const node = [process.execPath, ...inheritedArguments(), entry, provider];
  const [command = process.execPath, ...rest] = [...prefix, ...node];
  return new Promise((resolve) => {
    execFile(command, rest, limits, (error, stdout, stderr) => {
      const lastLine = stdout.trim().split("\n").at(-1) ?? "";
      const parsed = verdictSchema.safeParse(parseJson(lastLine));
      if (parsed.success) resolve(parsed.data.ok ? parsed.data : withHint(parsed.data.reason, stderr));
      else if (error?.killed) resolve({ ok: false, reason: `no answer within ${TRIAL_LIMIT_MS / 1000} s` });
      else
        resolve({
          ok: false,
          reason: `its process died (${error?.signal ?? error?.code}): ${stderr.slice(-300)}`,
        });
    });
  });
}

function withHint(reason: string, stderr: string): Verdict {
  const isLoaderMissing = stderr.includes("libvulkan.so.1");
  const hint = isLoaderMissing ? " The Vulkan loader is missing: install libvulkan1." : "";
  return { ok: false, reason: reason.trim() + hint };
}

/** Changes with the machine, its drivers and this build. */
export function machineFingerprint(hardware: Hardware, env: NodeJS.ProcessEnv): string {
  const drivers = [env.VK_DRIVER_FILES, env.VK_ICD_FILENAMES, ...ICD_FOLDERS.flatMap(listFolder)];
  return JSON.stringify([VERSION, process.arch, hardware.gpus, drivers]);
}

async function readVerdicts(path: string, fingerprint: string): Promise<Record<string, Verdict>> {
  const text = await readFile(path, "utf8").catch(() => "");
  const parsed = cacheSchema.safeParse(parseJson(text));
  return parsed.success && parsed.data.fingerprint === fingerprint ? parsed.data.verdicts : {};
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
