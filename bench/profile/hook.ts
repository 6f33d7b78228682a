/**
 * Loaded with `--import` before a process under test: writes a CPU profile of the time during which a file named `go` exists.
 *
 * A file, since the runner process can be reached in no other way; the query of this module's address says where.
 */

import { existsSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const POLL_MS = 50;
const INTERVAL_US = 200;

const { searchParams } = new URL(import.meta.url);
const dir = fileURLToPath(searchParams.get("dir") ?? "");
const name = searchParams.get("name") ?? "process";
const go = join(dir, "go");
const session = new Session();
let state: "waiting" | "recording" | "busy" | "done" = "waiting";

setInterval(() => {
  if (state === "waiting" && existsSync(go)) void begin();
  else if (state === "recording" && !existsSync(go)) void end();
}, POLL_MS).unref();

async function begin(): Promise<void> {
  state = "busy";
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: INTERVAL_US });
  await session.post("Profiler.start");
  state = "recording";
}

async function end(): Promise<void> {
  state = "busy";
  const { profile } = await session.post("Profiler.stop");
  const role = process.argv[1]?.includes("/runner/") ? "runner" : "main";
  writeFileSync(join(dir, `${name}.${role}.${process.pid}.cpuprofile`), JSON.stringify(profile));
  session.disconnect();
  state = "done";
}
