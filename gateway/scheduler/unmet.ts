/** What keeps every connected worker from running a task, in a sentence for a person: the requirement that nobody meets, and what there is instead. */

import type { WireError } from "@legacygpu/shared/errors";
import type { Requirements as ModelNeeds } from "@legacygpu/shared/manifest";
import type { Gpu } from "@legacygpu/shared/protocol/messages";
import { familyOf, vramBytesOf } from "../balancers/known-cards.ts";
import type { Worker } from "../registry/worker.ts";
import { modelKey, type Requirements } from "../tasks/record.ts";
import { hasLabel, hasVram, isAble, isOfFamily, isUsable, REGION_LABEL } from "./able.ts";

/** More would not be read. */
const MAX_NAMED = 5;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

export interface Unmet {
  /** For programs. `worker`: nobody is there; `model`: it could not be loaded lately. */
  readonly requirement:
    | "worker"
    | "site"
    | "residency"
    | "label"
    | "provider"
    | "family"
    | "min_vram"
    | "model";
  readonly reason: string;
}

export interface Seekers {
  readonly workers: readonly Worker[];
  readonly requirements: Requirements;
  /** Of the model's manifest. */
  readonly needs?: ModelNeeds | undefined;
  readonly nowMs: number;
}

/** One thing that is asked of a worker. */
interface Demand {
  readonly requirement: Unmet["requirement"];
  /** `site berlin` */
  readonly subject: string;
  /** `is at site berlin` */
  readonly wish: string;
  isMet(worker: Worker): boolean;
  /** What these have instead: `they are at lab`. */
  instead(workers: readonly Worker[]): string;
}

/** @returns undefined when some worker can run it, busy or not. @param lastError of an earlier attempt */
export function unmetRequirement(seekers: Seekers, lastError?: WireError): Unmet | undefined {
  const { workers, requirements, nowMs } = seekers;
  if (workers.some((worker) => isAble(worker, requirements, nowMs))) return undefined;
  const usable = workers.filter(isUsable);
  if (usable.length === 0) return nobodyThere(workers);
  const demands = demandsOf(seekers);
  const hopeless = demands.find((demand) => !usable.some((worker) => demand.isMet(worker)));
  if (hopeless !== undefined) {
    const reason = `No connected worker ${hopeless.wish}; ${hopeless.instead(usable)}.`;
    return { requirement: hopeless.requirement, reason };
  }
  return unmetTogether(demands, usable) ?? cannotLoad(requirements, lastError);
}

/** Each demand is met by somebody, but not all of them by one. */
function unmetTogether(demands: readonly Demand[], usable: readonly Worker[]): Unmet | undefined {
  let left = usable;
  const met: string[] = [];
  for (const demand of demands) {
    const next = left.filter((worker) => demand.isMet(worker));
    if (next.length === 0) {
      const which = `${met.join(", ")}: ${left.length} ${left.length === 1 ? "worker" : "workers"}`;
      const reason = `${which}, none of which ${demand.wish}; ${demand.instead(left)}.`;
      return { requirement: demand.requirement, reason: reason.charAt(0).toUpperCase() + reason.slice(1) };
    }
    if (next.length < left.length) met.push(demand.subject);
    left = next;
  }
  return undefined;
}

function nobodyThere(workers: readonly Worker[]): Unmet {
  if (workers.length === 0) {
    const reason = "No worker is connected; start one with `legacygpu worker start`.";
    return { requirement: "worker", reason };
  }
  const states = workers.map((worker) => `${worker.id} is ${worker.state} (${worker.cause})`);
  return { requirement: "worker", reason: `No worker takes tasks now: ${few(states)}.` };
}

function cannotLoad({ model }: Requirements, lastError: WireError | undefined): Unmet {
  const reason = `No worker can run ${modelKey(model)}: ${lastError?.message ?? "it could not be loaded"}`;
  return { requirement: "model", reason };
}

function demandsOf({ requirements: { model, placement = {} }, needs = {} }: Seekers): Demand[] {
  const { sites, residency, labels = {}, providers, families, minVramBytes = 0 } = placement;
  const byModel = `, which ${modelKey(model)} needs`;
  const neededBytes = (needs.min_vram_mb ?? 0) * MIB;
  return [
    ...(sites === undefined ? [] : [siteDemand(sites)]),
    ...(residency === undefined ? [] : [labelDemand("residency", REGION_LABEL, residency)]),
    ...Object.entries(labels).map(([name, value]) => labelDemand("label", name, [value])),
    ...(providers === undefined ? [] : [providerDemand(providers, "")]),
    ...(needs.providers === undefined ? [] : [providerDemand(needs.providers, byModel)]),
    ...(families === undefined ? [] : [familyDemand(families)]),
    ...(neededBytes > minVramBytes ? [vramDemand(neededBytes, undefined, byModel)] : []),
    ...(minVramBytes > 0 ? [vramDemand(minVramBytes, families, "")] : []),
  ];
}

function siteDemand(sites: readonly string[]): Demand {
  const subject = `site ${either(sites)}`;
  return {
    requirement: "site",
    subject,
    wish: `is at ${subject}`,
    isMet: ({ hello }) => sites.includes(hello.site),
    instead: (workers) => `they are at ${few(distinct(workers.map(({ hello }) => hello.site)))}`,
  };
}

function labelDemand(requirement: "label" | "residency", name: string, values: readonly string[]): Demand {
  const subject = `label ${name}=${either(values)}`;
  return {
    requirement,
    subject,
    wish: `has the ${subject}`,
    isMet: ({ hello }) => hasLabel(hello.labels, name, values),
    instead: (workers) => {
      const there = distinct(workers.flatMap(({ hello }) => hello.labels[name] ?? []));
      return there.length === 0 ? `none has a label ${name}` : `they have ${name}=${few(there)}`;
    },
  };
}

function providerDemand(providers: readonly string[], why: string): Demand {
  const subject = `provider ${either(providers)}`;
  return {
    requirement: "provider",
    subject,
    wish: `has the ${subject}${why}`,
    isMet: ({ hello }) => providers.some((provider) => hello.providers.includes(provider)),
    instead: (workers) => `they have ${few(distinct(workers.flatMap(({ hello }) => hello.providers)))}`,
  };
}

function familyDemand(families: readonly string[]): Demand {
  const subject = `card of family ${either(families)}`;
  return {
    requirement: "family",
    subject,
    wish: `has a ${subject}`,
    isMet: ({ hello }) => hello.hardware.gpus.some((gpu) => isOfFamily(gpu, families)),
    instead: (workers) => {
      const there = distinct(
        workers.flatMap(({ hello }) => hello.hardware.gpus.map((gpu) => familyOf(gpu) ?? gpu.name)),
      );
      return there.length === 0 ? "none has a graphics card" : `they have ${few(there)}`;
    },
  };
}

/** @param families of which the card has to be, absent: no matter which */
function vramDemand(leastBytes: number, families: readonly string[] | undefined, why: string): Demand {
  const subject = `${gib(leastBytes)} of VRAM`;
  const counts = (gpu: Gpu): boolean => families === undefined || isOfFamily(gpu, families);
  const cardsOf = ({ hello }: Worker): Gpu[] => hello.hardware.gpus.filter(counts);
  const most = (worker: Worker): number =>
    Math.max(0, ...cardsOf(worker).map((gpu) => vramBytesOf(gpu) ?? 0));
  return {
    requirement: "min_vram",
    subject,
    wish: `has ${subject}${why}`,
    isMet: (worker) => cardsOf(worker).some((gpu) => hasVram(gpu, leastBytes)),
    instead: (workers) => {
      const [largest] = [...workers].sort((a, b) => most(b) - most(a));
      if (largest === undefined || most(largest) === 0) return "none has a card whose memory is known";
      return `the largest has ${gib(most(largest))} (${largest.id})`;
    },
  };
}

/** `8 GiB`, `7.5 GiB` */
function gib(bytes: number): string {
  return `${Math.round((10 * bytes) / GIB) / 10} GiB`;
}

function either(values: readonly string[]): string {
  return values.slice(0, MAX_NAMED).join(" or ");
}

function few(values: readonly string[]): string {
  const more = values.length - MAX_NAMED;
  return values.slice(0, MAX_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function distinct(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
