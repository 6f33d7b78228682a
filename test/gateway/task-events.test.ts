import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { taskEventSchema } from "@legacygpu/shared/api/task-events";
import { fetch, Agent as HttpAgent } from "undici";
import { beginAnew, type TaskRecord, transition } from "../../gateway/tasks/record.ts";
import { taskEvents } from "../../gateway/tasks/task-events.ts";
import { buildIdentity } from "../../models/onnx/synthetic.ts";
import { GatewayRig } from "../support/gateway-rig.ts";
import { SchedulerRig } from "../support/scheduler-rig.ts";
import { completed, failedWith, WorkingAgent } from "../support/working-agent.ts";

interface Event {
  readonly id: string | undefined;
  readonly name: string;
  readonly data: ReturnType<typeof taskEventSchema.parse>;
}

let rig: GatewayRig;
let http: HttpAgent;
let agents: WorkingAgent[] = [];

before(async () => {
  rig = await GatewayRig.start();
  http = new HttpAgent({ connect: { ca: rig.gateway.caPem } });
  await rig.push("identity", buildIdentity());
});
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  agents = [];
});
after(async () => {
  await http.destroy();
  await rig.close();
});

const input = { inputs: [{ name: "input", datatype: "FP32", shape: [1, 16], data: new Array(16).fill(1) }] };
const submit = async (more: object = {}): Promise<string> =>
  (await rig.call("POST", "/tasks", { json: { model: "identity", input, ...more } })).body.id;
const work = async (answer = completed): Promise<WorkingAgent> => {
  const agent = await WorkingAgent.connect(rig, `worker-${agents.length}`, answer);
  agents.push(agent);
  return agent;
};

/** Reads events as they come, until the stream ends or the reader has enough. */
async function* events(path: string, lastEventId?: string, key = rig.adminKey): AsyncGenerator<Event> {
  const response = await fetch(rig.url + path, {
    dispatcher: http,
    headers: {
      authorization: `Bearer ${key}`,
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
    },
  });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk as Uint8Array).toString("utf8");
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name: string): string | undefined =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data");
      if (data !== undefined)
        yield { id: field("id"), name: field("event") ?? "", data: taskEventSchema.parse(JSON.parse(data)) };
    }
  }
}

async function all(path: string, lastEventId?: string): Promise<Event[]> {
  const list: Event[] = [];
  for await (const event of events(path, lastEventId)) list.push(event);
  return list;
}

test("the events of a task come as they happen and end with the whole task", async () => {
  const id = await submit({ retry: { max_attempts: 3, backoff_ms: 1 } });
  const stream = events(`/tasks/${id}/events`);
  const first = (await stream.next()).value as Event;
  assert.deepEqual([first.name, first.id, first.data.task], ["queued", "1", id]);
  let isFirst = true;
  await work((task) => {
    const answer = isFirst ? failedWith("transfer_failed")(task) : completed(task);
    isFirst = false;
    return answer;
  });
  const second = (await stream.next()).value as Event;
  assert.deepEqual([second.name, second.data.attempt?.worker], ["assigned", "worker-0"]);
  const rest: Event[] = [];
  for await (const event of stream) rest.push(event);
  const names = rest.map(({ name }) => name);
  assert.equal(names[0], "attempt_failed");
  assert.equal(rest[0]?.data.error?.code, "transfer_failed");
  const last = rest.at(-1);
  assert.equal(last?.name, "completed");
  assert.equal(last?.data.snapshot?.status, "COMPLETED");
  assert.ok(last?.data.snapshot?.result);
});

test("events are told again from the number that a reader has", async () => {
  await work();
  const id = await submit();
  await rig.call("GET", `/tasks/${id}?wait=20`);
  const told = await all(`/tasks/${id}/events`);
  const ids = told.map(({ id: number }) => number);
  assert.deepEqual(
    ids,
    told.map((_, i) => String(i + 1)),
  );
  const again = await all(`/tasks/${id}/events`, "1");
  assert.deepEqual(
    again.map(({ id: number }) => number),
    ids.slice(1),
  );
  const unknown = await all(`/tasks/${id}/events`, "99");
  assert.deepEqual(
    unknown.map(({ name }) => name),
    ["reset"],
  );
  assert.equal(unknown[0]?.data.snapshot?.status, "COMPLETED");
});

test("a restarted gateway tells the same events", async () => {
  await work(failedWith("transfer_failed"));
  const id = await submit({ retry: { max_attempts: 2, backoff_ms: 1 } });
  await rig.call("GET", `/tasks/${id}?wait=20`);
  const before = await all(`/tasks/${id}/events`);
  assert.deepEqual(
    before.filter(({ name }) => name !== "started").map(({ name }) => name),
    ["queued", "assigned", "attempt_failed", "assigned", "attempt_failed", "completed"],
  );
  await Promise.all(agents.map((agent) => agent.close()));
  agents = [];
  const { home, adminKey } = rig;
  await rig.gateway.close();
  rig = await GatewayRig.start({ home });
  Object.assign(rig, { adminKey });
  await http.destroy();
  http = new HttpAgent({ connect: { ca: rig.gateway.caPem } });
  const after = await all(`/tasks/${id}/events`);
  assert.deepEqual(
    after.map(({ id: number, name }) => [number, name]),
    before.map(({ id: number, name }) => [number, name]),
  );
});

test("one stream tells of all tasks of a key, and of nobody else's", async () => {
  const key = await rig.key("submit", "read");
  const own = events("/events", undefined, key);
  const everybody = events("/events");
  const firsts = [own.next(), everybody.next()];
  await work();
  const others = await submit();
  await rig.call("GET", `/tasks/${others}?wait=20`);
  const headers = { authorization: `Bearer ${key}` };
  const { body } = await rig.call("POST", "/tasks", { json: { model: "identity", input }, headers });
  const [mine, first] = (await Promise.all(firsts)).map(({ value }) => value as Event);
  assert.equal(mine?.data.task, body.id);
  assert.equal(first?.data.task, others, "an administrator sees everybody's");
  await own.return(undefined);
  await everybody.return(undefined);
});

test("another life goes on with the numbers, and only grows", () => {
  const scheduler = new SchedulerRig();
  const task: TaskRecord = scheduler.task({ deadlineMs: 500 });
  transition(task, "TIMED_OUT", 1000);
  const before = taskEvents(task);
  beginAnew(task, 2000);
  const again = taskEvents(task);
  assert.deepEqual(
    again.map(({ seq, name, isEarlier = false }) => [seq, name, isEarlier]),
    [
      [1, "queued", false],
      [2, "completed", true],
      [3, "queued", false],
    ],
  );
  assert.deepEqual(
    again.slice(0, 2).map(({ seq, atMs }) => [seq, atMs]),
    before.map(({ seq, atMs }) => [seq, atMs]),
  );
  assert.equal(task.deadlineAtMs, 2500, "as much time as it had");
});
