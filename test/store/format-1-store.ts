/** Writes stores as format 1 had them: records, unfinished or not, in one table, a map of fields each. */

import { crc32 } from "node:zlib";
import { encodeValue } from "@legacygpu/shared/protocol/codec";
import { isFinal, TASK_STATES } from "@legacygpu/shared/task";
import { Environment } from "../../gateway/store/environment.ts";
import type { Write } from "../../gateway/store/table.ts";
import type { TaskRecord } from "../../gateway/tasks/record.ts";

const VERSION = 1;
const HEADER_BYTES = 5;

export async function writeFormat1(
  path: string,
  tasks: readonly TaskRecord[],
  starts: number,
): Promise<void> {
  const environment = await Environment.open(path);
  const table = (name: string) => environment.table(name);
  const [records, inputs, outputs] = [table("tasks"), table("inputs"), table("outputs")];
  const [owners, finished, meta] = [table("owners"), table("finished"), table("meta")];
  const writes: Write[] = [
    { table: meta, key: "format", value: Buffer.from("1") },
    { table: meta, key: "starts", value: Buffer.from(String(starts)) },
  ];
  for (const task of tasks) {
    const { id, tenant, input, output, state, completedAtMs = 0 } = task;
    writes.push({ table: records, key: id, value: seal(`tasks/${id}`, fieldsOf(task), tagOf(task)) });
    writes.push({ table: owners, key: `${tenant}\0${id}`, value: Buffer.from([0]) });
    if (input !== undefined) writes.push({ table: inputs, key: id, value: seal(`inputs/${id}`, input) });
    if (output !== undefined) writes.push({ table: outputs, key: id, value: seal(`outputs/${id}`, output) });
    if (isFinal(state)) {
      const key = `${String(completedAtMs).padStart(16, "0")}\0${id}`;
      writes.push({ table: finished, key, value: Buffer.from(tenant) });
    }
  }
  await environment.commit(writes);
  await environment.close();
}

function fieldsOf(task: TaskRecord): unknown {
  const { id, tenant, model, outputs, priority, metadata, createdAtMs, deadlineAtMs, maxAttempts } = task;
  const { state, startedAtMs, completedAtMs, error, timings } = task;
  const attempts = task.attempts.map(({ acceptedAtMs, ...rest }) => ({
    ...rest,
    wasAccepted: acceptedAtMs !== undefined,
  }));
  return {
    ...{ id, ownerKeyId: tenant, model, outputs, priority, metadata, createdAtMs, deadlineAtMs, maxAttempts },
    ...{ state, attempts, startedAtMs, completedAtMs, error, timings },
  };
}

function tagOf({ state, model }: TaskRecord): Buffer {
  const tag = Buffer.alloc(5);
  tag[0] = TASK_STATES.indexOf(state);
  tag.writeUInt32BE(crc32(model.name), 1);
  return tag;
}

function seal(place: string, value: unknown, tag: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(HEADER_BYTES), tag, encodeValue(value)]);
  bytes[0] = VERSION;
  bytes.writeUInt32BE(crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, 1), crc32(place))), 1);
  return bytes;
}
