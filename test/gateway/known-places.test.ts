/** Which names of places are known before any worker, after enrolment alone, and after a long time. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "@legacygpu/shared/log";
import { Registry } from "../../gateway/registry/registry.ts";
import { KnownPlaces } from "../../gateway/tasks/known-places.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";
import { hello, RecordingLink } from "../support/scheduler-rig.ts";
import { until } from "../support/until.ts";

const DAY_MS = 86_400_000;
const log = createLogger("gateway", "silent");

function placesWith(enrolled: string[] = []) {
  const clock = new ManualClock();
  const documents = new MemoryDocuments();
  const registry = new Registry({ clock, log, reconnectGraceMs: 0, leaseMs: 0, onGone: () => {} });
  const start = (): KnownPlaces =>
    new KnownPlaces({ registry, documents, clock, log, enrolledSites: () => enrolled });
  return { clock, registry, documents, start };
}

test("the site of a box that has only enrolled is known, and any label may be its own", () => {
  const places = placesWith(["berlin"]).start();
  places.check({ sites: ["berlin"], labels: { tier: "old" } });
  assert.throws(() => places.check({ sites: ["paris"] }), { code: "site_unknown" });
});

test("what nobody has been for a month is forgotten", async () => {
  const { clock, registry, documents, start } = placesWith();
  const places = start();
  const arrival = registry.arrive(hello("old", { site: "berlin" }), new RecordingLink());
  assert.ok(arrival.kind === "new");
  registry.giveUp(arrival.worker, "it left");
  places.gone(arrival.worker);
  clock.advance(29 * DAY_MS);
  registry.arrive(hello("young", { site: "lab" }), new RecordingLink());
  places.check({ sites: ["berlin", "lab"] });
  await until("it to be on disk", () => documents.ids("known-workers").includes("old"));
  start().check({ sites: ["berlin"] });
  clock.advance(2 * DAY_MS);
  assert.throws(() => places.check({ sites: ["nowhere"] }), { code: "site_unknown" });
  assert.throws(() => places.check({ sites: ["berlin"] }), { code: "site_unknown" });
});

test("a worker that has moved is known where it is, no longer where it was", () => {
  const { registry, start } = placesWith();
  const places = start();
  registry.arrive(hello("box", { site: "berlin", labels: { tier: "old" } }), new RecordingLink());
  places.check({ sites: ["berlin"] });
  const link = new RecordingLink();
  const [box] = registry.all;
  assert.ok(box !== undefined);
  registry.giveUp(box, "it moves");
  registry.arrive(hello("box", { site: "lab", labels: { tier: "new" }, instanceId: "box-2" }), link);
  places.check({ sites: ["lab"], labels: { tier: "new" } });
  assert.throws(() => places.check({ labels: { tier: "old" } }), {
    code: "label_unknown",
    details: { path: "placement.labels.tier", given: "tier=old", known: ["tier=new"] },
  });
});
