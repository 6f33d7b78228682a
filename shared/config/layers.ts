/** Reads one layer of configuration: a YAML file, the environment, or flags. Each error says where it is. */

import { type Document, isCollection, isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { fail } from "../errors.ts";
import { type SettingProblem, settingProblem } from "./issues.ts";
import { nearest } from "./nearest.ts";
import { CONFIG_KEYS, CONFIG_PLACES, type GivenConfig, givenConfigSchema } from "./schema.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** @throws `config_invalid` with file, line and column. */
export function readYaml(source: string, file: string): GivenConfig {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors[0];
  if (broken !== undefined) throw invalid(broken.message, file, lines.linePos(broken.pos[0]));
  const parsed = givenConfigSchema.safeParse(withoutEmptySections(resolved(document, file) ?? {}));
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  if (first === undefined) throw parsed.error;
  const problem = settingProblem(first);
  throw invalid(problem.message, file, lines.linePos(offsetOf(document.contents, problem)));
}

/** Aliases are only followed here: one without an anchor, or too many that multiply, is noticed only now. @throws `config_invalid` */
function resolved(document: Document, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw fail("config_invalid", `${file}: ${(error as Error).message}`, { file }, error);
  }
}

/** `api:` with nothing under it, or with every line commented out, is a section without settings. */
function withoutEmptySections(document: unknown): unknown {
  if (typeof document !== "object" || document === null || Array.isArray(document)) return document;
  return Object.fromEntries(
    Object.entries(document).map(([key, value]) => [key, value === null && key in CONFIG_KEYS ? {} : value]),
  );
}

/** Where the key at `path` begins, or its value when that is what is wrong and it is on a line of its own. */
function offsetOf(root: unknown, { path, isAboutKey }: SettingProblem): number {
  let node = root;
  let offset = startOf(root);
  for (const name of path) {
    const pair = isMap(node)
      ? node.items.find(({ key }) => isScalar(key) && String(key.value) === name)
      : undefined;
    if (pair === undefined) break;
    offset = startOf(pair.key);
    node = pair.value;
  }
  return isScalar(node) && !isAboutKey ? startOf(node) : offset;
}

function startOf(node: unknown): number {
  return isScalar(node) || isCollection(node) ? (node.range?.[0] ?? 0) : 0;
}

function invalid(message: string, file: string, { line, col }: { line: number; col: number }): Error {
  return fail("config_invalid", `${file}:${line}:${col}: ${message}`, { file, line, column: col });
}

const LOG_LEVEL_ALIASES = ["LEGACYGPU_LOG_LEVEL", "LOG_LEVEL"];

/**
 * `LEGACYGPU_API_PORT` is `api.port`; `LOG_LEVEL` stands for `LEGACYGPU_LOG_LEVEL`.
 *
 * @throws `config_invalid` naming the variable; also for one that begins like a section and ends like no key.
 */
export function readEnvironment(env: Env): GivenConfig {
  const settings: Settings = {};
  const known = knownVariables();
  for (const [variable, value] of Object.entries(env)) {
    if (value === undefined || value === "") continue;
    const place = known.get(variable);
    if (place !== undefined) put(settings, place, value);
    else if (isMisspelt(variable)) throw unknownVariable(variable, [...known.keys()]);
  }
  const level = LOG_LEVEL_ALIASES.map((name) => env[name]).find((value) => value);
  if (level !== undefined) put(settings, ["log", "level"], level.toLowerCase());
  return parseSettings(settings, (path) => variableOf(path, env));
}

interface Settings {
  [name: string]: Settings | string;
}

function put(settings: Settings, [name = "", ...rest]: readonly string[], value: string): void {
  if (rest.length === 0) {
    settings[name] = value;
    return;
  }
  const inner = settings[name];
  const section = typeof inner === "object" ? inner : {};
  settings[name] = section;
  put(section, rest, value);
}

/** @throws `config_invalid` naming the flag. */
export function readFlags(flags: GivenFlags): GivenConfig {
  const settings = Object.fromEntries(
    Object.entries(flags).map(([section, keys]) => [section, withoutUndefined(keys)]),
  );
  return parseSettings(settings, (path) => `--${(path[1] ?? "").replaceAll("_", "-")}`);
}

/** Section → key → text, as the command line gave it. */
export type GivenFlags = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

function withoutUndefined(keys: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== undefined));
}

function parseSettings(settings: unknown, sourceOf: (path: readonly string[]) => string): GivenConfig {
  const parsed = givenConfigSchema.safeParse(settings);
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  if (first === undefined) throw parsed.error;
  const { path, message } = settingProblem(first);
  const source = sourceOf(path);
  throw fail("config_invalid", `${source}: ${message.replace(/^[a-z_.]+: /, "")}`, { source });
}

function knownVariables(): Map<string, readonly string[]> {
  return new Map(CONFIG_PLACES.map((place) => [variableAt(place), place]));
}

function variableAt(place: readonly string[]): string {
  return `LEGACYGPU_${place.join("_")}`.toUpperCase();
}

function isMisspelt(variable: string): boolean {
  return Object.keys(CONFIG_KEYS).some((section) =>
    variable.startsWith(`LEGACYGPU_${section.toUpperCase()}_`),
  );
}

function unknownVariable(variable: string, known: readonly string[]): Error {
  const meant = nearest(variable, known);
  const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
  return fail("config_invalid", `The environment variable ${variable} is unknown${hint}`, {
    source: variable,
  });
}

function variableOf(place: readonly string[], env: Env): string {
  const variable = variableAt(place);
  return variable === "LEGACYGPU_LOG_LEVEL" && !env[variable] ? "LOG_LEVEL" : variable;
}
