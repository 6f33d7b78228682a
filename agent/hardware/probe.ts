/** What this machine is made of. Never fails and never takes long: what cannot be found out is left out. */

import { execFile } from "node:child_process";
import { cpus, totalmem } from "node:os";
import type { Gpu, Hardware } from "@legacygpu/shared/protocol/messages";
import si from "systeminformation";

/** For all tools together; they run at the same time. */
const TIME_LIMIT_MS = 2000;
const MIB = 1024 * 1024;
/** Texts on the wire are bounded. */
const MAX_TEXT = 256;
/** Software that poses as a GPU. */
const SOFTWARE = /llvmpipe|swiftshader|lavapipe|basic render|virtio|vmware|qxl|cirrus|bochs|matrox|aspeed/i;

/** @param env for the tools that are asked; `PATH` above all. */
export async function probeHardware(env: NodeJS.ProcessEnv): Promise<Hardware> {
  const processors = cpus();
  return {
    cpu: {
      model: (processors[0]?.model ?? "unknown").trim().slice(0, MAX_TEXT),
      cores: Math.max(1, processors.length),
    },
    memoryBytes: totalmem(),
    platform: `${process.platform}-${process.arch}`,
    gpus: (await probeGpus(env)).slice(0, 64),
  };
}

/** The vendor's tool knows memory and driver best; systeminformation sees the cards that have no tool. */
async function probeGpus(env: NodeJS.ProcessEnv): Promise<Gpu[]> {
  const [nvidia, amd, seen] = await Promise.all([
    queryTool(
      "nvidia-smi",
      ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"],
      env,
    ),
    queryTool(
      "rocm-smi",
      ["--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json"],
      env,
    ),
    timeBoxed(
      si.graphics().then(({ controllers }) => controllers),
      [],
    ),
  ]);
  const fromTools = [...parseNvidia(nvidia), ...parseRocm(amd)];
  const vendors = new Set(fromTools.map((gpu) => gpu.vendor));
  const others = seen
    .map(fromController)
    .filter((gpu) => !SOFTWARE.test(gpu.name) && !vendors.has(gpu.vendor));
  return [...fromTools, ...others];
}

/** "NVIDIA GeForce RTX 3090, 24576, 550.54.15", one line a card. */
export function parseNvidia(text: string): Gpu[] {
  return text.split("\n").flatMap((line) => {
    const [name, memory, driver] = line.split(",").map((part) => part.trim());
    if (name === undefined || memory === undefined || driver === undefined) return [];
    return [gpu(name, "NVIDIA", Number(memory) * MIB, driver)];
  });
}

/** An object with a member for each card and one called `system`; the names of the members changed between versions. */
export function parseRocm(text: string): Gpu[] {
  const cards = parseJson(text);
  const driver = cards.system?.["Driver version"];
  return Object.entries(cards)
    .filter(([name]) => name.startsWith("card"))
    .map(([, card]) => {
      const series = card["Card series"] ?? card["Card Series"] ?? card["Card model"] ?? "AMD GPU";
      return gpu(series, "AMD", Number(card["VRAM Total Memory (B)"]), driver);
    });
}

function fromController(controller: si.Systeminformation.GraphicsControllerData): Gpu {
  const vendor = /nvidia/i.test(controller.vendor)
    ? "NVIDIA"
    : /amd|ati\b|advanced micro/i.test(controller.vendor)
      ? "AMD"
      : /intel/i.test(controller.vendor)
        ? "Intel"
        : controller.vendor;
  return gpu(controller.model, vendor, (controller.vram ?? 0) * MIB, controller.driverVersion);
}

function gpu(name: string, vendor: string, vramBytes: number, driver: string | undefined): Gpu {
  return {
    name: name.slice(0, MAX_TEXT),
    vendor: vendor.slice(0, MAX_TEXT),
    ...(vramBytes > 0 ? { vramBytes } : {}),
    ...(driver ? { driver: driver.slice(0, MAX_TEXT) } : {}),
  };
}

function parseJson(text: string): Record<string, Record<string, string>> {
  try {
    return JSON.parse(text) as Record<string, Record<string, string>>;
  } catch {
    return {};
  }
}

/** The standard output of a tool; empty when it is not there, fails, or takes too long. */
function queryTool(name: string, parameters: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve) => {
    const options = { env, timeout: TIME_LIMIT_MS, killSignal: "SIGKILL", windowsHide: true } as const;
    execFile(name, parameters, options, (error, stdout) => resolve(error ? "" : stdout));
  });
}

function timeBoxed<Value>(promise: Promise<Value>, fallback: Value): Promise<Value> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, TIME_LIMIT_MS, fallback);
    promise.then(resolve, () => resolve(fallback)).finally(() => clearTimeout(timer));
  });
}
