/** Versions beside each other, the names that point to them, and what is left when they go. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { Manifest } from "@legacygpu/shared/manifest";
import fc from "fast-check";
import { digestOf } from "../../gateway/models/blobs.ts";
import { Catalogue } from "../../gateway/models/catalogue.ts";
import { buildConvnet, buildIdentity } from "../../models/onnx/synthetic.ts";
import { ManualClock } from "../support/manual-clock.ts";

const HOUR_MS = 3_600_000;

let folder: string;
let clock: ManualClock;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "legacygpu-names-"));
  clock = new ManualClock(Date.now());
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (): Promise<Catalogue> => Catalogue.open(folder, clock);

async function* chunks(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** Every size is another file. */
async function push(
  catalogue: Catalogue,
  name: string,
  version: string,
  size = 16,
  manifest: Manifest = {},
): Promise<void> {
  const file = buildIdentity({ size });
  await catalogue.files.receive(digestOf(file), chunks(file));
  await catalogue.add(name, version, digestOf(file), manifest);
}

const blobsLeft = async (): Promise<number> => (await readdir(join(folder, "blobs"))).length;
const versionOf = (catalogue: Catalogue, alias?: string): string => catalogue.find("m", alias).ref.version;

test("an alias moves from version to version, latest by itself, and both outlive the process", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "1", 8);
  assert.equal(versionOf(catalogue, "latest"), "1");
  await catalogue.setAlias("m", "stable", "latest");
  await push(catalogue, "m", "2", 9);
  await catalogue.setAlias("m", "next", "2");
  for (const each of [catalogue, await open()]) {
    assert.equal(versionOf(each, "stable"), "1");
    assert.equal(versionOf(each, "latest"), "2");
    assert.deepEqual(each.aliasesOf(each.find("m", "2")), ["latest", "next"]);
  }
  await catalogue.setAlias("m", "stable", "next");
  assert.equal(versionOf(catalogue, "stable"), "2");
  assert.deepEqual(catalogue.aliasesOf(catalogue.find("m", "1")), []);
  await catalogue.removeAlias("m", "stable");
  assert.throws(() => catalogue.find("m", "stable"), { code: "model_not_found" });
  await assert.rejects(catalogue.removeAlias("m", "stable"), { code: "model_not_found" });
});

test("the same contents again do not make an old version the latest", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "1", 8);
  await push(catalogue, "m", "2", 9);
  await push(catalogue, "m", "1", 8);
  assert.equal(versionOf(catalogue, "latest"), "2");
});

test("a version and an alias never have the same name", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "1", 8);
  await catalogue.setAlias("m", "stable", "1");
  await assert.rejects(catalogue.setAlias("m", "1", "1"), {
    code: "request_invalid",
    message: /1 is a version/,
  });
  for (const alias of ["stable", "latest"])
    await assert.rejects(push(catalogue, "m", alias, 9), {
      code: "request_invalid",
      message: /is an alias/,
    });
  await assert.rejects(catalogue.setAlias("m", "latest", "1"), { code: "request_invalid" });
  await assert.rejects(catalogue.removeAlias("m", "latest"), { code: "request_invalid" });
  await assert.rejects(push(catalogue, "other", "latest", 9), { code: "request_invalid" });
  await assert.rejects(catalogue.setAlias("m", "beta", "7"), { code: "model_not_found" });
  await assert.rejects(catalogue.setAlias("nothing", "beta", "7"), { code: "model_not_found" });
});

test("many pushes and moves at once are all kept, one after the other", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "0", 8);
  const versions = Array.from({ length: 12 }, (_, i) => String(i + 1));
  await Promise.all(versions.map((version) => push(catalogue, "m", version, 8)));
  await Promise.all(versions.map((version) => catalogue.setAlias("m", `a${version}`, version)));
  const again = await open();
  assert.equal(again.versions("m").length, 13);
  for (const version of versions) assert.equal(again.find("m", `a${version}`).ref.version, version);
});

test("two who push other contents under one version at the same moment: one is refused", async () => {
  const catalogue = await open();
  const results = await Promise.allSettled([push(catalogue, "m", "1", 8), push(catalogue, "m", "1", 9)]);
  const refused = results.filter((result) => result.status === "rejected");
  assert.deepEqual(
    refused.map(({ reason }) => reason.code),
    ["model_version_exists"],
  );
  assert.equal((await open()).versions("m").length, 1);
});

test("a removed version takes its aliases and its files with it, and leaves those that others have", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "1", 8);
  await push(catalogue, "m", "2", 9, { description: "second" });
  await push(catalogue, "n", "1", 9);
  await catalogue.setAlias("m", "stable", "2");
  // Two files, two manifests.
  assert.equal(await blobsLeft(), 4);
  const removed = await catalogue.remove("m", "stable");
  assert.deepEqual(
    removed.map(({ ref }) => ref.version),
    ["2"],
  );
  assert.equal(await blobsLeft(), 3);
  assert.equal(versionOf(catalogue, "latest"), "1");
  assert.throws(() => catalogue.find("m", "stable"), { code: "model_not_found" });
  await catalogue.remove("m");
  await catalogue.remove("n");
  assert.equal(await blobsLeft(), 0);
  assert.deepEqual((await open()).list(), []);
  await assert.rejects(catalogue.remove("m"), { code: "model_not_found" });
});

test("a file that somebody is pushing outlives the model that had it, and is forgotten if nobody ever names it", async () => {
  const catalogue = await open();
  const file = buildIdentity({ size: 8 });
  await push(catalogue, "m", "1", 8);
  // Another client has asked, and been told that the file is there.
  assert.equal((await catalogue.files.standing(digestOf(file))).isComplete, true);
  await catalogue.remove("m");
  assert.equal(await catalogue.blobs.sizeBytes(digestOf(file)), file.length);
  await catalogue.add("n", "1", digestOf(file), {});
  assert.equal(catalogue.find("n").ref.file, digestOf(file));

  const orphan = buildConvnet();
  await catalogue.files.receive(digestOf(orphan), chunks(orphan));
  const path = join(folder, "blobs", digestOf(orphan).slice("sha256:".length));
  const old = new Date(clock.now() - 25 * HOUR_MS);
  await utimes(path, old, old);
  await open();
  assert.equal(await catalogue.blobs.sizeBytes(digestOf(orphan)), undefined);
  assert.equal(await catalogue.blobs.sizeBytes(digestOf(file)), file.length);
});

test("what is pushed and removed in any order leaves exactly the files that are named", async () => {
  const actions = fc.array(
    fc.record({
      name: fc.constantFrom("a", "b"),
      version: fc.constantFrom("1", "2"),
      size: fc.constantFrom(4, 5),
      isPush: fc.boolean(),
    }),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(actions, async (steps) => {
      const own = await mkdtemp(join(folder, "run-"));
      const catalogue = await Catalogue.open(own, clock);
      for (const { name, version, size, isPush } of steps) {
        const work = isPush ? push(catalogue, name, version, size) : catalogue.remove(name, version);
        await work.catch(({ code }: { code: string }) =>
          assert.ok(["model_version_exists", "model_not_found"].includes(code), code),
        );
        // Nobody is pushing any more.
        clock.advance(2 * HOUR_MS);
      }
      const named = new Set(catalogue.list().flatMap(({ ref }) => [ref.file, ref.manifest]));
      for (const digest of named) assert.notEqual(await catalogue.blobs.sizeBytes(digest), undefined);
      clock.advance(26 * HOUR_MS);
      const again = await Catalogue.open(own, clock);
      assert.deepEqual(
        again.list().map(({ ref }) => ref),
        catalogue.list().map(({ ref }) => ref),
      );
      assert.deepEqual(new Set((await again.blobs.all()).map(({ digest }) => digest)), named);
    }),
    { numRuns: 15 },
  );
});

test("an index of the first form is read, and what it lacks is read from the file", async () => {
  const catalogue = await open();
  await push(catalogue, "m", "1", 8);
  const path = join(folder, "index.json");
  const index = JSON.parse(await readFile(path, "utf8"));
  for (const model of index.models) delete model.contents;
  await writeFile(path, JSON.stringify({ version: 1, models: index.models }));
  const again = await open();
  assert.deepEqual(again.find("m").contents, catalogue.find("m").contents);
  await again.setAlias("m", "stable", "1");
  assert.equal(versionOf(await open(), "stable"), "1");
});

test("the catalogue keeps what a file consists of", async () => {
  const catalogue = await open();
  const file = buildConvnet();
  await catalogue.files.receive(digestOf(file), chunks(file));
  await catalogue.add("net", "1", digestOf(file), {});
  const { contents, inputs } = (await open()).find("net");
  assert.equal(inputs[0]?.shape[0], -1);
  assert.equal(contents?.inputDimensions[0]?.[0], "N");
  assert.deepEqual(
    contents?.opsetImports.map(({ domain }) => domain),
    ["ai.onnx"],
  );
  const conv = contents?.operators.find(({ name }) => name === "Conv");
  assert.ok(conv !== undefined && conv.count >= 1);
  assert.equal(
    contents?.operators.reduce((sum, { count }) => sum + count, 0),
    contents?.nodeCount,
  );
  assert.ok((contents?.parameterBytes ?? 0) >= 4 * (contents?.parameterCount ?? Number.POSITIVE_INFINITY));
});
