/** The command line as a process of its own, in a home of its own: what a user starts, and what a test can kill. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GatewayRig } from "./gateway-rig.ts";

const CLI = join(import.meta.dirname, "../../client/cli/main.ts");

export class CliProcess {
  readonly home: string;
  readonly #child: ChildProcess;
  readonly #ownsHome: boolean;
  stdout = "";
  stderr = "";

  private constructor(child: ChildProcess, home: string, ownsHome: boolean) {
    this.#child = child;
    this.home = home;
    this.#ownsHome = ownsHome;
    child.stdout?.on("data", (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
  }

  /** @param home an existing one, shared with other processes; absent: a new one, removed by {@link stop}. */
  static async start(args: readonly string[], home?: string): Promise<CliProcess> {
    const folder = home ?? (await mkdtemp(join(tmpdir(), "legacygpu-cli-")));
    const child = spawn(process.execPath, ["--conditions=source", "--import", "tsx", CLI, ...args], {
      env: { PATH: process.env.PATH, LEGACYGPU_HOME: folder, LEGACYGPU_LOG_LEVEL: "warn" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    return new CliProcess(child, folder, home === undefined);
  }

  /** A worker process for a gateway of a test. */
  static async worker(rig: GatewayRig, workerId: string, home?: string): Promise<CliProcess> {
    const key = await rig.key("worker");
    const { caFile = "" } = rig.gateway;
    const address = ["--coordinator", rig.wssUrl, "--ca", caFile, "--key", key];
    return CliProcess.start(["worker", "start", ...address, "--worker-id", workerId, "--site", "lab"], home);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    if (this.isRunning) await once(this.#child, "close");
    return { code: this.#child.exitCode, signal: this.#child.signalCode };
  }

  /** Kills what still runs and removes the home if it is ours. */
  async stop(): Promise<void> {
    if (this.isRunning) this.signal("SIGKILL");
    await this.exited();
    if (this.#ownsHome) await rm(this.home, { recursive: true, force: true });
  }
}
