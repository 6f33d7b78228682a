/** Deliveries on a real disk. */

import assert from "node:assert/strict";
import { after, type TestContext, test } from "node:test";
import type { TaskId } from "@legacygpu/shared/ids";
import { createLogger } from "@legacygpu/shared/log";
import { Webhooks } from "../../gateway/webhooks/webhooks.ts";
import { LmdbRig } from "../store/lmdb-rig.ts";
import { until } from "../support/until.ts";
import { answer, OWNER, Receiver, removeCertificates } from "./webhook-rig.ts";

after(removeCertificates);

const DAY_MS = 24 * 3_600_000;

async function start(t: TestContext) {
  const disk = new LmdbRig();
  const receiver = await Receiver.start();
  let current: Webhooks | undefined;
  t.after(async () => {
    await current?.close();
    await receiver.close();
    await disk.close();
  });
  /** The gateway ends, and the next one starts on the same disk. */
  const restart = async () => {
    await current?.close();
    const { documents } = await disk.reopen();
    const webhooks = new Webhooks({
      documents,
      clock: disk.clock,
      random: () => 0,
      log: createLogger("test", "silent"),
      allowedNetworks: ["127.0.0.0/8"],
      taskView: async () => undefined,
      lookup: async () => [{ address: "127.0.0.1", family: 4 }],
      caPem: receiver.caPem,
    });
    webhooks.start();
    current = webhooks;
    return { webhooks, documents };
  };
  return { disk, receiver, restart };
}

test("what waits on disk is sent by the next start, when its time has come", async (t) => {
  const { disk, receiver, restart } = await start(t);
  const { webhooks, documents } = await restart();
  const webhook = await webhooks.resolve(OWNER, { url: receiver.url });
  receiver.script.push(answer(500));
  const task = { id: "task_1" as TaskId, tenant: OWNER.keyId, webhook, state: "COMPLETED" as const };
  const stored = webhooks.deliveriesFor(task, "completed");
  await documents.put(stored);
  webhooks.wake();
  const id = stored[0]?.id ?? "";
  await until("the first try has failed", () => webhooks.delivery(OWNER, id).attempts.length === 1);

  const next = (await restart()).webhooks;
  assert.equal(next.delivery(OWNER, id).state, "waiting");
  await until("it has arrived", () => {
    disk.clock.advance(1000);
    return next.delivery(OWNER, id).state === "delivered";
  });
  assert.deepEqual(receiver.ids, [id, id]);
  const { deliveries } = next.deliveries(OWNER, webhook.endpointId, { limit: 10 });
  assert.deepEqual(deliveries, [next.delivery(OWNER, id)]);
});

test("what has ended is forgotten after a week, the endpoint is not", async (t) => {
  const { disk, receiver, restart } = await start(t);
  const { webhooks } = await restart();
  const { id: endpointId } = await webhooks.register(OWNER, { url: receiver.url });
  const { id } = await webhooks.sendTest(OWNER, endpointId);
  await until("it has arrived", () => webhooks.delivery(OWNER, id).state === "delivered");
  disk.clock.advance(7 * DAY_MS - 1);
  assert.equal(webhooks.delivery(OWNER, id).id, id);
  await until("it is forgotten", () => {
    disk.clock.advance(1000);
    return webhooks.deliveries(OWNER, endpointId, { limit: 10 }).deliveries.length === 0;
  });
  assert.throws(() => webhooks.delivery(OWNER, id), { code: "delivery_not_found" });
  assert.equal(webhooks.endpoint(OWNER, endpointId).id, endpointId);
});
