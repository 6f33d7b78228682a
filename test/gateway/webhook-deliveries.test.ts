import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import { verifyWebhook } from "../../client/verify-webhook.ts";
import { delayAfterMs, parseRetryAfterMs, RETRY_DELAYS_MS } from "../../gateway/webhooks/retry-schedule.ts";
import { until } from "../support/until.ts";
import {
  answer,
  HOST,
  OWNER,
  type Received,
  Receiver,
  removeCertificates,
  taskView,
  WebhookRig,
} from "./webhook-rig.ts";

after(removeCertificates);

const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A receiver's own check of what it got. */
function verified(rig: WebhookRig, { headers, body }: Received, secret: string | string[]) {
  return verifyWebhook({ headers, body, secret, nowMs: rig.clock.now() });
}

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

test("what fails is tried ten times in three days under the same id, then given up", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.always = answer(500);
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  for (const [index, delayMs] of RETRY_DELAYS_MS.entries()) {
    const waiting = await rig.becomes(id, "waiting", index + 1);
    assert.equal(waiting.nextAtMs, rig.clock.now() + delayMs);
    await until("the courier has gone to sleep", () => rig.clock.pendingCount === 1);
    rig.clock.advance(delayMs - 1);
    assert.equal(rig.receiver.requests.length, index + 1, "no try before its time");
    rig.clock.advance(1);
    await rig.receiver.received(index + 2);
  }
  const failed = await rig.becomes(id, "failed", 10);
  assert.match(failed.reason ?? "", /10 tries/);
  assert.deepEqual(new Set(rig.receiver.ids), new Set([id]));
  for (const [index, request] of rig.receiver.requests.entries()) {
    const sentAtMs = Number(request.headers["webhook-timestamp"]) * SECOND_MS;
    assert.equal(sentAtMs, failed.attempts[index]?.atMs, "each try is signed for its own time");
    await verifyWebhook({ ...request, secret: webhook.endpoint.secret, nowMs: sentAtMs });
  }
  assert.equal(rig.documents.expiryOf("deliveries", id), rig.clock.now() + 7 * DAY_MS);
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).state, "active", "three days are not five");
  assert.equal(rig.clock.pendingCount, 0);
});

test("a wait is never shorter than the schedule and than what the receiver asked for, and at most a tenth longer", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: DAY_MS }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (tries, asked, drawn) => {
        const least = Math.max(RETRY_DELAYS_MS[tries - 1] ?? 0, asked);
        const delayMs = delayAfterMs(tries, asked, () => drawn);
        assert.ok(delayMs >= least && delayMs <= Math.ceil(least * 1.1), `${least} → ${delayMs}`);
      },
    ),
  );
});

test("Retry-After is read as seconds or as a date, up to a day", () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const cases: [string | undefined, number][] = [
    [undefined, 0],
    ["120", 120_000],
    ["0", 0],
    ["999999999", DAY_MS],
    ["Thu, 01 Jan 2026 00:02:00 GMT", 120_000],
    ["Thu, 01 Jan 2036 00:00:00 GMT", DAY_MS],
    ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
    ["-5", 0],
    ["soon", 0],
  ];
  for (const [header, delayMs] of cases) assert.equal(parseRetryAfterMs(header, nowMs), delayMs, header);
});

test("a receiver that asks for time gets it", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(429, { "retry-after": "3600" }));
  const id = await rig.deliver(await rig.endpoint());
  const waiting = await rig.becomes(id, "waiting");
  assert.equal(waiting.nextAtMs, rig.clock.now() + HOUR_MS);
});

test("410 disables the endpoint; what waits for it fails, until it is enabled again", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500), answer(410));
  const webhook = await rig.endpoint();
  const earlier = await rig.deliver(webhook);
  await rig.becomes(earlier, "waiting");
  const refused = await rig.deliver(webhook);
  await rig.becomes(refused, "failed");
  const { state, disabledReason } = rig.webhooks.endpoint(OWNER, webhook.endpointId);
  assert.equal(state, "disabled");
  assert.match(disabledReason ?? "", /410/);
  rig.clock.advance(6 * SECOND_MS);
  const ended = await rig.becomes(earlier, "failed");
  assert.match(ended.reason ?? "", /disabled/);
  assert.equal(rig.receiver.requests.length, 2);

  await rig.webhooks.enable(OWNER, webhook.endpointId);
  await rig.becomes(await rig.deliver(webhook), "delivered");
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

test("a gateway that starts takes up what another one has left, at its time", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500));
  const webhook = await rig.endpoint();
  const tried = await rig.deliver(webhook);
  await rig.becomes(tried, "waiting");
  const stored = rig.webhooks.deliveriesFor(rig.task(webhook), "completed");
  await rig.documents.put(stored); // and then it crashed
  await rig.close();
  assert.equal(rig.receiver.requests.length, 1);

  const next = rig.successor(t, rig.documents.copy());
  next.webhooks.start();
  const fresh = stored.find(({ collection }) => collection === "deliveries")?.id ?? "";
  await next.becomes(fresh, "delivered");
  next.clock.advance(5 * SECOND_MS);
  await next.becomes(tried, "delivered", 2);
  const { requests } = rig.receiver;
  for (const request of requests) await verified(next, request, webhook.endpoint.secret);
});

test("a crash after the receiver has answered and before that is stored: the same message comes once more", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  const disk = rig.documents.copy();
  await rig.becomes(id, "delivered");
  rig.successor(t, disk).webhooks.start();
  await rig.receiver.received(2);
  assert.deepEqual(rig.receiver.ids, [id, id]);
});

test("while the store is full nobody gets the same message again and again", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  rig.receiver.script.push((response) => {
    rig.documents.isFull = true;
    response.end();
  });
  const id = await rig.deliver(webhook);
  await until("the store has refused", () => rig.lines.some((line) => line.includes("cannot be stored yet")));
  for (let seconds = 0; seconds < 600; seconds += 1) {
    rig.clock.advance(SECOND_MS);
    rig.webhooks.wake();
    await new Promise(setImmediate);
  }
  assert.equal(rig.receiver.requests.length, 1);
  rig.documents.isFull = false;
  await until("the outcome is stored", () => {
    rig.clock.advance(SECOND_MS);
    return rig.delivery(id).state === "delivered";
  });
  assert.equal(rig.receiver.requests.length, 1);
});

test("at most two at a time go to one endpoint and eight in all, and an endpoint that is stuck holds up nobody", async (t) => {
  const rig = await WebhookRig.start(t);
  const held: (() => void)[] = [];
  const open = new Map<string, number>();
  const highest = new Map<string, number>();
  const count = (key: string, by: number): void => {
    const now = (open.get(key) ?? 0) + by;
    open.set(key, now);
    highest.set(key, Math.max(now, highest.get(key) ?? 0));
  };
  rig.receiver.always = (response, { path }) => {
    for (const key of [path, "all"]) count(key, 1);
    const end = (): void => {
      for (const key of [path, "all"]) count(key, -1);
      response.writeHead(204).end();
    };
    if (path === "/quick") end();
    else held.push(end);
  };
  const ids: string[] = [];
  for (const path of ["/a", "/b", "/c"]) {
    const webhook = await rig.endpoint(path);
    for (let i = 0; i < 5; i += 1) ids.push(await rig.deliver(webhook));
  }
  await until("three endpoints hold two each", () => held.length === 6);
  const quick = await rig.endpoint("/quick");
  for (let i = 0; i < 5; i += 1) await rig.becomes(await rig.deliver(quick), "delivered");
  assert.equal(held.length, 6);
  for (const path of ["/d", "/e"]) ids.push(await rig.deliver(await rig.endpoint(path)));
  await until("eight are under way", () => held.length === 8);
  ids.push(await rig.deliver(await rig.endpoint("/f")));
  // The first three have nine more that wait; each gets a turn, and then it is the turn of the newcomer.
  for (const end of held.splice(0, 4)) end();
  await until("the newcomer has its turn", () => rig.receiver.requests.some(({ path }) => path === "/f"));
  assert.ok(ids.some((id) => rig.delivery(id).attempts.length === 0 && rig.delivery(id).state === "waiting"));
  const ended = () => ids.every((id) => rig.delivery(id).state === "delivered");
  await until("all have arrived", () => {
    held.shift()?.();
    return ended();
  });
  assert.equal(highest.get("all"), 8);
  for (const path of ["/a", "/b", "/c"]) assert.equal(highest.get(path), 2, path);
});

test("many that wait for many endpoints arrive once each, and leave nothing behind", async (t) => {
  const rig = await WebhookRig.start(t);
  const ids: string[] = [];
  for (let i = 0; i < 10; i += 1) {
    const webhook = await rig.endpoint(`/many-${i}`);
    for (let k = 0; k < 6; k += 1) ids.push(await rig.deliver(webhook));
  }
  await until("all have arrived", () => ids.every((id) => rig.delivery(id).state === "delivered"));
  assert.deepEqual([...rig.receiver.ids].sort(), [...ids].sort());
  await until("the queues are empty", () => rig.documents.ids("deliveries_due").length === 0);
  assert.equal(rig.clock.pendingCount, 0);
});

test("many endpoints that are down do not keep the courier from the next one", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.always = (response, { path }) => void response.writeHead(path === "/up" ? 204 : 500).end();
  const ids: string[] = [];
  for (let i = 0; i < 70; i += 1) ids.push(await rig.deliver(await rig.endpoint(`/down-${i}`)));
  await until("all have been tried", () => {
    rig.clock.advance(1);
    return ids.every((id) => rig.delivery(id).attempts.length === 1);
  });
  const id = await rig.deliver(await rig.endpoint("/up"));
  await until("the next one has arrived", () => {
    rig.clock.advance(1);
    return rig.delivery(id).state === "delivered";
  });
  assert.equal(rig.receiver.requests.length, 71);
});

test("what waits for an endpoint ends with it, also when it was written after the end", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500));
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  await rig.becomes(id, "waiting");
  await rig.webhooks.remove(OWNER, webhook.endpointId);
  assert.throws(() => rig.webhooks.endpoint(OWNER, webhook.endpointId), { code: "webhook_not_found" });
  assert.throws(() => rig.delivery(id), { code: "delivery_not_found" });
  await rig.happens(webhook);
  for (const collection of ["webhooks", "deliveries", "deliveries_by_endpoint", "deliveries_due"])
    await until(`${collection} is empty`, () => rig.documents.ids(collection).length === 0);
  rig.clock.advance(DAY_MS);
  assert.equal(rig.receiver.requests.length, 1);
  assert.equal(rig.clock.pendingCount, 0);
});

test("an endpoint that is deleted while a message is under way leaves nothing behind", async (t) => {
  const rig = await WebhookRig.start(t);
  let end = (): void => {};
  rig.receiver.script.push((response) => {
    end = () => void response.writeHead(500).end();
  });
  const webhook = await rig.endpoint();
  await rig.deliver(webhook);
  await rig.receiver.received(1);
  await rig.webhooks.remove(OWNER, webhook.endpointId);
  end();
  for (const collection of ["deliveries", "deliveries_due"])
    await until(`${collection} is empty`, () => rig.documents.ids(collection).length === 0);
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

test("an endpoint is disabled when a delivery is given up and nothing has got through for five days", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.always = answer(503, { "retry-after": String(DAY_MS / SECOND_MS) });
  const webhook = await rig.endpoint();
  const endpoint = () => rig.webhooks.endpoint(OWNER, webhook.endpointId);
  const runOut = async (id: string): Promise<void> => {
    for (let tries = rig.delivery(id).attempts.length; tries < 10; tries += 1) {
      await rig.becomes(id, "waiting", tries);
      await until("the courier has gone to sleep", () => rig.clock.pendingCount === 1);
      rig.clock.advance(DAY_MS);
    }
    await rig.becomes(id, "failed", 10);
  };
  const first = await rig.deliver(webhook);
  await rig.becomes(first, "waiting");
  assert.equal(endpoint().failingSinceMs, rig.clock.now());
  rig.clock.advance(DAY_MS);
  await rig.becomes(first, "waiting", 2);
  rig.receiver.script.push(answer(200));
  await rig.becomes(await rig.deliver(webhook), "delivered");
  assert.equal(endpoint().failingSinceMs, undefined, "something got through");
  await runOut(first);
  assert.equal(endpoint().state, "disabled");
  assert.match(endpoint().disabledReason ?? "", /five days/);
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

test("a delivery is sent again when its owner asks for it: at once, with all of its tries, under its id", async (t) => {
  const rig = await WebhookRig.start(t);
  rig.receiver.script.push(answer(500), answer(410), answer(500));
  const webhook = await rig.endpoint();
  const id = await rig.deliver(webhook);
  await rig.becomes(id, "waiting");
  await rig.webhooks.redeliver(OWNER, id);
  await rig.becomes(id, "failed", 2);
  await rig.webhooks.enable(OWNER, webhook.endpointId);
  await rig.webhooks.redeliver(OWNER, id);
  const waiting = await rig.becomes(id, "waiting", 3);
  assert.equal(waiting.tries, 1);
  await rig.webhooks.redeliver(OWNER, id);
  await rig.becomes(id, "delivered", 4);
  await rig.webhooks.redeliver(OWNER, id);
  await rig.becomes(id, "delivered", 5);
  assert.deepEqual(rig.receiver.ids, [id, id, id, id, id]);
  await until("the queue is empty", () => rig.documents.ids("deliveries_due").length === 0);
});

test("a damaged delivery is named in the log and does not hold up the others", async (t) => {
  const rig = await WebhookRig.start(t);
  const webhook = await rig.endpoint();
  const documents = rig.webhooks.deliveriesFor(rig.task(webhook), "completed");
  const damaged = documents.map((document) =>
    document.collection === "deliveries" ? { ...document, value: { id: document.id } } : document,
  );
  await rig.documents.put(damaged);
  await rig.becomes(await rig.deliver(webhook), "delivered");
  assert.ok(
    rig.lines.some((line) => line.includes("cannot be read") && line.includes(damaged[0]?.id ?? "-")),
  );
  await until("the queue is empty", () => rig.documents.ids("deliveries_due").length === 0);
});

test("closing waits a little for what is under way, then leaves it to the next start", async (t) => {
  const rig = await WebhookRig.start(t);
  const ends: (() => void)[] = [];
  rig.receiver.always = (response) => void ends.push(() => response.end());
  const webhook = await rig.endpoint();
  const [quick, stuck] = [await rig.deliver(webhook), await rig.deliver(webhook)];
  await until("both are under way", () => ends.length === 2);
  const first = rig.receiver.ids[0];
  let isClosed = false;
  const closed = rig.webhooks.close().then(() => {
    isClosed = true;
  });
  ends[0]?.();
  await rig.becomes(String(first), "delivered");
  assert.equal(isClosed, false);
  rig.clock.advance(2 * SECOND_MS);
  await closed;
  const other = first === quick ? stuck : quick;
  assert.deepEqual(rig.delivery(other).attempts, [], "what was cut off is no failed try");
  assert.equal(rig.webhooks.endpoint(OWNER, webhook.endpointId).failingSinceMs, undefined);
  assert.equal(rig.clock.pendingCount, 0);
});
