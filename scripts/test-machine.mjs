// What some tests need of the machine beside Node.js: Debian packages, installed where that can be done without asking.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** By the part of a test's path that tells who needs it. What cannot be had is not an error: those tests say that they are skipped. */
const NEEDS = [
  {
    tests: "webgpu",
    // SwiftShader, a GPU in software, and the loader that finds it.
    packages: ["chromium-common", "libvulkan1"],
    files: ["/usr/lib/chromium/vk_swiftshader_icd.json", "/usr/lib/x86_64-linux-gnu/libvulkan.so.1"],
  },
];

/** @param testFiles paths of the tests that are about to run. */
export function installForTests(testFiles) {
  const isDebian = process.platform === "linux" && process.arch === "x64" && existsSync("/usr/bin/apt-get");
  if (!isDebian || process.getuid() !== 0) return;
  const wanted = NEEDS.filter(({ tests }) => testFiles.some((path) => path.includes(tests)));
  const packages = wanted.filter(({ files }) => !files.every(existsSync)).flatMap((need) => need.packages);
  if (packages.length === 0) return;
  console.error(`Installing ${packages.join(" ")} for the tests …`);
  const isDone = apt("update") && apt("install", "--yes", "--no-install-recommends", ...packages);
  if (!isDone) console.error("That failed; the tests that need them are skipped.");
}

function apt(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status, stderr } = spawnSync("apt-get", ["--quiet", ...args], {
    env,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    timeout: 300_000,
  });
  if (status !== 0) console.error(`apt-get ${args[0]}: ${stderr?.trim().slice(-500) ?? "cannot be run"}`);
  return status === 0;
}
