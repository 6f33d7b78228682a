/** Says in a sentence what is wrong with a setting. */

import type { z } from "zod";
import { nearest } from "./nearest.ts";
import { CONFIG_PLACES } from "./schema.ts";

export interface SettingProblem {
  /** Where in the document; ends with the unknown key when there is one. */
  readonly path: readonly string[];
  readonly message: string;
  /** Whether the key itself is wrong, not its value. */
  readonly isAboutKey: boolean;
}

/** Keys of the original guide that this version does not act on: silence about them would be worse than an error. */
const NOT_YET: ReadonlySet<string> = new Set(["worker.heartbeat_interval"]);

export function settingProblem(issue: z.core.$ZodIssue): SettingProblem {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") return unknownKey(path, issue.keys[0] ?? "");
  const name = path.join(".") || "the document";
  if (issue.code === "invalid_type" && issue.expected === "object") {
    const message = `${name}: expected a mapping with ${keysUnder(path).join(", ")}`;
    return { path, isAboutKey: true, message };
  }
  return { path, isAboutKey: false, message: `${name}: ${issue.message}` };
}

function unknownKey(parent: readonly string[], key: string): SettingProblem {
  const path = [...parent, key];
  const name = path.join(".");
  const what = NOT_YET.has(name)
    ? "is not supported by this version: remove it"
    : `is unknown${suggestion(parent, key)}`;
  return { path, isAboutKey: true, message: `${name} ${what}` };
}

function suggestion(parent: readonly string[], key: string): string {
  const siblings = keysUnder(parent);
  const meant = nearest(key, siblings);
  if (meant !== undefined) return `: did you mean ${[...parent, meant].join(".")}?`;
  const elsewhere = CONFIG_PLACES.find((place) => place.at(-1) === key);
  if (elsewhere !== undefined) return `: did you mean ${elsewhere.join(".")}?`;
  return `; there are ${siblings.join(", ")}`;
}

/** What a mapping at this path may hold. */
function keysUnder(path: readonly string[]): string[] {
  const below = CONFIG_PLACES.filter((place) => path.every((name, depth) => place[depth] === name));
  return [...new Set(below.flatMap((place) => place[path.length] ?? []))];
}
