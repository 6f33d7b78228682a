/** What a bench says at its end: a table for people, and one line of JSON for programs. */

import { execFileSync } from "node:child_process";
import { arch, cpus, platform, release, totalmem } from "node:os";
import type { Spread } from "./rounds.ts";

/** Named numbers, in groups where a bench has many. */
export interface Numbers {
  readonly [name: string]: number | Numbers;
}

/** What a bench has found. */
export interface Findings {
  /** Without dimension, measured side by side in one run. A group has the names of its ratios joined by dots in the report's spread. */
  readonly ratios: Ratios;
  /** Things that happened. */
  readonly counts?: Numbers;
  /** Absolute, true for this machine at this hour: for reading only. */
  readonly figures?: Numbers;
  /** Promises that were not kept, a sentence each: the bench then ends with an error. */
  readonly broken?: readonly string[];
}
export interface Ratios {
  readonly [name: string]: Spread | Ratios;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryMb: number;
  readonly platform: string;
  readonly node: string;
}

export interface Report {
  readonly bench: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly ratios: {
    readonly spread: Readonly<Record<string, Spread>>;
    readonly [name: string]: number | Numbers | Readonly<Record<string, Spread>>;
  };
  readonly counts: Numbers;
  readonly figures: Numbers;
}

export function makeReport(
  bench: string,
  findings: Findings,
  machine: Machine = thisMachine(),
  commit: string = presentCommit(),
): Report {
  const { ratios, counts = {}, figures = {} } = findings;
  const spread: Record<string, Spread> = {};
  const medians = mediansOf(ratios, "", spread);
  return { bench, commit, machine, ratios: { ...medians, spread }, counts, figures };
}

/** Fills `spread` on the way. */
function mediansOf(
  ratios: Ratios,
  prefix: string,
  spread: Record<string, Spread>,
): Record<string, Numbers | number> {
  const medians: Record<string, Numbers | number> = {};
  for (const [name, value] of Object.entries(ratios)) {
    const path = prefix + name;
    if (isSpread(value)) {
      spread[path] = [rounded(value[0]), rounded(value[1]), rounded(value[2])];
      medians[name] = rounded(value[1]);
    } else {
      medians[name] = mediansOf(value, `${path}.`, spread);
    }
  }
  return medians;
}

function isSpread(value: Spread | Ratios): value is Spread {
  return Array.isArray(value);
}

/** For the last line of standard output. */
export function reportLine(report: Report): string {
  return JSON.stringify(report, (_name, value: unknown) =>
    typeof value === "number" ? rounded(value) : value,
  );
}

/** Four digits are more than any of this can be trusted for; whole numbers stay whole. */
function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(4));
}

/** The report for people. */
export function reportText({ bench, commit, machine, ratios, counts, figures }: Report): string {
  const { spread } = ratios;
  const ratioRows = Object.entries(spread).map(([name, [least, middle, most]]) => [
    name,
    shown(middle),
    `${shown(least)} … ${shown(most)}`,
  ]);
  const sections = [
    `${bench} at ${commit}, ${machine.cores} × ${machine.cpu}, Node ${machine.node}`,
    section(["ratio", "median", "rounds"], ratioRows),
    section(["count", ""], flat(counts)),
    section(["figure", ""], flat(figures)),
  ];
  return sections.filter((text) => text !== "").join("\n\n");
}

function flat(numbers: Numbers, prefix = ""): string[][] {
  return Object.entries(numbers).flatMap(([name, value]) =>
    typeof value === "number" ? [[prefix + name, shown(value)]] : flat(value, `${prefix}${name}.`),
  );
}

function shown(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString("en") : String(rounded(value));
}

function section(head: readonly string[], rows: readonly string[][]): string {
  return rows.length === 0 ? "" : table(head, rows);
}

/** Columns in step: the first to the left, numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const written = lines.map((line) =>
    widths
      .map((width, column) =>
        column === 0 ? (line[column] ?? "").padEnd(width) : (line[column] ?? "").padStart(width),
      )
      .join("  ")
      .trimEnd(),
  );
  const rule = widths.map((width) => "─".repeat(width)).join("  ");
  return [written[0], rule, ...written.slice(1)].join("\n");
}

export function thisMachine(): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryMb: Math.round(totalmem() / 1024 ** 2),
    platform: `${platform()} ${arch()} ${release()}`,
    node: process.versions.node,
  };
}

/** With a `+` when files differ from it; `unknown` outside a repository. */
export function presentCommit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: import.meta.dirname, stdio: ["ignore", "pipe", "ignore"] }).toString();
    const isChanged = git("status", "--porcelain").trim() !== "";
    return git("rev-parse", "--short", "HEAD").trim() + (isChanged ? "+" : "");
  } catch {
    return "unknown";
  }
}
