/** The gateway between HTTP and the links: store, scheduler, registry and task service, put together as `gateway/main.ts` does. */

import type { Principal } from "@legacygpu/gateway/auth/principal";
import { LeastLoaded } from "@legacygpu/gateway/balancers/least-loaded";
import { Counters } from "@legacygpu/gateway/metrics";
import type { Model } from "@legacygpu/gateway/models/catalogue";
import { Admission } from "@legacygpu/gateway/queue/admission";
import { Registry } from "@legacygpu/gateway/registry/registry";
import { Scheduler } from "@legacygpu/gateway/scheduler/scheduler";
import { LmdbTaskStore } from "@legacygpu/gateway/store/lmdb-task-store";
import type { Submission } from "@legacygpu/gateway/tasks/submission";
import { TaskService } from "@legacygpu/gateway/tasks/task-service";
import { systemClock } from "@legacygpu/shared/clock";
import { openHome } from "@legacygpu/shared/home";
import { createLogger } from "@legacygpu/shared/log";
import { STORE_LIMITS } from "../processes/store-limits.ts";
import { PAYLOAD_BYTES } from "./costs.ts";

export const PRINCIPAL: Principal = {
  kind: "client",
  keyId: "bench",
  tenant: "bench",
  name: "bench",
  scopes: new Set(),
};

const DIGEST = `sha256:${"0".repeat(64)}` as const;
const LEASE_MS = 15_000;
const LIMITS = { maxTasks: 1e8, maxBytes: 2 ** 50, maxTasksPerKey: 1e8, maxBytesPerKey: 2 ** 50 };
const MODEL: Model = {
  ref: { name: "identity", version: "1", file: DIGEST, fileBytes: 1, manifest: DIGEST },
  manifest: {},
  createdAtMs: 0,
  inputs: [{ name: "input", datatype: "FP32", shape: [-1, PAYLOAD_BYTES / 4] }],
  outputs: [{ name: "output", datatype: "FP32", shape: [-1, PAYLOAD_BYTES / 4] }],
};

export interface GatewayCore {
  readonly store: LmdbTaskStore;
  readonly registry: Registry;
  readonly scheduler: Scheduler;
  readonly tasks: TaskService;
  close(): Promise<void>;
}

/** @param folder a gateway's home. */
export async function openCore(folder: string): Promise<GatewayCore> {
  const clock = systemClock;
  const log = createLogger("queue", "error");
  const path = openHome({ LEGACYGPU_HOME: folder }).tasksFile;
  const store = await LmdbTaskStore.open({ path, clock, log, ...STORE_LIMITS });
  const registry: Registry = new Registry({
    clock,
    log,
    reconnectGraceMs: 1000,
    leaseMs: LEASE_MS,
    onGone: (worker, tokens) => scheduler.lost(worker, tokens, worker.cause),
  });
  const strategy = new LeastLoaded();
  const scheduler: Scheduler = new Scheduler({
    clock,
    random: Math.random,
    log,
    registry,
    strategyFor: () => strategy,
    counters: new Counters(),
    leaseMs: LEASE_MS,
    firstToken: store.firstToken,
    stored: store,
    onChanged: (task) => tasks.changed(task),
    onSettled: (task) => tasks.settled(task),
  });
  const tasks: TaskService = new TaskService({
    clock,
    log,
    store,
    scheduler,
    admission: new Admission(LIMITS),
    notifier: { deliveriesFor: () => [], wake: () => {} },
  });
  tasks.restore();
  return {
    store,
    registry,
    scheduler,
    tasks,
    close: async () => {
      tasks.close();
      scheduler.close();
      registry.close();
      await store.close();
    },
  };
}

/** With bytes of its own, as every request has. */
export function submission(): Submission {
  const data = new Uint8Array(PAYLOAD_BYTES);
  return {
    model: MODEL,
    input: {
      kind: "tensors",
      tensors: [{ name: "input", datatype: "FP32", shape: [1, PAYLOAD_BYTES / 4], data }],
    },
    priority: "NORMAL",
  };
}
