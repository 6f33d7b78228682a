/** Where SwiftShader lies, a GPU in software that WebGPU accepts. `npm test` installs it on Debian. */

import { existsSync } from "node:fs";

const DRIVER = "/usr/lib/chromium/vk_swiftshader_icd.json";
const LOADERS = [
  "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
  "/usr/lib/libvulkan.so.1",
  "/usr/lib64/libvulkan.so.1",
];

/** What a process must have in its environment to compute on it; a text says why that cannot be had here. */
export function swiftshader(): Record<string, string> | string {
  if (process.platform !== "linux" || process.arch !== "x64") return "WebGPU is tested on Linux x64 only";
  if (!existsSync(DRIVER)) return `there is no SwiftShader (${DRIVER}); Debian's chromium-common has it`;
  if (!LOADERS.some((path) => existsSync(path)))
    return "there is no Vulkan loader; Debian's libvulkan1 has it";
  return { VK_DRIVER_FILES: DRIVER, VK_ICD_FILENAMES: DRIVER };
}
