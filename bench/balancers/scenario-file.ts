/** Scenarios from a module outside: it exports `SCENARIOS`, by name. */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import type { Scenario, WorldSpec } from "./scenario.ts";

const functionOf = <Function>() => z.custom<Function>((value) => typeof value === "function");
const number = z.number();

const worldSchema = z.looseObject({
  sites: z
    .array(
      z.looseObject({
        rtt: z.union([number.nonnegative(), functionOf<(atMs: number) => number>()]),
        jitter: number.nonnegative().optional(),
        spikeP: number.min(0).max(1).optional(),
        spikeMs: number.nonnegative().optional(),
      }),
    )
    .min(1),
  models: z
    .array(
      z.looseObject({
        S: number.positive(),
        sigma: number.nonnegative().optional(),
        share: number.nonnegative(),
        loadMs: number.nonnegative().optional(),
      }),
    )
    .min(1),
  workers: z
    .array(
      z.looseObject({
        site: number.int().nonnegative(),
        slots: number.int().positive().optional(),
        speed: number.positive().optional(),
        joinAt: number.optional(),
        batchMax: number.int().positive().optional(),
        cap: number.int().positive().optional(),
        resident: z.array(number.int().nonnegative()).optional(),
      }),
    )
    .min(1),
  script: z
    .array(
      z.looseObject({
        at: number.nonnegative(),
        do: z.enum(["slow", "gray", "errp", "ok", "hole", "die", "rejoin"]),
        x: number.optional(),
        workers: z.array(number.int().nonnegative()),
      }),
    )
    .nullish(),
});

const moduleSchema = z.object({
  SCENARIOS: z.record(
    z.string(),
    z.looseObject({
      txt: z.string().default(""),
      rho: number.positive(),
      make: functionOf<Scenario["make"]>(),
      change: number.min(0).max(1).optional(),
      change2: number.min(0).max(1).optional(),
      warm: number.min(0).max(1).optional(),
    }),
  ),
});

/** @throws what is wrong with the file, with the place in it. */
export async function readScenarios(file: string): Promise<Readonly<Record<string, Scenario>>> {
  const imported: unknown = await import(pathToFileURL(resolve(file)).href);
  const { SCENARIOS } = moduleSchema.parse(imported);
  return Object.fromEntries(
    Object.entries(SCENARIOS).map(([name, scenario]) => [
      name,
      { ...scenario, make: checked(scenario.make) },
    ]),
  ) as Record<string, Scenario>;
}

function checked(make: Scenario["make"]): Scenario["make"] {
  return (durationMs) => {
    const made: unknown = make(durationMs);
    return withoutNulls(worldSchema.parse(made)) as unknown as WorldSpec;
  };
}

/** `null` is often written for what is not there. */
function withoutNulls(world: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(world).filter(([, value]) => value !== null));
}
