/** How the SDK authenticates with tokens: fetched once for many, renewed in time, replaced when refused. */

import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { type ClientOptions, LegacyGpuClient } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { completedTask, eventText, sampleEvent, sampleHealth } from "../support/api-samples.ts";
import { type Answer, FakeApi, type FakeRequest, problem } from "../support/fake-api.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

let api: FakeApi;
let fetch: PinnedFetch;

before(async () => {
  api = await FakeApi.start();
  fetch = pinnedFetch({ caPem: api.caPem });
});
after(async () => {
  await fetch.close();
  await api.close();
});

const EXCHANGE = "POST /auth/token";
const HEALTH = "GET /cluster/health";
const inference = { model_name: "digits", model_version: "1", outputs: [] };

function tokenAnswer(text: string, seconds = 900): Answer {
  return {
    json: { access_token: text, token_type: "Bearer", expires_in: seconds, scope: "read submit" },
  };
}

interface Rig {
  readonly clock: ManualClock;
  readonly client: LegacyGpuClient;
}

function start(t: TestContext, options: Partial<ClientOptions> = { key: "lgk_test", auth: "token" }): Rig {
  api.reset();
  t.after(() => api.reset());
  const clock = new ManualClock();
  return { clock, client: new LegacyGpuClient({ url: api.url, fetch, clock, ...options }) };
}

const bearerOf = ({ headers }: FakeRequest): string => String(headers.authorization).replace("Bearer ", "");
const sent = (): string[] => api.requests.map((request) => `${request.path} ${bearerOf(request)}`);
const exchanges = (): number => api.requests.filter(({ path }) => path === "/auth/token").length;

/** Accepts one bearer for the route and refuses every other. */
function accepting(bearer: string, answer: Answer): (request: FakeRequest) => Answer {
  return (request) => (bearerOf(request) === bearer ? answer : problem("auth_invalid"));
}

test("without a word about it, the key itself is sent and nothing is exchanged", async (t) => {
  const { client } = start(t, { key: "lgk_test" });
  api.on(HEALTH, { json: sampleHealth });
  await client.health();
  assert.deepEqual(sent(), ["/cluster/health lgk_test"]);
});

test("the key is exchanged once, and the token is sent with every call", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1")).on(HEALTH, { json: sampleHealth });
  await client.health();
  await client.health();
  assert.deepEqual(sent(), ["/auth/token lgk_test", "/cluster/health t1", "/cluster/health t1"]);
});

test("what outlives a token is asked for with the key itself", async (t) => {
  const { client } = start(t);
  const refusal = problem("auth_forbidden");
  api.on("POST /keys", refusal).on("POST /keys/k1/rotate", refusal).on("POST /join-tokens", refusal);
  await assert.rejects(client.createKey({ name: "app", scopes: ["read"] }));
  await assert.rejects(client.rotateKey("k1"));
  await assert.rejects(client.enrolment.createJoinToken({ site: "lab" }));
  assert.deepEqual(sent(), ["/keys lgk_test", "/keys/k1/rotate lgk_test", "/join-tokens lgk_test"]);
});

test("many calls at once share one exchange", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1")).on(HEALTH, { json: sampleHealth });
  await Promise.all(Array.from({ length: 20 }, () => client.health()));
  assert.equal(exchanges(), 1);
});

test("from 80 % of its life on a token is renewed beside the calls, which go on with it", async (t) => {
  const { client, clock } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1"), tokenAnswer("t2")).on(HEALTH, { json: sampleHealth });
  await client.health();
  clock.advance(720_000 - 1);
  await client.health();
  assert.equal(exchanges(), 1);
  clock.advance(1);
  await client.health();
  await until("the second exchange", () => exchanges() === 2);
  await until("the second token", async () => {
    await client.health();
    return sent().at(-1) === "/cluster/health t2";
  });
  assert.equal(exchanges(), 2);
});

test("a renewal that fails is no call's failure while the token is good", async (t) => {
  const { client, clock } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1"), problem("auth_invalid")).on(HEALTH, { json: sampleHealth });
  await client.health();
  clock.advance(800_000);
  await client.health();
  await until("the failed renewal", () => exchanges() === 2);
  await client.health();
  assert.equal(sent().at(-1), "/cluster/health t1");
});

test("after the end of a token the next call waits for the next token", async (t) => {
  const { client, clock } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1"), tokenAnswer("t2")).on(HEALTH, { json: sampleHealth });
  await client.health();
  clock.advance(900_000);
  await client.health();
  assert.equal(sent().at(-1), "/cluster/health t2");
});

test("a token that is refused is replaced and the call sent again, even one that must not be repeated", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1"), tokenAnswer("t2"));
  api.on("POST /v2/models/digits/infer", accepting("t2", { json: inference }));
  await client.infer("digits", { inputs: [] });
  assert.deepEqual(sent(), [
    "/auth/token lgk_test",
    "/v2/models/digits/infer t1",
    "/auth/token lgk_test",
    "/v2/models/digits/infer t2",
  ]);
});

test("calls whose token is refused at the same moment share one exchange", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1"), tokenAnswer("t2"), tokenAnswer("t3"));
  api.on(HEALTH, accepting("t2", { json: sampleHealth }));
  await Promise.all(Array.from({ length: 10 }, () => client.health()));
  assert.equal(exchanges(), 2);
});

test("a second refusal is the answer: a call replaces its token once", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1"), tokenAnswer("t2"), tokenAnswer("t3"));
  api.on(HEALTH, problem("auth_invalid"));
  await assert.rejects(client.health(), { code: "auth_invalid" });
  assert.deepEqual(sent(), [
    "/auth/token lgk_test",
    "/cluster/health t1",
    "/auth/token lgk_test",
    "/cluster/health t2",
  ]);
});

test("what the token does not permit is no reason for another token", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, tokenAnswer("t1")).on(HEALTH, problem("auth_forbidden"));
  await assert.rejects(client.health(), { code: "auth_forbidden" });
  assert.equal(exchanges(), 1);
});

test("a key that is refused fails the call at once, and the next call asks again", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, problem("auth_invalid"), tokenAnswer("t1")).on(HEALTH, { json: sampleHealth });
  await assert.rejects(client.health(), { code: "auth_invalid" });
  assert.deepEqual(sent(), ["/auth/token lgk_test"]);
  await client.health();
});

test("an exchange that the network breaks is tried again, also for a call that must not be repeated", async (t) => {
  const { client, clock } = start(t, { key: "lgk_test", auth: "token", random: () => 0 });
  api.on(EXCHANGE, "drop", problem("gateway_draining"), tokenAnswer("t1"));
  api.on("POST /v2/models/digits/infer", { json: inference });
  let isOver = false;
  const call = client.infer("digits", { inputs: [] }).finally(() => {
    isOver = true;
  });
  await until("the end of the call", () => {
    clock.advance(1000);
    return isOver;
  });
  await call;
  assert.equal(exchanges(), 3);
});

test("who gives up while it waits for a token leaves, and the others get theirs", async (t) => {
  const { client } = start(t);
  let answer = (_: Answer): void => {};
  const held = new Promise<Answer>((resolve) => {
    answer = resolve;
  });
  api.on(EXCHANGE, () => held).on(HEALTH, { json: sampleHealth });
  const controller = new AbortController();
  const leaver = client.health(controller.signal);
  const stayer = client.health();
  await until("the exchange", () => exchanges() === 1);
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(leaver, reason);
  answer(tokenAnswer("t1"));
  await stayer;
  assert.equal(exchanges(), 1);
});

test("a call that was given up before it began asks for nothing", async (t) => {
  const { client } = start(t);
  api.on(EXCHANGE, problem("auth_invalid"));
  const reason = new Error("enough");
  await assert.rejects(client.health(AbortSignal.abort(reason)), reason);
  assert.equal(api.requests.length, 0);
});

test("streams carry the token too, and replace it when it is refused", async (t) => {
  const { client } = start(t);
  const completed = sampleEvent("completed", { seq: 1, snapshot: completedTask() });
  const stream = { headers: { "content-type": "text/event-stream" }, pieces: [eventText(completed)] };
  api.on(EXCHANGE, tokenAnswer("t1"), tokenAnswer("t2"));
  api.on("GET /tasks/task_1/events", accepting("t2", stream));
  const seen = [];
  for await (const event of client.events("task_1")) seen.push(event);
  assert.deepEqual(seen, [completed]);
  assert.deepEqual(sent(), [
    "/auth/token lgk_test",
    "/tasks/task_1/events t1",
    "/auth/token lgk_test",
    "/tasks/task_1/events t2",
  ]);
});

test("a caller's own token is asked for at every call, and once more when it is refused", async (t) => {
  const texts = ["own1", "own2", "own3"];
  const { client } = start(t, { token: async () => texts.shift() ?? "none left" });
  api.on(HEALTH, (request) =>
    bearerOf(request) === "own2" ? problem("auth_invalid") : { json: sampleHealth },
  );
  await client.health();
  await client.health();
  assert.deepEqual(sent(), ["/cluster/health own1", "/cluster/health own2", "/cluster/health own3"]);
});

test("a caller's own token that stays the same is not sent twice", async (t) => {
  const { client } = start(t, { token: () => "own" });
  api.on(HEALTH, problem("auth_invalid"));
  await assert.rejects(client.health(), { code: "auth_invalid" });
  assert.equal(api.requests.length, 1);
});

test("what a caller's own function throws is what the call throws", async (t) => {
  const reason = new Error("logged out");
  const { client } = start(t, {
    token: () => {
      throw reason;
    },
  });
  await assert.rejects(client.health(), reason);
  assert.equal(api.requests.length, 0);
});

test("options that contradict each other are refused", () => {
  const url = "https://localhost:1";
  const token = (): string => "own";
  for (const options of [{ auth: "token" }, { key: "k", token }, { auth: "token", token }] as const) {
    assert.throws(() => new LegacyGpuClient({ url, ...options }), { code: "config_invalid" });
  }
});
