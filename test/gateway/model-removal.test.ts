/** The removal of models that are deployed: the catalogue, the deployments and the removal, without a gateway around them. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { putDeploymentSchema } from "@legacygpu/shared/api/deployments";
import { digestOf } from "../../gateway/models/blobs.ts";
import { Catalogue } from "../../gateway/models/catalogue.ts";
import { ModelRemoval } from "../../gateway/models/model-removal.ts";
import { Deployments } from "../../gateway/placement/deployments.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { MemoryDocuments } from "../support/memory-documents.ts";

const NO_TASKS = { view: { unfinishedOf: () => [] }, abandon: () => false };
const REFUSED = { code: "model_deployed" };

async function start(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-removal-"));
  t.after(() => rm(folder, { recursive: true }));
  const clock = new ManualClock();
  const catalogue = await Catalogue.open(folder, clock);
  const deployments = new Deployments(new MemoryDocuments(), clock);
  const removal = new ModelRemoval(catalogue, NO_TASKS, deployments);
  const push = async (version: string, size: number): Promise<void> => {
    const file = buildIdentity({ size });
    await catalogue.blobs.receive(digestOf(file), chunksOf(file));
    await catalogue.add("m", version, digestOf(file), {});
  };
  const deploy = (version?: string) =>
    deployments.put("m", putDeploymentSchema.parse({ ...(version !== undefined && { version }) }));
  const remove = (version?: string, isForced = false) => removal.remove("m", version, { isForced });
  const versions = (): string[] => catalogue.list().map(({ ref }) => ref.version);
  await push("1", 4);
  await push("2", 8);
  return { catalogue, deployments, push, deploy, remove, versions };
}

async function* chunksOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

test("a deployed model is not removed, not even by force, until it is undeployed; the refusal says so", async (t) => {
  const { deployments, deploy, remove, versions } = await start(t);
  await deploy();
  for (const isForced of [false, true]) {
    const refused = { ...REFUSED, status: 409, retryable: false, details: { model: "m", version: "2" } };
    await assert.rejects(remove(undefined, isForced), refused);
    await assert.rejects(remove("latest", isForced), refused);
  }
  await assert.rejects(remove(), /m is deployed: undeploy it \(`DELETE \/models\/m\/deployment`\)/);
  assert.deepEqual(versions(), ["1", "2"]);
  await deployments.remove("m");
  await remove();
  assert.deepEqual(versions(), []);
});

test("of a deployed model the versions that are not deployed can be removed", async (t) => {
  const { deploy, remove, versions } = await start(t);
  await deploy();
  await remove("1");
  assert.deepEqual(versions(), ["2"]);
  await assert.rejects(remove("2"), REFUSED);
});

test("a version that is deployed by its own name or an alias stays while the newest goes", async (t) => {
  const { catalogue, push, deploy, remove, versions } = await start(t);
  await deploy("1");
  await assert.rejects(remove("1"), REFUSED);
  await remove("2");
  await catalogue.setAlias("m", "stable", "1");
  await deploy("stable");
  await push("3", 16);
  await assert.rejects(remove("1", true), REFUSED);
  await remove("3");
  assert.deepEqual(versions(), ["1"]);
});

test("a deployment of a version that is gone keeps nobody from removing another one, and the model still has to be undeployed", async (t) => {
  const { catalogue, deploy, remove, versions } = await start(t);
  await catalogue.setAlias("m", "stable", "1");
  await deploy("stable");
  await catalogue.removeAlias("m", "stable");
  await remove("1");
  assert.deepEqual(versions(), ["2"]);
  await assert.rejects(remove(), REFUSED);
});

test("the catalogue tells a version from another one that has taken its name", async (t) => {
  const { catalogue, push, remove } = await start(t);
  const { ref } = catalogue.find("m", "1");
  assert.equal(catalogue.has(ref), true);
  await remove("1");
  assert.equal(catalogue.has(ref), false);
  await push("1", 32);
  assert.equal(catalogue.has(ref), false);
  assert.equal(catalogue.has(catalogue.find("m", "1").ref), true);
});
