/** Waiting for a task by long polling: what is asked, and that each change is told at once and once. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { LegacyGpuClient, type TaskJson } from "../../client/index.ts";
import { type PinnedFetch, pinnedFetch } from "../../client/pinned-fetch.ts";
import { completedTask, sampleTask } from "../support/api-samples.ts";
import { type Answer, FakeApi, type FakeRequest } from "../support/fake-api.ts";

let api: FakeApi;
let fetch: PinnedFetch;
let client: LegacyGpuClient;

before(async () => {
  api = await FakeApi.start();
  fetch = pinnedFetch({ caPem: api.caPem });
  // No delay before a second try: what is tested here is what it sends.
  client = new LegacyGpuClient({ url: api.url, key: "lgk_test", fetch, random: () => 0 });
});
afterEach(() => api.reset());
after(async () => {
  await fetch.close();
  await api.close();
});

const withTag = (etag: string, task: TaskJson): Answer => ({ json: task, headers: { etag } });
const UNCHANGED: Answer = { status: 304 };

const asked = (): unknown[] =>
  api.requests.map(({ query, headers }) => [query.get("wait"), headers["if-none-match"]]);

test("each poll names what was seen last; when nothing has happened, a look tells place and progress", async () => {
  const waiting = sampleTask({ queue: { position: 2 } });
  const closer = sampleTask({ queue: { position: 1 } });
  const running = sampleTask({ status: "RUNNING", attempt: 1 });
  api.on(
    "GET /tasks/task_1",
    withTag('"a"', waiting),
    UNCHANGED,
    withTag('"a"', waiting),
    UNCHANGED,
    withTag('"a"', closer),
    withTag('"b"', running),
    withTag('"c"', completedTask()),
  );
  const updates: TaskJson[] = [];
  const task = await client.wait("task_1", { onUpdate: (update) => void updates.push(update) });
  assert.equal(task.status, "COMPLETED");
  assert.deepEqual(updates, [waiting, closer, running, completedTask()]);
  assert.deepEqual(asked(), [
    [null, undefined],
    ["5", '"a"'],
    [null, undefined],
    ["5", '"a"'],
    [null, undefined],
    ["5", '"a"'],
    ["5", '"b"'],
  ]);
});

test("who does not watch is answered only when something changes", async () => {
  api.on("GET /tasks/task_1", withTag('"a"', sampleTask()), UNCHANGED, withTag('"b"', completedTask()));
  await client.wait("task_1");
  assert.deepEqual(asked(), [
    ["30", undefined],
    ["30", '"a"'],
    ["30", '"a"'],
  ]);
});

test("place in the queue and progress are changes too", async () => {
  const states = [
    sampleTask({ queue: { position: 2, eta_ms: 900 } }),
    sampleTask({ queue: { position: 1, eta_ms: 900 } }),
    sampleTask({ queue: { position: 1, eta_ms: 400 } }),
    sampleTask({ progress: { phase: "loading_model", percent: 10 } }),
    sampleTask({ progress: { phase: "loading_model", percent: 60 } }),
    completedTask(),
  ];
  api.on("GET /tasks/task_1", ...states.map((state, i) => withTag(`"${i}"`, state)));
  const updates: TaskJson[] = [];
  await client.wait("task_1", { onUpdate: (update) => void updates.push(update) });
  assert.deepEqual(updates, states);
});

test("a change is told before the next poll begins, not after a pause", async () => {
  let pollsWhenTold = 0;
  const answer = ({ headers }: FakeRequest): Answer =>
    headers["if-none-match"] === undefined ? withTag('"a"', sampleTask()) : withTag('"b"', completedTask());
  api.on("GET /tasks/task_1", answer);
  await client.wait("task_1", {
    onUpdate: ({ status }) => {
      if (status === "PENDING") pollsWhenTold = api.requests.length;
    },
  });
  assert.equal(pollsWhenTold, 1);
});

test("what broke off is asked for again with the same tag", async () => {
  api.on("GET /tasks/task_1", withTag('"a"', sampleTask()), "drop", withTag('"b"', completedTask()));
  const troubles: string[] = [];
  const task = await client.wait("task_1", { onTrouble: ({ code }) => void troubles.push(code) });
  assert.equal(task.status, "COMPLETED");
  assert.deepEqual(troubles, ["gateway_unreachable"]);
  assert.deepEqual(
    api.requests.map(({ headers }) => headers["if-none-match"]),
    [undefined, '"a"', '"a"'],
  );
});
