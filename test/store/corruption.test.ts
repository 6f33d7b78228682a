import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Probe } from "./corruption-prober.ts";

/** Each damages four copies of a store. */
const ROUNDS = 25;
const PROBER = join(import.meta.dirname, "corruption-prober.ts");
/** Names for damage; a page can also be such that the store seems to be of a version to come. */
const NAMED: ReadonlySet<string> = new Set(["store_corrupt", "store_too_new"]);

test("a flipped bit or a lost end is harmless or named, never silent, and never ends the process", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const folder = mkdtempSync(join(tmpdir(), "legacygpu-corruption-"));
  const args = ["--conditions=source", "--import", "tsx", PROBER, join(folder, "sound.mdb")];
  const child = spawnSync(process.execPath, [...args, `${seed}`, `${ROUNDS}`], { encoding: "utf8" });
  rmSync(folder, { recursive: true });
  const probes = child.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Probe);
  const where = `seed ${seed}, after ${probes.length} probes\n${child.stderr}`;
  assert.equal(child.signal ?? child.status, 0, `the process ended: ${where}`);
  assert.equal(probes.length, ROUNDS * 4, where);
  for (const { damage, outcome, message } of probes)
    assert.ok(outcome === "sound" || NAMED.has(outcome), `${damage}: ${outcome} ${message}; ${where}`);
  const sound = probes.filter(({ outcome }) => outcome === "sound").length;
  assert.ok(sound > 0 && sound < probes.length, `${sound} of ${probes.length} were harmless; ${where}`);
});
