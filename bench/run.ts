/** The frame of every bench: its options, its folder and processes, both gone at the end whatever happens, and its report. */

import { randomInt } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Child, type ChildOptions } from "./child.ts";
import { type Findings, makeReport, reportLine, reportText } from "./report.ts";

export interface Bench {
  /** Same keys, but done in less than 50 seconds. */
  readonly isShort: boolean;
  /** Empty, and removed at the end unless `--keep` is given: to look at what went wrong. */
  readonly folder: string;
  /** Where CPU profiles of the processes under test go; absent: none are made. */
  readonly profileDir: string | undefined;
  /** Of everything random; `--seed` gives it back. */
  readonly seed: number;
  /** As they were given, with those of the bench's own. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  start(entry: string, name?: string): Child;
  /** For one that needs more than that. */
  startWith(options: ChildOptions): Child;
  /** For a process under test, which is profiled on demand. */
  startProfiled(entry: string, name: string): Child;
  /** For the person who waits. */
  say(text: string): void;
}

export type OwnOptions = Readonly<Record<string, { readonly type: "string" | "boolean" }>>;

/** Runs `measure` as the bench `name` and reports. The process's exit code tells whether it got to the end and found every promise kept. */
export async function runBench(
  name: string,
  measure: (bench: Bench) => Promise<Findings>,
  ownOptions: OwnOptions = {},
): Promise<void> {
  const { values } = parseArgs({
    options: {
      short: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      profile: { type: "string" },
      seed: { type: "string" },
      keep: { type: "boolean", default: false },
      ...ownOptions,
    },
  });
  const profileDir = values.profile === undefined ? undefined : resolve(values.profile);
  if (profileDir !== undefined) await mkdir(profileDir, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), `legacygpu-bench-${name}-`));
  const children: Child[] = [];
  const start = (child: Child): Child => {
    children.push(child);
    return child;
  };
  const bench: Bench = {
    isShort: values.short,
    folder,
    profileDir,
    seed: values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed),
    options: values,
    start: (entry, childName = entry) => start(new Child({ entry, name: childName })),
    startWith: (options) => start(new Child(options)),
    startProfiled: (entry, childName) => start(new Child({ entry, name: childName, profileDir })),
    say: (text) => console.error(text),
  };
  let isInterrupted = false;
  // What waits for one of them fails, and so the bench comes to its end.
  const interrupt = (): void => {
    isInterrupted = true;
    process.exitCode = 130;
    for (const child of children) child.kill();
  };
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const startedAt = performance.now();
  try {
    const findings = await measure(bench);
    const report = makeReport(name, findings);
    bench.say(`done in ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`);
    console.log(reportText(report));
    for (const broken of findings.broken ?? []) bench.say(`BROKEN: ${broken}`);
    if (findings.broken !== undefined && findings.broken.length > 0) process.exitCode = 1;
    if (values.json) console.log(reportLine(report));
  } catch (error) {
    if (!isInterrupted) throw error;
  } finally {
    // Backwards: an agent whose gateway has gone would say so.
    for (const child of children.toReversed()) await child.close();
    // A runner that was just killed may still be writing its last.
    if (values.keep) bench.say(`kept: ${folder}`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
