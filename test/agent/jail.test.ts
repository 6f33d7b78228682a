/** What a runner is kept from: looked at from inside of real runner processes. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { chmod, link, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { OnnxExecutor } from "../../agent/executors/onnx.ts";
import { checkOptions } from "../../agent/options.ts";
import { type Jail, type JailOptions, openJail } from "../../agent/runner/jail.ts";
import { crashError, type RunnerExit, type RunnerProcess, spawnRunner } from "../../agent/runner/process.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { until } from "../support/until.ts";

const MIB = 1024 ** 2;
const isLinux = process.platform === "linux";
const silent = createLogger("test", "silent");

describe("the jail of a runner", () => {
  let stateDir: string;
  let scriptsDir: string;
  let jail: Jail;
  let server: Server;
  let visitors = 0;
  const inmates: RunnerProcess[] = [];
  const options = (more: Partial<JailOptions> = {}): JailOptions => ({
    stateDir,
    modelsDir: join(stateDir, "models", "blobs"),
    env: {},
    maxMemoryBytes: 400 * MIB,
    suits: async () => true,
    log: silent,
    ...more,
  });

  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), "legacygpu-jail-"));
    // Not below the state folder, which the runners do not see.
    scriptsDir = await mkdtemp(join(tmpdir(), "legacygpu-jail-scripts-"));
    jail = await openJail(options());
    server = createServer((socket) => {
      visitors += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  after(async () => {
    server.close();
    for (const each of inmates) each.kill();
    await rm(stateDir, { recursive: true, force: true });
    await rm(scriptsDir, { recursive: true, force: true });
  });

  /** A runner in which `code` runs before all else; `say` tells us something. */
  async function runInside(code: string, inside: Jail): Promise<Inmate> {
    const script = join(scriptsDir, `inside-${Math.random()}.mjs`);
    const say = `const say = (fact) => console.log("SAID" + JSON.stringify(fact));\n`;
    await writeFile(script, say + code, { mode: 0o644 });
    const said: unknown[] = [];
    const log = createLogger("test", "debug", {
      write: (text) => {
        const { line } = JSON.parse(text) as { line?: string };
        if (line?.startsWith("SAID")) said.push(JSON.parse(line.slice(4)));
      },
    });
    let exit: RunnerExit | undefined;
    const runner = spawnRunner(
      { NODE_OPTIONS: `--import ${script}` },
      log,
      inside,
    )({
      onReport: () => {},
      onExit: (how) => {
        exit = how;
      },
    });
    inmates.push(runner);
    return {
      runner,
      said: () =>
        until("word from inside", () => {
          if (said.length === 0 && exit !== undefined) throw crashError(exit);
          return said[0];
        }),
      ended: () => until("its end", () => exit),
    };
  }
  const has = (measure: Jail["measures"][number]): boolean => jail.measures.includes(measure);

  test("it stands in an empty folder of its own, which nobody else may enter and which goes with it", async () => {
    const code = `import fs from "node:fs";
      const mode = fs.statSync(".").mode & 0o777;
      say({ cwd: process.cwd(), names: fs.readdirSync("."), mode });
      fs.writeFileSync("left-behind", "x");`;
    const { runner, said, ended } = await runInside(code, jail);
    const { cwd, names, mode } = (await said()) as { cwd: string; names: string[]; mode: number };
    assert.deepEqual([dirname(cwd), names, mode], [jail.folder, [], 0o700]);
    runner.kill();
    await ended();
    await until("the folder to go", () => !existsSync(cwd));
  });

  test("it starts all the same when the folder for folders is gone", async () => {
    await rm(jail.folder, { recursive: true });
    const { runner, said, ended } = await runInside("say(process.cwd());", jail);
    assert.equal(dirname((await said()) as string), jail.folder);
    runner.kill();
    await ended();
  });

  test("it reaches nobody over the network", async (context) => {
    if (!has("network")) return context.skip("no network namespaces on this platform");
    const { port } = server.address() as AddressInfo;
    const code = `import net from "node:net";
      const socket = net.connect(${port}, "127.0.0.1", () => say("connected"));
      socket.on("error", (error) => say(error.code));`;
    const free = await runInside(code, { ...jail, prefix: [] });
    assert.equal(await free.said(), "connected");
    await until("the visitor", () => visitors === 1);
    const jailed = await runInside(code, jail);
    assert.match((await jailed.said()) as string, /^E[A-Z]+$/);
    assert.equal(visitors, 1);
    for (const { runner, ended } of [free, jailed]) {
      runner.kill();
      await ended();
    }
  });

  test("it can change no model and become nothing more than it is", async (context) => {
    if (!has("models") || !has("privileges")) return context.skip("needs root that may mount");
    const path = join(stateDir, "models", "blobs", "m.onnx");
    await writeFile(path, "weights", { mode: 0o640 });
    const code = `import fs from "node:fs";
      const attempt = (what) => { try { what(); return "done"; } catch (error) { return error.code; } };
      const path = ${JSON.stringify(path)};
      say([
        fs.readFileSync(path, "utf8"),
        attempt(() => fs.writeFileSync(path, "others")),
        attempt(() => fs.rmSync(path)),
        /CapEff:\\s*(\\w+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1],
      ]);`;
    const { runner, said, ended } = await runInside(code, jail);
    assert.deepEqual(await said(), ["weights", "EROFS", "EROFS", "0".repeat(16)]);
    runner.kill();
    await ended();
  });

  /** Tried by every way that leads there: by name, from where the process stands, and through the agent's own process. */
  const READ_SECRETS = `import fs from "node:fs";
    const read = (path) => { try { return fs.readFileSync(path, "utf8"); } catch (error) { return error.code; } };
    const list = (path) => { try { return fs.readdirSync(path).sort(); } catch (error) { return error.code; } };
    const agent = "/proc/" + process.ppid;
    say({
      byName: read(STATE + "/identity.key"),
      fromBelow: read("../../identity.key"),
      throughAgent: read(agent + "/root" + STATE + "/identity.key"),
      environment: read(agent + "/environ").includes("PATH="),
      names: list(STATE),
      model: read(STATE + "/models/blobs/kept.onnx"),
    });`;

  test("it sees of the agent's files the models only, and not the agent's environment", async (context) => {
    if (!has("secrets")) return context.skip("no mounts of its own on this platform");
    await writeFile(join(stateDir, "identity.key"), "private", { mode: 0o600 });
    await mkdir(join(stateDir, "spool"), { recursive: true });
    await writeFile(join(stateDir, "models", "blobs", "kept.onnx"), "weights", { mode: 0o640 });
    const code = READ_SECRETS.replaceAll("STATE", JSON.stringify(stateDir));
    const free = await runInside(code, { ...jail, prefix: [] });
    const { names, ...seen } = (await free.said()) as { names: string[] };
    assert.ok(["identity.key", "models", "runners", "spool"].every((each) => names.includes(each)));
    assert.deepEqual(seen, {
      byName: "private",
      fromBelow: "private",
      throughAgent: "private",
      environment: true,
      model: "weights",
    });
    const jailed = await runInside(code, jail);
    assert.deepEqual(await jailed.said(), {
      byName: "ENOENT",
      fromBelow: "ENOENT",
      throughAgent: "EACCES",
      environment: false,
      names: ["models", "runners"],
      model: "weights",
    });
    for (const { runner, ended } of [free, jailed]) {
      runner.kill();
      await ended();
    }
  });

  test("it cannot take the cover off, not even as the root of namespaces of its own", async (context) => {
    if (!has("secrets")) return context.skip("no mounts of its own on this platform");
    await writeFile(join(stateDir, "identity.key"), "private", { mode: 0o600 });
    const code = `import { spawnSync } from "node:child_process";
      const state = ${JSON.stringify(stateDir)};
      const uncover = "grep CapEff /proc/self/status; umount " + state + "; umount -l " + state + "; mount --bind / /mnt; cat " +
        state + "/identity.key /mnt" + state + "/identity.key";
      const run = (command, args) => spawnSync(command, args, { encoding: "utf8" }).stdout;
      say([
        run("sh", ["-c", uncover]),
        run("unshare", ["--user", "--map-root-user", "--mount", "sh", "-c", uncover]),
      ]);`;
    const { runner, said, ended } = await runInside(code, jail);
    const [asItIs, asRoot] = (await said()) as [string, string | null];
    assert.match(asItIs, /^CapEff:\s*0{16}\n$/);
    // Where it may have such namespaces, it has every right in them.
    assert.match(asRoot ?? "", /^(CapEff:\s*0*[1-9a-f][0-9a-f]*\n)?$/);
    runner.kill();
    await ended();
  });

  test("a state folder that is reached over a symbolic link is covered like any other", async (context) => {
    if (!has("secrets")) return context.skip("no mounts of its own on this platform");
    const home = await mkdtemp(join(tmpdir(), "legacygpu-linked-"));
    await mkdir(join(home, "disk"));
    await symlink(join(home, "disk"), join(home, "state"));
    const linked = join(home, "state");
    const inside = await openJail(options({ stateDir: linked, modelsDir: join(linked, "models", "blobs") }));
    await writeFile(join(linked, "identity.key"), "private", { mode: 0o600 });
    await writeFile(join(linked, "models", "blobs", "kept.onnx"), "weights", { mode: 0o640 });
    const code = READ_SECRETS.replaceAll("STATE", JSON.stringify(linked));
    const { runner, said, ended } = await runInside(code, inside);
    const { byName, fromBelow, model } = (await said()) as Record<string, string>;
    assert.deepEqual([byName, fromBelow, model], ["ENOENT", "ENOENT", "weights"]);
    runner.kill();
    await ended();
    await rm(home, { recursive: true });
  });

  test("it is stopped when it takes more memory than it may, and the kernel would take it first", {
    skip: !isLinux && "nobody watches memory here",
  }, async () => {
    // In steps, as a model fills a tensor; nothing in it ever waits.
    const code = `say("begun"); const held = [];
      setInterval(() => held.push(Buffer.alloc(20 * 1024 * 1024, 1)), 10);`;
    const { runner, said, ended } = await runInside(code, jail);
    await said();
    const adjustment = `/proc/${runner.pid}/oom_score_adj`;
    assert.equal(readFileSync(adjustment, "utf8").trim(), "1000");
    const error = crashError(await ended());
    assert.equal(error.code, "out_of_memory");
    assert.equal(error.details.limitBytes, 400 * MIB);
    assert.ok(Number(error.details.usedBytes) > 400 * MIB);
  });

  test("what cannot be had is left out, and what can is kept", {
    skip: !isLinux && "the tools of Linux are what it measures with",
  }, async () => {
    const none = await openJail(options({ toolFolders: [] }));
    assert.deepEqual([none.measures, none.prefix], [["cwd", "memory"], []]);
    const tools = join(stateDir, "tools");
    await mkdir(tools);
    await writeFile(join(tools, "unshare"), "#!/bin/sh\nexit 1\n");
    await chmod(join(tools, "unshare"), 0o755);
    if (existsSync("/usr/bin/setpriv")) await symlink("/usr/bin/setpriv", join(tools, "setpriv"));
    const some = await openJail(options({ toolFolders: [tools] }));
    const expected = has("privileges") ? ["cwd", "memory", "privileges"] : ["cwd", "memory"];
    assert.deepEqual(some.measures, expected);
    // It says "done" and has done nothing.
    await writeFile(
      join(tools, "unshare"),
      '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n',
    );
    assert.deepEqual((await openJail(options({ toolFolders: [tools] }))).measures, expected);
    assert.deepEqual(
      await readdir(join(stateDir, "models", "blobs")).then((names) => names.includes("trial")),
      false,
    );
  });

  test("a measure that keeps the engine from its devices is left out", async () => {
    const suits = async (prefix: readonly string[]) => !prefix.includes("--net");
    const { measures, prefix } = await openJail(options({ suits }));
    assert.deepEqual(
      measures,
      jail.measures.filter((each) => each !== "network"),
    );
    assert.equal(prefix.includes("--net"), false);
  });

  test("a user that there is not is refused; one that there is runs it", async (context) => {
    await assert.rejects(openJail(options({ user: "no-such-user" })), { code: "config_invalid" });
    if (process.getuid?.() !== 0) return context.skip("only root can give a process to another user");
    const directory = await mkdtemp(join(tmpdir(), "legacygpu-user-"));
    const modelsDir = join(directory, "models", "blobs");
    const others = await openJail(options({ stateDir: directory, modelsDir, user: "nobody" })).catch(
      () => undefined,
    );
    if (others === undefined) {
      await rm(directory, { recursive: true });
      return context.skip("`nobody` cannot be had here");
    }
    assert.ok(others.measures.includes("user"));
    const secret = join(directory, "secret");
    await writeFile(secret, "x", { mode: 0o600 });
    await writeFile(join(modelsDir, "late.onnx"), "weights", { mode: 0o640 });
    const script = `const fs = require("node:fs");
      const attempt = (path) => { try { return fs.readFileSync(path, "utf8"); } catch (error) { return error.code; } };
      console.log(JSON.stringify(process.argv.slice(1).map(attempt)));`;
    const [command = "", ...rest] = [...others.prefix, process.execPath, "-e", script];
    const { execFileSync } = await import("node:child_process");
    const output = execFileSync(command, [...rest, secret, join(modelsDir, "late.onnx")], {
      env: {},
      cwd: "/",
    });
    const [aboutSecret, aboutModel] = JSON.parse(output.toString());
    assert.match(aboutSecret, /^E(ACCES|NOENT)$/);
    assert.equal(aboutModel, "weights");
    await rm(directory, { recursive: true });
  });

  test("a model is loaded only from a file that has one name and is no link", async () => {
    const directory = await mkdtemp(join(stateDir, "linked-"));
    const path = join(directory, "m.onnx");
    await writeFile(path, buildIdentity());
    const load = (name: string) =>
      new OnnxExecutor().load(join(directory, name), { provider: "cpu", threads: 1 });
    await (await load("m.onnx")).release();
    await symlink(path, join(directory, "symbolic.onnx"));
    await assert.rejects(load("symbolic.onnx"), { code: "model_load_failed" });
    await link(path, join(directory, "second.onnx"));
    for (const name of ["second.onnx", "m.onnx", "nowhere.onnx"])
      await assert.rejects(load(name), { code: "model_load_failed" });
  });

  test("a limit that no engine could work under is refused", () => {
    const given = {
      url: "wss://h",
      key: "k",
      stateDir: "/s",
      site: "s",
      log: silent,
      clock: null,
      random: null,
    };
    const check = (maxRunnerMemoryBytes: number) => () =>
      checkOptions({ ...given, maxRunnerMemoryBytes } as never);
    for (const bytes of [0, 255 * MIB, 1.5e9 + 0.5, Number.NaN])
      assert.throws(check(bytes), { code: "config_invalid" }, `${bytes}`);
    assert.equal(check(256 * MIB)().maxRunnerMemoryBytes, 256 * MIB);
  });
});

interface Inmate {
  readonly runner: RunnerProcess;
  said(): Promise<unknown>;
  ended(): Promise<RunnerExit>;
}
