/** What is delivered to an endpoint, to whom the connection goes, and how the answer is read. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { until } from "../support/until.ts";
import {
  answer,
  HOST,
  OWNER,
  Receiver,
  removeCertificates,
  taskView,
  verified,
  WebhookRig,
} from "./webhook-rig.ts";

after(removeCertificates);

const SECOND_MS = 1000;
const DAY_MS = 24 * 3_600_000;

test("a finished task is told to its endpoint, signed, under the id of the delivery", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  rig.tasks.set("task_1", taskView("task_1"));
  const id = await rig.deliver(webhook);
  const delivery = await rig.becomes(id, "delivered");
  const [request] = await rig.receiver.received(1);
  assert.ok(request);
  assert.equal(request.headers["webhook-id"], id);
  assert.equal(request.headers["content-type"], "application/json");
  assert.equal(request.headers.host, `${HOST}:${rig.receiver.port}`);
  assert.equal(request.serverName, HOST);
  const message = await verified(rig, request, webhook.endpoint.secret);
  assert.deepEqual(message, {
    type: "task.completed",
    timestamp: new Date(rig.clock.now()).toISOString(),
    data: taskView("task_1"),
  });
  assert.equal(delivery.attempts[0]?.status, 204);
  const expiresAtMs = rig.documents.expiryOf("deliveries", id);
  assert.equal(expiresAtMs, rig.clock.now() + 7 * DAY_MS);
  await until("the queue is empty", () => rig.documents.ids("deliveries_due").length === 0);
});

test("nothing is stored for a task without a webhook, or for an event that nobody asked for", async (t) => {
  const rig = await WebhookRig.start(t);
  const { endpointId } = await rig.endpoint();
  assert.deepEqual(rig.webhooks.deliveriesFor(rig.task(undefined), "completed"), []);
  const onlyEnds = rig.task({ endpointId, events: ["completed"] });
  assert.deepEqual(rig.webhooks.deliveriesFor(onlyEnds, "started"), []);
  assert.equal(rig.webhooks.deliveriesFor(onlyEnds, "completed").length, 3);
});

test("of a task that was forgotten meanwhile its id and state are told", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  await rig.happens(webhook, "completed", "TIMED_OUT");
  const [request] = await rig.receiver.received(1);
  const { data } = JSON.parse(request?.body ?? "") as { data: unknown };
  assert.deepEqual(data, { id: "task_1", object: "task", status: "TIMED_OUT" });
});

test("a result over 20 kB is left out, one below is not", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  const resultOf = (count: number) => ({
    model_name: "digits",
    model_version: "1",
    outputs: [{ name: "y", datatype: "FP32" as const, shape: [count], data: Array(count).fill(1) }],
  });
  rig.tasks.set("task_1", taskView("task_1", { result: resultOf(9000) }));
  rig.tasks.set("task_2", taskView("task_2", { result: resultOf(11_000) }));
  await rig.happens(webhook);
  await rig.happens(webhook);
  await rig.receiver.received(2);
  const results = rig.receiver.requests.map(({ body }) => JSON.parse(body).data);
  const small = results.find(({ id }) => id === "task_1");
  const large = results.find(({ id }) => id === "task_2");
  assert.deepEqual(small.result, resultOf(9000));
  assert.deepEqual(large, taskView("task_2", { result: null }));
});

test("a redirect is a failure and is not followed", async (t) => {
  const rig = await WebhookRig.start(t);
  for (const status of [301, 302, 303, 307, 308])
    rig.receiver.script.push(answer(status, { location: rig.receiver.url.replace("/hook", "/elsewhere") }));
  const webhook = await rig.endpoint();
  for (const status of [301, 302, 303, 307, 308]) {
    const { attempts } = await rig.becomes(await rig.deliver(webhook), "waiting");
    assert.equal(attempts[0]?.status, status);
  }
  assert.deepEqual(new Set(rig.receiver.requests.map(({ path }) => path)), new Set(["/hook"]));
});

test("a receiver that does not answer has 15 seconds", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(() => {});
  const id = await rig.deliver(await rig.endpoint());
  await rig.receiver.received(1);
  rig.clock.advance(15 * SECOND_MS - 1);
  assert.equal(rig.delivery(id).attempts.length, 0);
  rig.clock.advance(1);
  const { attempts } = await rig.becomes(id, "waiting");
  assert.equal(attempts[0]?.status, undefined);
  assert.match(attempts[0]?.error ?? "", /15 s/);
});

test("the status counts as soon as it is there: an answer without end is cut off, in size and in time", async (t) => {
  const rig = await WebhookRig.start(t);
  const flood = (response: Parameters<typeof rig.receiver.always>[0]): void => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(16_384)));
    };
    response.on("drain", more);
    more();
  };
  rig.receiver.script.push(flood);
  const webhook = await rig.endpoint();
  await rig.becomes(await rig.deliver(webhook), "delivered");

  rig.receiver.script.push((response) => void response.writeHead(200).write("a little, and then nothing"));
  const id = await rig.deliver(webhook);
  await rig.receiver.received(2);
  await until("its time is over", () => {
    rig.clock.advance(SECOND_MS);
    return rig.delivery(id).state === "delivered";
  });
  assert.equal(rig.delivery(id).attempts.length, 1);
});

test("a receiver that hangs up, one that is not there and one with a foreign certificate are named as what they are", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push((response) => void response.socket?.destroy());
  const hungUp = await rig.becomes(await rig.deliver(await rig.endpoint()), "waiting");
  assert.match(hungUp.attempts[0]?.error ?? "", /ECONNRESET|hang up/);

  const gone = await Receiver.start();
  await gone.close();
  const nobody = await rig.webhooks.register(OWNER, { url: gone.url });
  const refused = await rig.deliver({ endpointId: nobody.id, events: ["completed"] });
  assert.match((await rig.becomes(refused, "waiting")).attempts[0]?.error ?? "", /ECONNREFUSED/);

  const foreign = await WebhookRig.start(t, {
    lookup: async () => [{ address: "127.0.0.1", family: 4 }],
  });
  const url = foreign.receiver.url.replace(HOST, "another.test");
  const { id } = await foreign.webhooks.register(OWNER, { url });
  const delivery = await foreign.deliver({ endpointId: id, events: ["completed"] });
  assert.match((await foreign.becomes(delivery, "waiting")).attempts[0]?.error ?? "", /ALTNAME/);
  assert.equal(foreign.receiver.requests.length, 0);
});

test("the connection goes to the address that was checked, whatever the name resolves to a moment later", async (t) => {
  const answers = ["127.0.0.1", "127.0.0.1"];
  const asked: string[] = [];
  const rig = await WebhookRig.start(t, {
    lookup: async (host) => {
      asked.push(host);
      return [{ address: answers.shift() ?? "127.0.0.2", family: 4 }];
    },
  });
  // It would answer, and would be believed: same port, same certificate.
  const inside = await Receiver.start("127.0.0.2", rig.receiver.port);
  t.after(() => inside.close());
  const webhook = await rig.endpoint();
  await rig.becomes(await rig.deliver(webhook), "delivered");
  assert.deepEqual(asked, [HOST, HOST], "once at the registration, once at the delivery");
  assert.equal(rig.receiver.requests.length, 1);
  assert.equal(inside.requests.length, 0);
});

test("the guard is asked again with every try: a name that has moved into a private network gets nothing", async (t) => {
  let address = "127.0.0.1";
  const rig = await WebhookRig.start(t, { lookup: async () => [{ address, family: 4 }] });
  const webhook = await rig.endpoint();
  address = "169.254.169.254";
  const id = await rig.deliver(webhook);
  const { attempts } = await rig.becomes(id, "waiting");
  assert.match(attempts[0]?.error ?? "", /169\.254\.169\.254.*link-local/);
  address = "127.0.0.1";
  rig.clock.advance(5 * SECOND_MS);
  await rig.becomes(id, "delivered", 2);
});

test("after a rotation both secrets sign for a day, then only the new one", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  const old = webhook.endpoint.secret;
  const { secret } = await rig.webhooks.rotateSecret(OWNER, webhook.endpointId);
  assert.notEqual(secret, old);
  await rig.deliver(webhook);
  const [during] = await rig.receiver.received(1);
  assert.ok(during);
  await verified(rig, during, old);
  await verified(rig, during, secret);
  rig.clock.advance(DAY_MS);
  await rig.deliver(webhook);
  const [, later] = await rig.receiver.received(2);
  assert.ok(later);
  await verified(rig, later, secret);
  await assert.rejects(verified(rig, later, old), { code: "auth_invalid" });
});

test("a test is tried once, also at a disabled endpoint, and says nothing about its health", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  rig.receiver.script.push(answer(410), answer(500), answer(410));
  const unwanted = await rig.webhooks.sendTest(OWNER, webhook.endpointId);
  await rig.becomes(unwanted.id, "failed");
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).state, "active");
  const failed = await rig.webhooks.sendTest(OWNER, webhook.endpointId);
  await rig.becomes(failed.id, "failed");
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).failingSinceMs, undefined);

  await rig.becomes(await rig.deliver(webhook), "failed");
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).state, "disabled");
  const works = await rig.webhooks.sendTest(OWNER, webhook.endpointId);
  await rig.becomes(works.id, "delivered");
  const request = rig.receiver.requests.at(-1);
  assert.ok(request);
  const message = await verified(rig, request, webhook.endpoint.secret);
  assert.deepEqual([message.type, message.data], ["webhook.test", { webhook: webhook.endpointId }]);
});
