/** 50,000 bent inputs to everything that reads what strangers send: a short form of the fuzz bench, whose parts it uses. */

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { mutant } from "../../bench/fuzz/mutate.ts";
import { isRefusal, PARSERS, type Parser, storeParser } from "../../bench/fuzz/parsers.ts";
import { soundStore } from "../../bench/fuzz/sound-store.ts";
import { knock, misbehave } from "../../bench/fuzz/strangers.ts";
import { seededRandom } from "../../models/onnx/random.ts";
import { GatewayRig } from "../support/gateway-rig.ts";

const INPUTS = { frames: 22_000, documents: 16_000, configuration: 2000, models: 5000, store: 200 };
const REQUESTS = 2000;
const LINK_MESSAGES = 3000;

/** @throws AssertionError with the seed that repeats it */
function feed(parser: Parser, inputs: number): void {
  const seed = randomInt(2 ** 31);
  const random = seededRandom(seed);
  for (let i = 0; i < inputs; i += 1) {
    const bytes = mutant(parser.corpus, random);
    try {
      parser.feed(bytes);
    } catch (error) {
      if (isRefusal(error)) continue;
      const input = Buffer.from(bytes).toString("base64");
      assert.fail(`seed ${seed}, input ${i}: ${(error as Error).stack}\n${input}`);
    }
  }
}

for (const [target, make] of Object.entries(PARSERS)) {
  const inputs = INPUTS[target as keyof typeof INPUTS];
  test(`${inputs} bent ${target} are taken or refused`, () => feed(make(), inputs));
}

test(`${INPUTS.store} bent stores are read to their end`, async () => {
  const folder = await mkdtemp(join(tmpdir(), "legacygpu-fuzz-"));
  const parser = storeParser(await soundStore(folder));
  try {
    feed(parser, INPUTS.store);
  } finally {
    parser.close?.();
    await rm(folder, { recursive: true });
  }
});

test(`a gateway outlives ${REQUESTS} bent requests and ${LINK_MESSAGES} bent messages of agents`, async () => {
  const perAddress = {
    failedAuthenticationsPerMinute: null,
    newSocketsPerSecond: null,
    unauthenticatedRequestsPerSecond: null,
  };
  const rig = await GatewayRig.start({ trust: { limits: { perAddress } } });
  const seed = randomInt(2 ** 31);
  try {
    const target = { port: Number(new URL(rig.url).port), caPem: rig.gateway.caPem ?? "" };
    const keys = { admin: rig.adminKey, worker: await rig.key("worker") };
    const answered = await knock({ target, keys, seed, inputs: REQUESTS });
    const tolerated = await misbehave({ target, keys, seed, inputs: LINK_MESSAGES });
    assert.ok(answered > 0 && tolerated > 0, `seed ${seed}: nobody was listened to`);
    assert.equal((await rig.call("GET", "/cluster/metrics")).status, 200, `seed ${seed}`);
  } finally {
    await rig.close();
  }
});
