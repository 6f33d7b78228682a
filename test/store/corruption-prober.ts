/**
 * Damages copies of a sound store at random places, opens each, and prints what became of it, one JSON line each. In a process of its own: damage
 * that is not found before LMDB meets it ends the process.
 */

import { copyFileSync, writeSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { LegacyGpuError } from "@legacygpu/shared/errors";
import { inspect } from "../../gateway/store/inspection.ts";
import type { LmdbTaskStore } from "../../gateway/store/lmdb-task-store.ts";
import { cutOff, flipInHeaders, flipInStructure, flipRandomBit, type Harm } from "./damage.ts";
import { LmdbRig } from "./lmdb-rig.ts";
import { endTask, sampleTask } from "./sample-tasks.ts";
import { seededRandom } from "./seeded-random.ts";
import { contentsOf, fillStore } from "./store-contents.ts";

const SCALE = 6;
const LIMITS = { maxFinished: 100_000 };

const [, , soundPath = "", seedText = "", roundsText = ""] = process.argv;
const random = seededRandom(Number(seedText));

export interface Probe {
  readonly damage: string;
  /** `sound`: everything is there and right; else the code of the error that named the damage, or what is wrong. */
  readonly outcome: string;
  readonly message?: string;
}

async function probe(harm: Harm, expected: unknown): Promise<Probe> {
  const rig = new LmdbRig();
  copyFileSync(soundPath, rig.path);
  const damage = harm(rig.path, random);
  try {
    // What a person would do next must survive it too.
    inspect(rig.path);
    const store = await rig.open(LIMITS);
    if (!isDeepStrictEqual(await contentsOf(store), expected)) return { damage, outcome: "silently wrong" };
    await use(store);
    await rig.reopen(LIMITS);
    return { damage, outcome: "sound" };
  } catch (error) {
    const { code, message, stack } = error as LegacyGpuError;
    return { damage, outcome: String(code), message: code === undefined ? (stack ?? "") : message };
  } finally {
    await rig.close();
  }
}

/** Writes into all tables, so that LMDB changes and frees pages. */
async function use(store: LmdbTaskStore): Promise<void> {
  await fillStore(store, 1);
  const tasks = Array.from({ length: 40 }, () => sampleTask());
  await store.insert(tasks);
  await Promise.all(tasks.map((task) => store.finish(endTask(task, "FAILED"))));
  await store.removeData(
    [...(await store.list({ isDeadLetter: true, limit: 999 }, () => undefined))].map(({ id }) => id),
    0,
  );
}

const rig = new LmdbRig();
await fillStore(await rig.open(LIMITS), SCALE);
await rig.closeStore();
copyFileSync(rig.path, soundPath);
const expected = await contentsOf(await rig.open(LIMITS));
await rig.close();
for (let round = 0; round < Number(roundsText); round += 1)
  for (const harm of [flipRandomBit, flipInStructure, flipInHeaders, cutOff])
    writeSync(1, `${JSON.stringify(await probe(harm, expected))}\n`);
